"""G1, G2, G4, G5, G7: frames, colours, seeking, heights, threads."""

from __future__ import annotations

import time
from typing import Any, Final

import numpy as np
import torch
from av.video.reformatter import ColorRange, Colorspace

from benchmarks.gpu.decoding import decoded, seconds_a_batch
from benchmarks.gpu.media import Video, encoded, numbers_in
from benchmarks.gpu.outcome import Outcome, essence, judged
from fmrgb_stream.clips.cut import GopCutter
from fmrgb_stream.clips.packets import packet_table
from fmrgb_stream.sample import EncodedSample, SampleInfo

PACKED_B_FRAMES: Final = (("bf", "3"), ("b_strategy", "0"), ("b-pyramid", "none"))
QUIET_X265: Final = (("x265-params", "log-level=none"),)
KINDS: Final[dict[str, Video]] = {
    "h264": Video(options=(("bf", "0"),)),
    "h264, B-frames as packed": Video(options=PACKED_B_FRAMES),
    "h264, B-pyramid": Video(options=(("bf", "3"), ("b-pyramid", "normal"))),
    "h264, open GOP": Video(options=(("bf", "3"), ("x264-params", "open-gop=1"))),
    "hevc": Video(encoder="libx265", options=QUIET_X265),
    "vp9": Video(encoder="libvpx-vp9"),
    "vp8": Video(encoder="libvpx", container="webm"),
}
MUST_WORK: Final = {"cpu": ("vp9", "vp8"), "cuda": ("h264", "h264, B-frames as packed", "vp9")}
FLAT: Final = (48, 192, 64)
COLOUR_TOLERANCE: Final = 2.0


def frames_are_exact(device: str) -> Outcome:
    """G1: every frame of every kind of file, singly and strided, by its number."""
    facts: dict[str, Any] = {}
    wanted = [[*range(60)], [0, 4, 8, 12], [17, 21, 25, 58], [59], [5, 6, 47]]
    for name, video in KINDS.items():
        try:
            pictures = decoded([encoded(video)] * len(wanted), wanted, device=device)
        except (RuntimeError, ValueError, IndexError) as error:
            facts[name] = essence(error)
            continue
        wrong = [
            (indices, found)
            for indices, shown in zip(wanted, pictures, strict=True)
            if (found := numbers_in(shown)) != indices
        ]
        facts[name] = f"wrong: {wrong[:2]}" if wrong else "exact"
    needed = MUST_WORK[device.partition(":")[0]]
    return judged(facts, is_good=all(facts[name] == "exact" for name in needed))


def colours(device: str) -> Outcome:
    """G2: flat colours by matrix and range; bit depths, odd sizes and codecs that may be refused."""
    encoder = "libvpx-vp9" if device == "cpu" else "libx264"
    kinds = {
        "601 limited": Video(encoder=encoder, color=FLAT),
        "709 limited": Video(encoder=encoder, color=FLAT, matrix=Colorspace.ITU709),
        "601 full": Video(encoder=encoder, color=FLAT, range=ColorRange.JPEG),
        "odd size": Video(encoder=encoder, color=FLAT, width=322, height=182),
        "hevc 10 bit": Video(
            encoder="libx265", color=FLAT, pix_fmt="yuv420p10le", options=QUIET_X265
        ),
        "h264 10 bit": Video(color=FLAT, pix_fmt="yuv420p10le"),
        "mjpeg": Video(encoder="mjpeg", color=FLAT, pix_fmt="yuvj420p", container="avi"),
        "av1": Video(encoder="libsvtav1", color=FLAT, num_frames=8),
    }
    facts: dict[str, Any] = {}
    for name, video in kinds.items():
        try:
            (picture,) = decoded([encoded(video)], [[1]], device=device)
            facts[name] = np.round(picture.mean(axis=(0, 1, 2)), 1).tolist()
        except Exception as error:  # noqa: BLE001 - what each of them raises is the question
            facts[name] = essence(error)
    found = facts["601 limited"]
    is_good = isinstance(found, list) and bool(
        np.abs(np.array(found) - FLAT).max() <= COLOUR_TOLERANCE
    )
    return judged({"source": list(FLAT), **facts}, is_good=is_good)


def seeking(device: str) -> Outcome:
    """G4: four frames from the start, the middle and the end of 600; whole, and cut on the host."""
    video = Video(
        encoder="libvpx-vp9" if device == "cpu" else "libx264",
        num_frames=600,
        options=(("bf", "0"),),
    )
    file = encoded(video)
    sample, cutter = _sample(file, video), GopCutter()
    facts: dict[str, Any] = {}
    for start in (0, 300, 590):
        wanted = list(range(start, start + 8, 2))
        for build_index in (True, False):
            facts[f"ms at frame {start}, build_index={build_index}"] = _milliseconds(
                file, wanted, device, build_index=build_index
            )
        begun = time.perf_counter()
        cut = cutter.cut(sample, np.array(wanted))
        if cut is not None:
            facts[f"ms to cut at frame {start}"] = round((time.perf_counter() - begun) * 1e3, 2)
            indices = cut.frame_indices.tolist()
            facts[f"ms at frame {start}, cut"] = _milliseconds(cut.content, indices, device)
    return Outcome(status="measured", facts=facts)


def heights(device: str) -> Outcome:
    """G5: heights that are coded with padding against heights that are not: speed and memory."""
    encoder = "libvpx-vp9" if device == "cpu" else "libx264"
    facts: dict[str, Any] = {}
    for width, height in ((1920, 1080), (1920, 1088), (640, 360), (640, 368)):
        num_frames = 16 if device == "cpu" else 60
        file = encoded(Video(encoder=encoder, width=width, height=height, num_frames=num_frames))
        before = _free_bytes(device)
        seconds = seconds_a_batch(
            [file] * 8, [[0, 4, 8, 12]] * 8, device=device, num_threads=4, rounds=10
        )
        facts[f"{width}x{height}"] = {
            "clips a second": round(8 / seconds, 1),
            "device MiB taken": round((before - _free_bytes(device)) / 2**20),
        }
    return Outcome(status="measured", facts=facts)


def threads(device: str) -> Outcome:
    """G7: clips of 16 frames at 720p and 1080p, by DALI's threads."""
    encoder = "libvpx-vp9" if device == "cpu" else "libx264"
    facts: dict[str, Any] = {}
    for width, height in ((1280, 720), (1920, 1080)):
        file = encoded(Video(encoder=encoder, width=width, height=height, num_frames=20))
        for num_threads in (1, 2) if device == "cpu" else (1, 2, 4, 8, 16):
            batch = 2 if device == "cpu" else 32
            seconds = seconds_a_batch(
                [file] * batch,
                [[*range(16)]] * batch,
                device=device,
                num_threads=num_threads,
                rounds=3,
            )
            facts[f"{height}p, {num_threads} threads"] = f"{batch * 16 / seconds:.0f} frames/s"
    return Outcome(status="measured", facts=facts)


def _milliseconds(file: bytes, wanted: list[int], device: str, **options: Any) -> float:
    seconds = seconds_a_batch([file], [wanted], device=device, num_threads=1, rounds=3, **options)
    return round(seconds * 1e3, 1)


def _free_bytes(device: str) -> int:
    return 0 if device == "cpu" else torch.cuda.mem_get_info(device)[0]


def _sample(file: bytes, video: Video) -> EncodedSample:
    found = packet_table(file)
    assert found is not None, "an mp4 with listed packets"
    info = SampleInfo(
        key="seeking", group="", label=None, targets=None, has_video=True, has_audio=False,
        fps=30.0, num_frames=video.num_frames, duration_seconds=video.num_frames / 30,
        width=video.width, height=video.height, codec="vp9" if "vp9" in video.encoder else "h264",
        color_matrix="bt601", color_range="limited", rotation_degrees=0, audio_sample_rate=0,
        num_audio_samples=0, extradata=found[1], frame_times_seconds=None, packets=found[0],
        members=(),
    )  # fmt: skip
    return EncodedSample(sample_id=0, shard_url="", info=info, video=memoryview(file), audio=None)
