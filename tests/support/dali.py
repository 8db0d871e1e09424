"""DALI pipelines over samples in memory, and the CPU pipeline beside them."""

from functools import partial

from fmrgb_stream.pipelines.cpu.pipeline import CpuPipeline
from fmrgb_stream.pipelines.cpu.sound import SampleSound
from fmrgb_stream.pipelines.cpu.video import VideoReader
from fmrgb_stream.pipelines.dali.pipeline import DaliPipeline
from fmrgb_stream.pipelines.quarantine import Quarantine
from tests.support.encoded import ListSource, clip_task


def dali_pipeline(samples, clip, *, rule="substitute", max_bad_fraction=0.0, **changes):
    """A pipeline on the CPU with one thread of each kind."""
    source = changes.pop("source", None) or ListSource(
        samples, clip, broken=changes.pop("broken", None)
    )
    quarantine = Quarantine(rule, max_bad_fraction=max_bad_fraction, num_samples=len(samples))
    settings = {
        "make_decoder": partial(VideoReader, "auto", size=clip.size),
        "make_sound": SampleSound,
        "num_workers": 1,
        "prefetch_batches": 2,
        "batch_size": 4,
        "quarantine": quarantine,
    }
    return DaliPipeline(source, clip=clip, **(settings | changes))


def cpu_pipeline(samples, clip, **changes):
    """The CPU pipeline with one thread."""
    quarantine = Quarantine("substitute", max_bad_fraction=0.0, num_samples=len(samples))
    settings = {
        "num_workers": 1,
        "worker_kind": "thread",
        "prefetch_batches": 1,
        "quarantine": quarantine,
    }
    return CpuPipeline(ListSource(samples, clip), clip=clip, **(settings | changes))


def tasks(*batches, epoch=0):
    """Lists of tasks for these sample ids; (id, window) where the window counts."""
    listed = [[one if isinstance(one, tuple) else (one, 0) for one in batch] for batch in batches]
    return iter(
        [
            [clip_task(sample_id, window_index=window, epoch=epoch) for sample_id, window in batch]
            for batch in listed
        ]
    )
