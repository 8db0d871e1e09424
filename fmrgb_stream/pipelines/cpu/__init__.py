"""Planned clips -> batches on CPU threads."""

from fmrgb_stream.pipelines.cpu.pipeline import CpuPipeline

__all__ = ["CpuPipeline"]
