"""URL -> bytes."""

from fmrgb_stream.storage.store import Store

__all__ = ["Store"]
