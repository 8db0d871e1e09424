"""Module name -> module, for the peers' libraries, which not every machine has."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, Final

_NO_FFMPEG: Final = ("Could not load libtorchcodec", "Failed to import libspdl")


class MissingLibraryError(Exception):
    """A peer's library is not installed or cannot be loaded."""


def library(module: str) -> Any:
    """The module, untyped because it may be absent where the types are checked.

    Raises:
        MissingLibraryError: it cannot be imported; says how to get it.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError, RuntimeError) as error:
        package = module.partition(".")[0]
        extra = "dali-cu12` or `dali-cu13" if package == "nvidia" else "bench"
        raise MissingLibraryError(
            f"{module} cannot be loaded: {error}; install the extra `{extra}` of fmrgb_stream"
        ) from error


@cache
def torchcodec_decoders() -> Any:
    """`torchcodec.decoders` with its FFmpeg loaded, so that forked workers share it.

    Raises:
        MissingLibraryError: it is not installed, or finds no FFmpeg.
    """
    module = library("torchcodec.decoders")
    _try_out(module.VideoDecoder)
    return module


@cache
def spdl_io() -> Any:
    """`spdl.io` with its FFmpeg loaded.

    Raises:
        MissingLibraryError: it is not installed, or finds no FFmpeg.
    """
    module = library("spdl.io")
    _try_out(module.demux_video)
    return module


def _try_out(opens: Any) -> None:
    """Both libraries look for FFmpeg when the first file is opened, be it no video at all."""
    try:
        opens(b"no video")
    except (RuntimeError, ValueError) as error:
        if str(error).startswith(_NO_FFMPEG):
            raise MissingLibraryError(
                f"{opens.__module__} finds no shared libraries of FFmpeg: install FFmpeg, or start "
                "Python with the environment of benchmarks.throughput.peers.ffmpeg"
            ) from error
