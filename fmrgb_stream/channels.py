"""The clip contract: channel names and order, value ranges, and the one clock. Pure maths.

Every plane is 0..255 in uint8 (`FULL_SCALE`), or its unquantised value in float dtypes:

====== ============================================================= ==========================
plane  uint8                                                         float
====== ============================================================= ==========================
red,   as decoded (BT.601 limited -> full RGB)                       value / 255
green,
blue,
gray   0.299 R + 0.587 G + 0.114 B                                   value / 255
flow   round(255 min(m / max_pixels, 1)), m in output pixels         m / max_pixels
flow_u,128 + round(127 clip(u / max_pixels, -1, 1))                  u / max_pixels
flow_v
mel    round(255 clip(dB / 80 + 1, 0, 1)), dB re full scale          dB / 80 + 1
====== ============================================================= ==========================

Time: t = 0 is the presentation time of the sample's first frame, and audio sample 0 is at t = 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from fmrgb_stream.errors import ConfigError

RED: Final = "red"
GREEN: Final = "green"
BLUE: Final = "blue"
GRAY: Final = "gray"
FLOW: Final = "flow"
FLOW_U: Final = "flow_u"
FLOW_V: Final = "flow_v"
MEL: Final = "mel"

CHANNELS: Final = (RED, GREEN, BLUE, FLOW, MEL)
"""Memory order of an FMRGB clip; RGB first keeps pretrained RGB weights on their own colours."""

PRESETS: Final = {
    "fmrgb": CHANNELS,
    "gray3": (GRAY, FLOW, MEL),
    "rgb": (RED, GREEN, BLUE),
}
RGB_PLANES: Final = (RED, GREEN, BLUE)
PICTURE_PLANES: Final = (RED, GREEN, BLUE, GRAY)
FLOW_PLANES: Final = (FLOW, FLOW_U, FLOW_V)
KNOWN_PLANES: Final = (*PICTURE_PLANES, *FLOW_PLANES, MEL)

FULL_SCALE: Final = 255
FLOW_ZERO_UV: Final = 128
"""uint8 value of "no motion" in the u and v planes; it is 0 in the magnitude plane."""
FLOW_SPAN_UV: Final = 127
DB_RANGE: Final = 80.0
"""The mel plane spans -80..0 dB re full scale."""
LUMA_WEIGHTS: Final = (0.299, 0.587, 0.114)
"""ITU-R BT.601-7, section 2.5.1."""


def resolve_channels(channels: str | Sequence[str]) -> tuple[str, ...]:
    """Plane names in memory order for a preset name, one plane, or a sequence of them.

    `"rgb"` may stand inside a sequence for its three planes.

    Raises:
        ConfigError: a name is unknown or stands twice.
    """
    names = (channels,) if isinstance(channels, str) else tuple(channels)
    planes: list[str] = []
    for name in names:
        planes.extend(PRESETS.get(name, (name,)))
    unknown = sorted(set(planes) - set(KNOWN_PLANES))
    if unknown or not planes:
        raise ConfigError(
            f"channels={channels!r}: unknown {unknown}; allowed are the presets "
            f"{sorted(PRESETS)} and the planes {list(KNOWN_PLANES)}"
        )
    if len(set(planes)) != len(planes):
        raise ConfigError(f"channels={channels!r}: a plane stands twice in {planes}")
    return tuple(planes)


def needs_picture(planes: Sequence[str]) -> bool:
    """Whether any plane is made from decoded frames."""
    return any(plane != MEL for plane in planes)


def needs_flow(planes: Sequence[str]) -> bool:
    """Whether any plane needs an optical flow estimate."""
    return any(plane in FLOW_PLANES for plane in planes)


def audio_sample_at(time_seconds: float, sample_rate: int) -> int:
    """Index of the audio sample nearest to a time (half up); negative before the first frame."""
    return math.floor(time_seconds * sample_rate + 0.5)
