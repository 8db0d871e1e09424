"""How batches are planned, made and handed out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fmrgb_stream.config.checks import check_choice, check_count
from fmrgb_stream.errors import ConfigError

TailRule = Literal["drop", "pad", "wrap"]
BadSampleRule = Literal["raise", "substitute"]
WorkerKind = Literal["auto", "process", "thread"]
VideoDecoder = Literal["auto", "packets", "pyav", "decord"]
DecodePlace = Literal["auto", "nvdec", "host", "hybrid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderConfig:
    """How batches are planned, made and handed out."""

    batch_size: int = 32
    """Clips a batch and process; the global batch is this times the world size."""
    seed: int = 0
    shuffle: bool = True
    tail: TailRule = "drop"
    """What becomes of the clips that do not fill the last global batch."""
    num_workers: int | None = None
    """Clips made at the same time; None shares the usable cores among the training processes of
    this machine."""
    worker_kind: WorkerKind = "auto"
    """`process`, `thread`, or `auto`: processes where the system can (Linux)."""
    prefetch_batches: int = 2
    """Batches in the making ahead of the one handed out."""
    prefetch_bytes: int = 1 << 30
    """Memory that the batches in the making may take, their encoded samples included. Fewer than
    `prefetch_batches` are made ahead where they would take more; one always is. What workers fetch
    ahead from remote storage takes a quarter of it at most."""
    block_samples: int = 32
    """Consecutive samples that travel and are shuffled together."""
    shuffle_window_blocks: int = 64
    """Blocks whose samples are mixed with each other."""
    on_bad_sample: BadSampleRule = "substitute"
    max_bad_fraction: float = 0.05
    """Stop when more than this share of the samples (but at least 8) were bad since the start."""
    verify_checksums: bool = True
    video_decoder: VideoDecoder = "auto"
    """`auto`: packets where the index has them, else PyAV."""
    audit_log: str | None = None
    """Folder where the id of every delivered clip is noted, for `fmrgb audit`."""
    decode: DecodePlace = "auto"
    """DALI only. `nvdec`: in the graph (on a GPU by its decoders); `host`: by threads; `hybrid`: both
    share each batch; `auto`: what a short trial at the start finds fastest."""

    def __post_init__(self) -> None:
        """Check every field."""
        check_choice("tail", self.tail, TailRule)
        check_choice("on_bad_sample", self.on_bad_sample, BadSampleRule)
        check_choice("worker_kind", self.worker_kind, WorkerKind)
        check_choice("video_decoder", self.video_decoder, VideoDecoder)
        check_choice("decode", self.decode, DecodePlace)
        for name in ("batch_size", "num_workers", "prefetch_batches", "prefetch_bytes",
                     "block_samples", "shuffle_window_blocks"):  # fmt: skip
            check_count(name, getattr(self, name))
        if self.audit_log is not None and "://" in self.audit_log:
            raise ConfigError(
                "audit_log must be a folder of this machine, not a URL: its lines are appended one by "
                "one; upload the folder when the training has ended"
            )
        if not 0 <= self.max_bad_fraction <= 1:
            raise ConfigError(f"max_bad_fraction={self.max_bad_fraction} must lie in 0..1")
