"""Folders of videos -> datasets, and the proof that a dataset is whole."""

from fmrgb_stream.packing.build import pack
from fmrgb_stream.packing.findings import Finding, VerifyReport
from fmrgb_stream.packing.publish import PackReport
from fmrgb_stream.packing.verify import verify

__all__ = ["Finding", "PackReport", "VerifyReport", "pack", "verify"]
