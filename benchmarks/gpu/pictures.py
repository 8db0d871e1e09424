"""G1, G2, G4, G5, G7: frames, colours, seeking, heights, threads."""

from __future__ import annotations

import time
from typing import Any, Final

import numpy as np
import torch
from av.video.reformatter import ColorRange, Colorspace

from benchmarks.gpu.decoding import decoded, seconds_a_batch
from benchmarks.gpu.media import Video, encoded, numbers_in
from benchmarks.gpu.outcome import Outcome, essence, judged, judged_on_gpu
from fmrgb_stream.clips.cut import GopCutter
from fmrgb_stream.clips.packets import packet_table
from fmrgb_stream.distributed import usable_cores
from fmrgb_stream.sample import EncodedSample, SampleInfo

PACKED_B_FRAMES: Final = (("bf", "7"), ("b_strategy", "0"), ("b-pyramid", "none"))
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
MAX_SEEK_RATIO: Final = 3.0
"""A window behind a keyframe may need the group before it as well: 16 frames more than the first 8."""
MIN_HEIGHT_RATIO: Final = 0.8
MAX_GROWTH_BYTES: Final = 64 * 2**20
MIN_DEFAULT_RATIO: Final = 0.8


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
    return judged(
        facts,
        bar=f"{', '.join(needed)} exact; no other kind wrong without an error, but those that are "
        "sent to the host (vp8)",
        is_good=all(facts[name] == "exact" for name in needed)
        and not any(facts[name].startswith("wrong") for name in KINDS if name != "vp8"),
    )


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
    is_good = all(
        isinstance(facts[name], list)
        and np.abs(np.array(facts[name]) - FLAT).max() <= COLOUR_TOLERANCE
        for name in ("601 limited", "odd size")
    )
    return judged(
        {"source": list(FLAT), **facts},
        bar=f"601 limited within {COLOUR_TOLERANCE:g} grey levels, also at odd sizes; other colours, "
        "10 bits and other codecs are sent to the host",
        is_good=is_good,
    )


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
    spent: dict[int, float] = {}
    for start in (0, 300, 590):
        wanted = list(range(start, start + 8, 2))
        for build_index in (True, False):
            facts[f"ms at frame {start}, build_index={build_index}"] = _milliseconds(
                file, wanted, device, build_index=build_index
            )
        spent[start] = facts[f"ms at frame {start}, build_index=True"]
        begun = time.perf_counter()
        cut = cutter.cut(sample, np.array(wanted))
        if cut is not None:
            cut_ms = round((time.perf_counter() - begun) * 1e3, 2)
            facts[f"ms to cut at frame {start}"] = cut_ms
            indices = cut.frame_indices.tolist()
            facts[f"ms at frame {start}, cut"] = _milliseconds(cut.content, indices, device)
            spent[start] = cut_ms + facts[f"ms at frame {start}, cut"]
    return judged(
        facts,
        bar=f"with the cut, the middle and the end take at most {MAX_SEEK_RATIO:g} times the start",
        is_good=max(spent.values()) <= MAX_SEEK_RATIO * spent[0],
    )


def heights(device: str) -> Outcome:
    """G5: heights that are coded with padding against heights that are not: speed and memory."""
    is_cpu = device == "cpu"
    encoder = "libvpx-vp9" if is_cpu else "libx264"
    facts: dict[str, Any] = {}
    is_good = True
    for width, plain, padded in ((1920, 1088, 1080), (640, 368, 360)):
        rates: dict[int, float] = {}
        for height in (plain, padded):
            file = encoded(
                Video(encoder=encoder, width=width, height=height, num_frames=16 if is_cpu else 60)
            )
            rates[height], grown = _rate_and_growth(file, device, num_clips=16 if is_cpu else 500)
            facts[f"{width}x{height}"] = {
                "clips a second": round(rates[height], 1),
                "device MiB grown": round(grown / 2**20),
            }
            is_good &= grown <= MAX_GROWTH_BYTES
        is_good &= rates[padded] >= MIN_HEIGHT_RATIO * rates[plain]
    return judged_on_gpu(
        facts,
        bar=f"1080 and 360 lines at {MIN_HEIGHT_RATIO:g} of the speed of 1088 and 368 or more; over "
        f"500 clips no more than {MAX_GROWTH_BYTES >> 20} MiB are added",
        is_good=is_good,
        device=device,
    )


def _rate_and_growth(file: bytes, device: str, *, num_clips: int) -> tuple[float, int]:
    """(clips a second, bytes of device memory that the last four fifths of the clips added)."""
    batch: tuple[list[bytes], list[list[int]]] = [file] * 8, [[0, 4, 8, 12]] * 8
    rounds = max(1, num_clips // 8)
    seconds_a_batch(*batch, device=device, num_threads=4, rounds=max(1, rounds // 5))
    before = _free_bytes(device)
    seconds = seconds_a_batch(*batch, device=device, num_threads=4, rounds=rounds)
    return 8 / seconds, before - _free_bytes(device)


def threads(device: str) -> Outcome:
    """G7: clips of 16 frames at 720p and 1080p, by DALI's threads."""
    is_cpu = device == "cpu"
    encoder = "libvpx-vp9" if is_cpu else "libx264"
    batch = 2 if is_cpu else 32
    facts: dict[str, Any] = {}
    is_good = True
    for width, height in ((1280, 720), (1920, 1080)):
        file = encoded(Video(encoder=encoder, width=width, height=height, num_frames=20))
        rates: dict[int, float] = {}
        for num_threads in sorted({1, 2, *(() if is_cpu else (4, 8, 16)), usable_cores()}):
            seconds = seconds_a_batch(
                [file] * batch,
                [[*range(16)]] * batch,
                device=device,
                num_threads=num_threads,
                rounds=2 if is_cpu else 3,
            )
            rates[num_threads] = batch * 16 / seconds
            facts[f"{height}p, {num_threads} threads"] = f"{rates[num_threads]:.0f} frames/s"
        is_good &= rates[usable_cores()] >= MIN_DEFAULT_RATIO * max(rates.values())
    return judged_on_gpu(
        facts,
        bar=f"as many threads as usable cores, the loader's choice, reach {MIN_DEFAULT_RATIO:g} of "
        "the best number",
        is_good=is_good,
        device=device,
    )


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
