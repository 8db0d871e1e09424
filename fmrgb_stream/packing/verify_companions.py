"""A sample's flow video and matte -> findings: do they decode, and go with the picture frame by frame?"""

from __future__ import annotations

from typing import Final

from fmrgb_stream.clips.count import count_frames
from fmrgb_stream.errors import RejectedInput
from fmrgb_stream.packing.findings import Notes, Place
from fmrgb_stream.sample import SampleInfo
from fmrgb_stream.shards.members import FLOW_EXTENSION, MATTE_EXTENSION

_NAMES: Final = {FLOW_EXTENSION: "flow video", MATTE_EXTENSION: "matte"}


def check_companions(place: Place, content: memoryview, info: SampleInfo, notes: Notes) -> None:
    """Decode those that the sample of the shard with these bytes has."""
    for extension, name in _NAMES.items():
        member = info.member(extension)
        if member is None:
            continue
        if not info.has_video:
            notes.error("companion", place, f"it has a {name} and no picture that it could go with")
            continue
        try:
            part = content[member.offset : member.offset + member.size]
            num_frames = count_frames(bytes(part))
        except RejectedInput as error:
            notes.error("companion", place, f"its {name} cannot be decoded: {error.reason}")
            continue
        if num_frames != info.num_frames:
            problem = (
                f"its {name} decodes to {num_frames} frames, the picture has {info.num_frames}"
            )
            notes.error("companion", place, problem)
