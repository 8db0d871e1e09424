"""A sample and the frames wanted of it -> why DALI may not decode it, without decoding anything.

What is found here goes to the host's decoder, which makes the clip or says what is wrong with it: so
both pipelines agree on which samples are bad.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fmrgb_stream.clips.count import scan_packets
from fmrgb_stream.clips.hidden import hides_frames
from fmrgb_stream.errors import RejectedInput
from fmrgb_stream.pipelines.dali.settings import GraphSettings
from fmrgb_stream.sample import EncodedSample, SampleInfo

if TYPE_CHECKING:
    from fmrgb_stream.sample import IntArray

_HIDDEN: Final = (
    "it has frames that are never shown (alt-ref), and NVDEC gives one picture for each frame it "
    "decodes; pack it as h264, or as vp9 by `fmrgb pack`"
)
_MATTE: Final = (
    "its picture is multiplied by a matte, which DALI does not do; matte=False leaves it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReason:
    """Why the host decodes a sample."""

    reason: str = ""
    """Empty when DALI may."""
    is_lasting: bool = False
    """It says what DALI cannot do, and holds for every sample like this; else something is wrong
    with this one, which the host's decoder will say better."""


_DALI_MAY: Final = HostReason()


def why_not_dali(sample: EncodedSample, wanted: IntArray, settings: GraphSettings) -> HostReason:
    """Why DALI would decode these frames to something else without a word, or not at all."""
    limit = cannot_decode(sample.info, settings)
    if limit:
        return HostReason(reason=limit, is_lasting=True)
    if sample.matte is not None:
        return HostReason(reason=_MATTE, is_lasting=True)
    info, table, video = sample.info, sample.info.packets, sample.video
    if video is None or not len(video):
        return HostReason(reason="the video member is missing or empty")
    if int(wanted.max()) >= info.num_frames:
        return HostReason(reason=f"frame {int(wanted.max())} is wanted of {info.num_frames}")
    if table is not None and int((table.offsets + table.sizes).max(initial=0)) > len(video):
        return HostReason(reason=f"the packet table ends beyond the member's {len(video)} bytes")
    try:
        if table is None:
            num_packets, has_hidden = scan_packets(bytes(video))
        else:
            num_packets, has_hidden = len(table.pts), hides_frames(info.codec, video, table)
    except RejectedInput as error:
        return HostReason(reason=f"the video member cannot be opened: {error.reason}")
    if has_hidden:
        return HostReason(reason=_HIDDEN, is_lasting=True)
    if num_packets != info.num_frames:
        return HostReason(reason=f"{num_packets} packets but {info.num_frames} frames in the index")
    return _DALI_MAY


def cannot_decode(info: SampleInfo, settings: GraphSettings) -> str:
    """Why the graph cannot decode videos like this one to the right colours, the right way up.

    DALI reads every matrix as BT.601, full range by what the stream says of itself, and looks at no
    rotation. Empty when it can.
    """
    if info.codec not in settings.codecs:
        return f"DALI decodes no {info.codec} on {settings.device.partition(':')[0]}"
    if info.color_matrix != "bt601" or info.color_range != "limited":
        return (
            f"its colours are {info.color_matrix}, {info.color_range} range, and DALI converts "
            "bt601, limited range; proxies that `fmrgb pack` encodes are that"
        )
    if info.rotation_degrees % 360:
        return f"it is stored turned by {info.rotation_degrees} degrees, and DALI turns nothing"
    return ""
