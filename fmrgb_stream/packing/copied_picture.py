"""A video that stays as it came -> what the index has to know of its picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fmrgb_stream.clips.packets import packet_table
from fmrgb_stream.clips.rates import true_times
from fmrgb_stream.clips.streams import VideoProbe
from fmrgb_stream.sample import SampleInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray


def with_copied_picture(
    info: SampleInfo, video: VideoProbe, content: bytes, times_seconds: NDArray[np.float64]
) -> SampleInfo:
    """The info with the picture of a whole file; its duration is the caller's business.

    Args:
        info: Of the sample.
        video: What was found in the file.
        content: The file.
        times_seconds: float64 [F], when each frame is shown, the first one at 0.
    """
    table, extradata = packet_table(content) or (None, b"")
    if table is not None and len(table.sizes) != video.num_frames:
        table, extradata = None, b""
    places = np.arange(video.num_frames, dtype=np.int64)
    return replace(
        info,
        has_video=True,
        fps=float(video.fps),
        num_frames=video.num_frames,
        width=video.width,
        height=video.height,
        codec=video.codec,
        color_matrix=video.color_matrix,
        color_range=video.color_range,
        rotation_degrees=video.rotation_degrees,
        extradata=extradata,
        frame_times_seconds=true_times(times_seconds, places, fps=video.fps),
        packets=table,
    )
