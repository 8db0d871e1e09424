"""A folder of mp4 files -> {name}.mp4 and {name}.flac, by FFmpeg's libraries and nothing else.

What packing is compared with: decode, scale, x264 and FLAC with the settings of `fmrgb pack`, one
process a core. It looks at nothing, checks nothing, and trusts that every file is upright, at a
constant rate, and has sound from the start.

Run: python -m benchmarks.plain_transcode SOURCES TARGET
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import av
from av.audio.resampler import AudioResampler
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from fmrgb_stream.config import PackConfig
from fmrgb_stream.distributed import usable_cores

_FILTER = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def transcode(source: Path, *, target: Path) -> None:
    """Make one proxy and one sound file."""
    config = PackConfig()
    with av.open(source) as container:
        video = container.streams.video[0]
        video.codec_context.thread_count = 1
        scale = config.short_side / min(video.width, video.height)
        width, height = (round(side * scale / 2) * 2 for side in (video.width, video.height))
        output = av.open(target / f"{source.stem}.mp4", "w", options={"movflags": "+faststart"})
        with output:
            gop = str(config.gop_frames)
            options = {"crf": str(config.crf), "preset": config.preset, "tune": "fastdecode",
                       "g": gop, "keyint_min": gop, "sc_threshold": "0", "bf": "7",
                       "b_qfactor": "1.1", "b_strategy": "0", "b-pyramid": "none", "weightb": "0", "mbtree": "0"}  # fmt: skip
            stream = output.add_stream("libx264", rate=video.average_rate, options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.thread_count = 1
            scaler = VideoReformatter()
            for frame in container.decode(video):
                picture = scaler.reformat(
                    frame,
                    width=width,
                    height=height,
                    format="yuv420p",
                    dst_colorspace=Colorspace.ITU601,
                    interpolation=_FILTER,
                    threads=1,
                )
                picture.pict_type = 0  # pyright: ignore[reportAttributeAccessIssue]
                output.mux(stream.encode(picture))
            output.mux(stream.encode(None))
    _transcode_sound(source, target / f"{source.stem}.flac", config.audio_sample_rate)


def _transcode_sound(source: Path, target: Path, rate: int) -> None:
    with av.open(source) as container, av.open(target, "w") as output:
        stream = output.add_stream("flac", rate=rate, layout="mono")
        resampler = AudioResampler("s16", "mono", rate, frame_size=4096)
        for frame in _with_end(container.decode(container.streams.audio[0])):
            for part in resampler.resample(frame):
                output.mux(stream.encode(part))
        output.mux(stream.encode(None))


def _with_end(frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame | None]:
    """The frames, then None, which empties the resampler."""
    yield from frames
    yield None


def main(sources: Path, target: Path) -> None:
    """Transcode all files, one process a core."""
    target.mkdir(parents=True)
    work = partial(transcode, target=target)
    with ProcessPoolExecutor(usable_cores(), mp_context=get_context("spawn")) as pool:
        list(pool.map(work, sorted(sources.glob("*.mp4"))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
