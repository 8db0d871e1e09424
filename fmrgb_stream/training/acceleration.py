"""Settings and what the launcher set -> Accelerator: devices, precision, processes, trackers."""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from accelerate import Accelerator, PartialState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import gather_object

from fmrgb_stream.config import MixedPrecision
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.errors import ConfigError

log = logging.getLogger(__name__)

AUTO: Final = "auto"
TENSORBOARD: Final = "tensorboard"
_TURN_SECONDS: Final = 0.1


def make_accelerator(
    *,
    mixed_precision: MixedPrecision = "no",
    device: str = AUTO,
    trackers: Sequence[str] = (),
    folder: Path | None = None,
) -> Accelerator:
    """This process among those that train together.

    Args:
        mixed_precision: Of the forward pass.
        device: `auto`, or `cpu` even where there is a GPU.
        trackers: Accelerate's, by name; see `tracker_names`.
        folder: Where trackers write.

    Raises:
        ConfigError: what is asked cannot be had here.
    """
    is_cpu = computes_on_cpu(device)
    if is_cpu and mixed_precision == "fp16":
        raise ConfigError("mixed_precision='fp16' needs a GPU; use 'bf16' or 'no' on a CPU")
    try:
        accelerator = Accelerator(
            cpu=is_cpu,
            mixed_precision=mixed_precision,
            log_with=[*trackers] or None,
            project_dir=folder,
        )
    except ValueError as error:
        raise ConfigError(f"Accelerate refuses these settings: {error}") from error
    _check_world(accelerator)
    return accelerator


def computes_on_cpu(device: str) -> bool:
    """Whether `auto` or `cpu` means the CPU here."""
    return device == "cpu" or not torch.cuda.is_available()


def tracker_names(wanted: Sequence[str]) -> tuple[str, ...]:
    """`auto` becomes TensorBoard where it is installed; names stay as they are.

    Raises:
        ConfigError: the package of one is not installed; Accelerate would leave it out silently.
    """
    has_tensorboard = importlib.util.find_spec(TENSORBOARD) is not None
    found = [TENSORBOARD if name == AUTO else name for name in wanted]
    if AUTO in wanted and not has_tensorboard:
        found.remove(TENSORBOARD)
    here = {str(tracker) for tracker in get_available_trackers()}
    known = {str(tracker) for tracker in LOGGER_TYPE_TO_CLASS}
    missing = [name for name in found if name in known and name not in here]
    if missing:
        raise ConfigError(
            f"record.trackers={list(wanted)}: {missing} not installed; pip install "
            f"{' '.join(missing)}, or leave out what is not there"
        )
    return tuple(dict.fromkeys(found))


def is_main_process() -> bool:
    """Whether this is the first process, or the only one."""
    return PartialState(cpu=not torch.cuda.is_available()).is_main_process


def end_processes() -> None:
    """Let go of the other processes; nothing can be trained together afterwards.

    A thread of gloo that lets go of a finished operation's tensors asks for the interpreter's lock. A
    group that ends in a thread which holds this lock joins that thread, and neither goes on (torch
    2.11). So it gets a turn before; a barrier would do too, but not where another process has failed.
    """
    state = PartialState(cpu=not torch.cuda.is_available())
    if state.num_processes > 1:
        time.sleep(_TURN_SECONDS)
    state.destroy_process_group()


def check_even(num_steps: int) -> None:
    """Refuse, in every process, what would leave some waiting for others for ever.

    Raises:
        ConfigError: processes have different numbers of batches, or none.
    """
    everyones: list[int] = gather_object([num_steps])
    if len(set(everyones)) > 1:
        raise ConfigError(
            f"the processes have {everyones} training steps an epoch and must have equally many; "
            "build the loader with build_loader, which shares clips evenly, and do not shard it again"
        )
    if num_steps == 0:
        raise ConfigError(
            "the training split gives no whole step; lower data.batch_size or train.accumulation"
        )


def _check_world(accelerator: Accelerator) -> None:
    """The loader and Accelerate must agree on who shares the clips."""
    asked = WorldInfo.from_environment().world_size
    if accelerator.num_processes != asked:
        raise ConfigError(
            f"the launcher began {asked} processes, but Accelerate runs "
            f"{accelerator.num_processes} together; build no Accelerator before, and without GPUs "
            "launch by `torchrun --nproc-per-node N`"
        )
    if asked == 1 and os.environ.get("MASTER_ADDR") and "RANK" not in os.environ:
        log.warning(
            "`accelerate launch --cpu --num_processes N` begins one process only (for more it needs "
            "MPI); `accelerate launch --multi_gpu --num_processes N` and `torchrun --nproc-per-node N` "
            "begin N, with or without GPUs"
        )
