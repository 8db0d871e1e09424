"""Planned clips -> batches on CPU threads.

Nothing is imported here: `fmrgb verify` uses the packet decoder and has no need of torch.
"""
