"""Device and backend as asked -> the pipeline that makes the clips, and why.

The one place that knows both pipelines. What this machine cannot do is refused when it was asked for
by name, and replaced, with one line in the log, when the choice was left open.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from fmrgb_stream.clips.dataset import OpenDataset
from fmrgb_stream.config import ClipConfig, DecodePlace, LoaderConfig, check_choice
from fmrgb_stream.distributed import WorldInfo, usable_cores
from fmrgb_stream.errors import ConfigError, MissingExtraError
from fmrgb_stream.pipelines.base import ClipPipeline, ClipSource
from fmrgb_stream.pipelines.quarantine import Quarantine
from fmrgb_stream.pipelines.read_ahead import READS_AHEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fmrgb_stream.pipelines.dali.pipeline import DaliPipeline
    from fmrgb_stream.sample import ClipTask

Backend = Literal["auto", "cpu", "dali"]
DALI_EXTRA: Final = "dali-cu13"
BYTES_A_VALUE: Final = {"uint8": 1, "float16": 2, "float32": 4}
logger = logging.getLogger(__name__)
_DEVICE: Final = re.compile(r"cpu|cuda(:\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineChoice:
    """Who makes the clips, and where they are delivered."""

    backend: Literal["cpu", "dali"]
    device: str
    """`cpu` or `cuda:<index>`."""


ON_CPU: Final = PipelineChoice(backend="cpu", device="cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """What a pipeline has to know of the dataset."""

    has_labels: bool
    num_targets: int
    nominal_fps: float
    audio_sample_rate: int
    is_remote: bool
    """Whether any of it lies on another machine."""
    mean_sample_bytes: int
    """Of an encoded sample."""
    is_indexed: bool = False
    """Whether others encoded it, so that its sound may be of any kind."""

    @classmethod
    def of(cls, dataset: OpenDataset, clip: ClipConfig) -> DatasetFacts:
        """The facts of a dataset, or of the first one of a mixture."""
        manifest = dataset.manifest
        return cls(
            has_labels=bool(manifest.classes),
            num_targets=len(manifest.target_names),
            # The length of the extras must be one for all batches; the first sample sets it.
            nominal_fps=dataset.readers[0].info(0).fps if clip.extras else 30.0,
            audio_sample_rate=manifest.audio_sample_rate,
            is_remote=dataset.is_remote,
            mean_sample_bytes=dataset.mean_sample_bytes,
            is_indexed=manifest.is_indexed,
        )


def prefetch_depth(clip: ClipConfig, config: LoaderConfig, *, mean_sample_bytes: int) -> int:
    """Batches in the making: `prefetch_batches`, or what fits into `prefetch_bytes`; at least one.

    All batches are of one size, so the bound is a number of batches and known beforehand.
    """
    values = len(clip.planes) * clip.num_frames * clip.size[0] * clip.size[1]
    clip_bytes = values * BYTES_A_VALUE[clip.dtype] + mean_sample_bytes
    return max(
        1, min(config.prefetch_batches, config.prefetch_bytes // (config.batch_size * clip_bytes))
    )


def choose_pipeline(
    backend: Backend, device: str, clip: ClipConfig, *, world: WorldInfo
) -> PipelineChoice:
    """Choose, and say once in the log what was chosen and why.

    Raises:
        ConfigError: the backend or device is unknown, or was asked for by name and is not to be
            had here; with the cure.
        MissingExtraError: DALI was asked for by name and is not installed.
    """
    check_choice("backend", backend, Backend)
    if not _DEVICE.fullmatch(device):
        raise ConfigError(f"device={device!r}; use 'cpu', 'cuda' or 'cuda:<index>'")
    if device == "cpu" and backend != "dali":
        return ON_CPU
    indexed = device if device == "cpu" else _indexed(device, world)
    if indexed is None:
        if backend != "auto":
            raise ConfigError(
                f"device={device!r}, backend={backend!r}, but torch finds no such CUDA device; use "
                "device='cpu', or backend='auto' to take what there is"
            )
        logger.warning(
            "no CUDA device for device=%r: clips are made by the CPU pipeline and stay in CPU memory",
            device,
        )
        return ON_CPU
    if backend == "cpu":
        return PipelineChoice(backend="cpu", device=indexed)
    problem = _why_no_dali(clip, indexed)
    if problem is None:
        logger.info("clips are made by DALI on %s", indexed)
        return PipelineChoice(backend="dali", device=indexed)
    if backend == "dali":
        raise problem
    logger.warning("clips are made by the CPU pipeline and copied to %s: %s", indexed, problem)
    return PipelineChoice(backend="cpu", device=indexed)


def build_pipeline(
    choice: PipelineChoice,
    source: ClipSource,
    *,
    clip: ClipConfig,
    config: LoaderConfig,
    facts: DatasetFacts,
    world: WorldInfo,
    quarantine: Quarantine,
    trial: Callable[[], Sequence[ClipTask]],
) -> ClipPipeline:
    """The chosen pipeline; nothing of it runs yet, but where DALI has to try what is faster.

    Args:
        choice: from `choose_pipeline`.
        source: gives the planned clips.
        clip: what a clip is.
        config: how batches are made.
        facts: of the dataset.
        world: this process among others.
        quarantine: what becomes of bad samples.
        trial: gives tasks to try decoders on, where `config.decode` leaves it open.

    Raises:
        ConfigError, MissingExtraError: the pipeline cannot make such clips here.
    """
    cores = max(1, usable_cores() // world.local_world_size)
    num_workers = config.num_workers or cores
    depth = prefetch_depth(clip, config, mean_sample_bytes=facts.mean_sample_bytes)
    if choice.backend == "cpu":
        from fmrgb_stream.pipelines.cpu.pipeline import CpuPipeline

        return CpuPipeline(
            source,
            clip=clip,
            num_workers=num_workers,
            prefetch_batches=depth,
            quarantine=quarantine,
            worker_kind=config.worker_kind,
            batch_size=config.batch_size,
            video_decoder=config.video_decoder,
            has_labels=facts.has_labels,
            num_targets=facts.num_targets,
            nominal_fps=facts.nominal_fps,
            audio_sample_rate=facts.audio_sample_rate,
            reads_ahead=READS_AHEAD if facts.is_remote else 0,
            read_ahead_bytes=config.prefetch_bytes // 4,
        )
    if facts.is_indexed and clip.needs_audio:
        logger.warning(
            "an indexed dataset: sound that is not mono FLAC at %d Hz is decoded by the host for each "
            "clip; fmrgb pack makes it FLAC once",
            facts.audio_sample_rate,
        )
    from fmrgb_stream.pipelines.cpu.sound import SampleSound
    from fmrgb_stream.pipelines.cpu.video import VideoReader
    from fmrgb_stream.pipelines.dali.pipeline import DaliPipeline

    pipeline = DaliPipeline(
        source,
        clip=clip,
        make_decoder=partial(VideoReader, config.video_decoder, size=clip.size),
        make_sound=SampleSound,
        num_workers=num_workers,
        prefetch_batches=depth,
        quarantine=quarantine,
        device=choice.device,
        batch_size=config.batch_size,
        has_labels=facts.has_labels,
        num_targets=facts.num_targets,
        nominal_fps=facts.nominal_fps,
        audio_sample_rate=facts.audio_sample_rate,
        world=world,
        reads_ahead=READS_AHEAD if facts.is_remote else 0,
        read_ahead_bytes=config.prefetch_bytes // 4,
    )
    _choose_place(pipeline, config.decode, trial, world)
    return pipeline


def _choose_place(
    pipeline: DaliPipeline,
    decode: DecodePlace,
    trial: Callable[[], Sequence[ClipTask]],
    world: WorldInfo,
) -> None:
    from fmrgb_stream.pipelines.dali.calibrate import host_share

    pipeline.host_share = host_share(pipeline.order, decode, trial, world=world)


def _indexed(device: str, world: WorldInfo) -> str | None:
    """`cuda:<index>`, or None where torch has no such device."""
    import torch

    if not torch.cuda.is_available():
        return None
    index = int(device.partition(":")[2] or -1)
    if index < 0:
        # Accelerate and torchrun's users set it; a launcher alone does not.
        index = torch.cuda.current_device()
        if index == 0 and world.local_rank < torch.cuda.device_count():
            index = world.local_rank
    return f"cuda:{index}" if index < torch.cuda.device_count() else None


def _why_no_dali(clip: ClipConfig, device: str) -> ConfigError | MissingExtraError | None:
    from fmrgb_stream.pipelines.dali.library import check_device, has_dali
    from fmrgb_stream.pipelines.dali.settings import check_clip

    if not has_dali():
        return MissingExtraError("nvidia-dali", DALI_EXTRA, "backend='dali'")
    try:
        check_clip(clip)
        if device != "cpu":
            check_device(int(device.partition(":")[2]))
    except ConfigError as error:
        return error
    return None
