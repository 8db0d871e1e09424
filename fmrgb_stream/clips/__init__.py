"""Samples -> which frames: probing media, timelines, window and length rules."""
