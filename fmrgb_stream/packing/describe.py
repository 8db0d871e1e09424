"""A sample -> its json member: what it is and where it comes from, for people and other readers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fmrgb_stream.packing.sources import SourceItem
from fmrgb_stream.sample import SampleInfo


def json_member(
    info: SampleInfo,
    item: SourceItem,
    *,
    sha256: str,
    start_seconds: float,
    warnings: Sequence[str],
    more: Mapping[str, Any],
) -> bytes:
    """One line of JSON; equal input gives equal bytes.

    Args:
        info: of the finished sample.
        item: what it was made from.
        sha256: of the source file.
        start_seconds: of the sample's first frame after the source's.
        warnings: what a user should know.
        more: what only some samples have, e.g. `crop`.
    """
    content: dict[str, Any] = {
        "key": info.key,
        "group": info.group,
        "label": info.label,
        "label_name": item.label,
        "targets": item.targets,
        "source": item.relative,
        "source_sha256": sha256,
        "start_seconds": round(start_seconds, 6),
        "duration_seconds": round(info.duration_seconds, 6),
        "fps": info.fps,
        "num_frames": info.num_frames,
        "has_video": info.has_video,
        "has_audio": info.has_audio,
        "warnings": list(warnings),
        **more,
    }
    return (json.dumps(content, sort_keys=True, ensure_ascii=False) + "\n").encode()
