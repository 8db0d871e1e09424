"""ClipView -> one lossless video a channel, the colour picture, the sound, and a list of times.

FFV1 in Matroska: every value of a plane comes back as it was, and ffplay, mpv, VLC and OpenCV play
it. Matroska rounds times to a millisecond; the list has them exactly.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import av
import numpy as np
import soundfile

from fmrgb_stream.channels import RGB_PLANES
from fmrgb_stream.errors import ConfigError

if TYPE_CHECKING:
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from fmrgb_stream.viewing.clip_view import ClipView

TIMES_NAME: Final = "times.csv"
SOUND_NAME: Final = "sound.flac"
COLOUR_NAME: Final = "rgb"
_TICKS_A_SECOND: Final = 1000
"""Matroska's own clock."""


def write_videos(
    view: ClipView, folder: Path, *, advanced: Callable[[], None] | None = None
) -> list[Path]:
    """Write `PLANE.mkv` for each channel, `rgb.mkv`, `sound.flac` and `times.csv`; their paths.

    Frames that a length rule repeated or padded are left out: a video has each time once.

    Raises:
        ConfigError: the clip has no frames in the order of their times.
        OSError: the folder cannot be written.
    """
    times = view.times_seconds_T[: view.num_valid_frames]
    if (np.diff(times) <= 0).any():
        raise ConfigError("frames of one time cannot make a video; take fewer frames, or no zoom")
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, frames_T, pix_fmt in _videos(view):
        path = folder / f"{name}.mkv"
        _write_video(path, frames_T, times, pix_fmt=pix_fmt, end_seconds=view.end_seconds)
        written.append(path)
        if advanced is not None:
            advanced()
    if len(view.waveform_S):
        written.append(folder / SOUND_NAME)
        soundfile.write(written[-1], view.waveform_S, view.info.audio_sample_rate, subtype="PCM_16")
    written.append(folder / TIMES_NAME)
    _write_times(written[-1], view)
    return written


def num_videos(channels: tuple[str, ...]) -> int:
    """How many videos a clip of these channels makes."""
    return len(channels) + all(name in channels for name in RGB_PLANES)


def frame_rate(times_seconds: NDArray[np.float64], *, end_seconds: float) -> Fraction:
    """Frames a second: exact where all gaps are equal, the mean where they are not."""
    if len(times_seconds) < 2:
        gap = max(end_seconds - float(times_seconds[0]), 1e-3)
    else:
        gap = float(times_seconds[-1] - times_seconds[0]) / (len(times_seconds) - 1)
    return Fraction(1 / gap).limit_denominator(1001)


def _videos(view: ClipView) -> Iterator[tuple[str, NDArray[np.uint8], str]]:
    """(name, uint8 [T, H, W] or [T, H, W, 3], how FFmpeg calls that)."""
    for name in view.channels:
        yield name, view.plane(name)[: view.num_valid_frames], "gray"
    if all(name in view.channels for name in RGB_PLANES):
        planes = [view.plane(name)[: view.num_valid_frames] for name in RGB_PLANES]
        yield COLOUR_NAME, np.stack(planes, axis=-1), "rgb24"


def _write_video(
    path: Path,
    frames_T: NDArray[np.uint8],
    times_seconds: NDArray[np.float64],
    *,
    pix_fmt: str,
    end_seconds: float,
) -> None:
    rate = frame_rate(times_seconds, end_seconds=end_seconds)
    # Whole milliseconds from the first frame on, since players begin at 0.
    ticks = np.rint((times_seconds - times_seconds[0]) * _TICKS_A_SECOND).astype(int).tolist()
    end_tick = round((end_seconds - float(times_seconds[0])) * _TICKS_A_SECOND)
    with av.open(str(path), "w", format="matroska") as output:
        stream = cast("VideoStream", cast("Any", output.add_stream("ffv1", rate=rate)))
        stream.height, stream.width = frames_T.shape[1:3]
        # FFV1 has no packed RGB of 24 bits; planar and with a spare byte it is the same values.
        stream.pix_fmt = "gray" if pix_fmt == "gray" else "bgr0"
        stream.codec_context.time_base = Fraction(1, _TICKS_A_SECOND)
        for frame_HW, tick, after in zip(frames_T, ticks, [*ticks[1:], end_tick], strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HW), format=pix_fmt)
            frame.pts, frame.time_base = tick, Fraction(1, _TICKS_A_SECOND)
            frame.duration = max(after - tick, 1)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def _write_times(path: Path, view: ClipView) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["clip_frame", "source_frame", "time_seconds"])
        rows = zip(view.frame_indices_T.tolist(), view.times_seconds_T.tolist(), strict=True)
        for number, (source, time) in enumerate(rows):
            if number < view.num_valid_frames:
                table.writerow([number, source, f"{time:.6f}"])
