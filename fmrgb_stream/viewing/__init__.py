"""Datasets -> what people look at: cards, a page to watch and hear samples, videos of channels.

Modules are imported by name; what draws pictures is loaded only where pictures are drawn.
"""
