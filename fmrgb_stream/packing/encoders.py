"""PackConfig -> the FFmpeg encoder of the proxies and its options.

Both write one packet a frame, the same bytes for the same frames, and a keyframe where one is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from fmrgb_stream.config import EncoderPreset, PackConfig

_CPU_USED: Final[dict[EncoderPreset, int]] = {
    "ultrafast": 8,
    "superfast": 7,
    "veryfast": 6,
    "faster": 5,
    "fast": 4,
    "medium": 3,
    "slow": 2,
    "slower": 1,
    "veryslow": 0,
    "placebo": 0,
}
"""libvpx's speeds by x264's names; from 5 on they belong to its realtime mode."""
_REALTIME_FROM: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyEncoder:
    """How proxies are encoded."""

    name: Literal["libx264", "libvpx-vp9"]
    """FFmpeg's name of the encoder."""
    codec: str
    """FFmpeg's name of what it writes."""
    options: dict[str, str]


def proxy_encoder(config: PackConfig) -> ProxyEncoder:
    """The encoder that these settings choose."""
    if config.codec == "vp9":
        return ProxyEncoder(name="libvpx-vp9", codec="vp9", options=_vp9_options(config))
    return ProxyEncoder(name="libx264", codec="h264", options=_h264_options(config))


def _h264_options(config: PackConfig) -> dict[str, str]:
    return {
        "crf": str(config.crf),
        "preset": config.preset,
        "tune": "fastdecode",
        "g": str(config.gop_frames),
        "keyint_min": str(config.gop_frames),
        "sc_threshold": "0",
        # Between two frames that others refer to lie seven that none refers to: a clip with a
        # stride leaves most of those out, which halves its decoding. They get nearly the quality
        # of the others, because most frames of a clip are such.
        "bf": "7",
        "b_qfactor": "1.1",
        "b_strategy": "0",
        "b-pyramid": "none",
        "weightb": "0",
        # With it, about 1 in 300 encodes of the same frames gives other bytes: x264's macroblock
        # tree is not deterministic with AVX-512.
        "mbtree": "0",
    }


def _vp9_options(config: PackConfig) -> dict[str, str]:
    speed = _CPU_USED[config.preset]
    return {
        "crf": str(config.crf),
        "b": "0",
        "deadline": "realtime" if speed >= _REALTIME_FROM else "good",
        "cpu-used": str(speed),
        "g": str(config.gop_frames),
        "keyint_min": str(config.gop_frames),
        # Without looking ahead there are no frames that are never shown, which would share a packet
        # with another one.
        "lag-in-frames": "0",
        "auto-alt-ref": "0",
        "row-mt": "0",
        "tile-columns": "0",
    }
