"""Decoded pictures + sound -> the clip's planes: the part that all peers share, in numpy and OpenCV.

Written from the definition of a clip (`fmrgb_stream/channels.py`), not with the package's code, so
that it is a reference as well as the quick way for a training script to make these planes.

Shape legend: C planes, T clip frames, N different frames (with the one before the clip), H height,
W width, M mel bands, K frequency bins, L spectrogram columns, S audio samples.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, cast

import av
import cv2
import numpy as np
import scipy.fft
import soundfile
import torch

from benchmarks.throughput.contract import BenchClip

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOW_MAX_PIXELS: Final = 16.0
AUDIO_RATE: Final = 16000
"""Hz, of the packed sound."""
WINDOW_SECONDS, N_FFT, WIN_LENGTH, HOP, NUM_MELS, DB_RANGE = 0.5, 512, 400, 160, 64, 80.0

ReadSound = Callable[[int, int], "NDArray[np.float32]"]
"""(first sample, number of samples) at `AUDIO_RATE` -> float32 [S], silence outside the sound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameWindow:
    """Which frames of a sample a clip is made of."""

    frames: NDArray[np.int64]
    """int64 [T]."""
    lead: int
    """The frame that the first flow starts from, a stride before; -1 where none is wanted."""

    @property
    def wanted(self) -> list[int]:
        """The different frames to decode, in order."""
        lead = [self.lead] if self.lead >= 0 else []
        return lead + sorted(set(self.frames.tolist()))


def centre_window(num_frames: int, clip: BenchClip) -> FrameWindow:
    """The strided frames in the middle of a sample; a short one repeats its last frame."""
    stride = clip.frame_stride
    first = max(0, num_frames - 1 - (clip.num_frames - 1) * stride) // 2
    last = first + (num_frames - 1 - first) // stride * stride
    frames = np.minimum(first + stride * np.arange(clip.num_frames), last)
    lead = first - stride if clip.planes == "fmrgb" else -1
    return FrameWindow(frames=frames, lead=max(lead, -1))


class ClipMaker:
    """Turns pictures and sound into clips. Belongs to one worker, whose DIS buffers it keeps."""

    def __init__(self, clip: BenchClip) -> None:
        """Make the flow estimator; OpenCV and torch stay on the worker's own thread."""
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        self._clip = clip
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    def make(
        self,
        pictures_NHW3: NDArray[np.uint8],
        window: FrameWindow,
        *,
        fps: float,
        read_sound: ReadSound,
    ) -> NDArray[np.uint8]:
        """uint8 [C, T, H, W] from the pictures of `window.wanted`, RGB, at the clip's size."""
        pictures = np.ascontiguousarray(pictures_NHW3)
        has_lead = window.lead >= 0
        if len(pictures) != len(window.frames) + has_lead:
            places = np.searchsorted(window.wanted, window.frames)
            pictures = pictures[np.concatenate([[0], places]) if has_lead else places]
        clip_CTHW = np.empty(
            (self._clip.num_planes, len(window.frames), *self._clip.size), np.uint8
        )
        shown_RW3 = pictures[has_lead:].reshape(-1, self._clip.size[1], 3)
        cv2.split(shown_RW3, [plane.reshape(shown_RW3.shape[:2]) for plane in clip_CTHW[:3]])
        if self._clip.planes == "fmrgb":
            self._write_flow(pictures, clip_CTHW[3], has_lead=has_lead)
        if self._clip.planes != "rgb":
            clip_CTHW[-1] = mel_planes(window.frames / fps, read_sound, size=self._clip.size)
        return clip_CTHW

    def _write_flow(
        self, pictures_NHW3: NDArray[np.uint8], flow_THW: NDArray[np.uint8], *, has_lead: bool
    ) -> None:
        """round(255 min(m / 16, 1)) of the motion from each frame's predecessor; 0 without one."""
        num_frames, height, width = pictures_NHW3.shape[:3]
        gray_RW = cv2.cvtColor(pictures_NHW3.reshape(-1, width, 3), cv2.COLOR_RGB2GRAY)
        gray_NHW = gray_RW.reshape(num_frames, height, width)
        # On smaller pictures than these DIS reads memory that it never wrote (OpenCV 5.0).
        least = (32, 96) if height <= width else (96, 32)
        missing = max(0, least[0] - height), max(0, least[1] - width)
        if any(missing):
            gray_NHW = np.pad(gray_NHW, ((0, 0), (0, missing[0]), (0, missing[1])), mode="edge")
        if not has_lead:
            flow_THW[0] = 0
        for before, after, plane_HW in zip(
            gray_NHW[:-1], gray_NHW[1:], flow_THW[not has_lead :], strict=True
        ):
            u_HW, v_HW = cv2.split(self._dis.calc(before, after, None))  # pyright: ignore[reportCallIssue, reportArgumentType]
            # Rounds and saturates, which is the plane's definition.
            pixels_HW = cv2.magnitude(u_HW, v_HW)[:height, :width]
            cv2.convertScaleAbs(pixels_HW, plane_HW, 255 / FLOW_MAX_PIXELS)


def mel_planes(
    times_seconds: NDArray[np.float64], read_sound: ReadSound, *, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """uint8 [T, H, W]: log-mel of the half second around each time, low bands at the bottom.

    One spectrogram for the clip; each pixel column reads it, linearly, at its own time.
    """
    height, width = size
    columns_per_second = AUDIO_RATE / HOP
    points = -int(-WINDOW_SECONDS * columns_per_second // width)
    offsets = (np.arange(width * points) + 0.5) / (width * points) - 0.5
    place_TP = (times_seconds[:, None] + offsets * WINDOW_SECONDS) * columns_per_second
    first, last = int(np.floor(place_TP.min())), int(np.floor(place_TP.max())) + 1
    num_samples = (last - first) * HOP + N_FFT
    sound_S = read_sound(first * HOP - N_FFT // 2, num_samples)
    shown_HL = _product(_pixel_rows(height), _decibel_values(sound_S))
    index_TP = np.floor(place_TP).astype(np.int64)
    weight_TP = (place_TP - index_TP).astype(np.float32)
    index_TP -= first
    # `clip` spares numpy a checked copy of the index; all places exist.
    read_HTP = np.diff(shown_HL, axis=1).take(index_TP, axis=1, mode="clip")
    read_HTP *= weight_TP
    read_HTP += shown_HL.take(index_TP, axis=1, mode="clip")
    if points > 1:
        read_HTP = read_HTP.reshape(height, -1, width, points).mean(axis=-1)
    np.rint(read_HTP, out=read_HTP)
    return read_HTP.astype(np.uint8).transpose(1, 0, 2)


def _decibel_values(sound_S: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [M, L]: 255 (dB / 80 + 1) in 0..255, dB re a full-scale sine."""
    margin = (N_FFT - WIN_LENGTH) // 2
    blocks_LS = np.lib.stride_tricks.sliding_window_view(sound_S, N_FFT)[::HOP]
    # The phase does not matter, so the window may lie at the start of the transform.
    taken_LS = blocks_LS[:, margin : margin + WIN_LENGTH] * _hann()
    spectrum_LK = cast("NDArray[np.complex64]", scipy.fft.rfft(taken_LS, n=N_FFT, axis=1))
    power_LK = np.square(spectrum_LK.real) + np.square(spectrum_LK.imag)
    mel_ML = _product(_mel_filters(), power_LK.T)
    level_ML = np.log10(np.maximum(mel_ML, 10 ** (-DB_RANGE / 10))) * (10 / DB_RANGE) + 1
    return np.clip(level_ML * 255, 0, 255).astype(np.float32)


def _product(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Matrix product. Not numpy's: its BLAS would run a thread a core in every worker."""
    return torch.mm(torch.from_numpy(left), torch.from_numpy(right)).numpy()  # pyright: ignore[reportUnknownMemberType]


@lru_cache(maxsize=1)
def _hann() -> NDArray[np.float32]:
    """The periodic window, scaled so that the power bins of a full-scale sine add up to 1."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WIN_LENGTH) / WIN_LENGTH)
    return (window * np.sqrt(4 / (N_FFT * np.square(window).sum()))).astype(np.float32)


@lru_cache(maxsize=1)
def _mel_filters() -> NDArray[np.float32]:
    """float32 [M, K]: triangles whose corners lie evenly on the HTK scale, 0 to half the rate."""
    top = 2595 * np.log10(1 + AUDIO_RATE / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, NUM_MELS + 2) / 2595) - 1)
    bins = np.linspace(0, AUDIO_RATE / 2, N_FFT // 2 + 1)
    rise = (bins - corners[:-2, None]) / np.diff(corners)[:-1, None]
    fall = (corners[2:, None] - bins) / np.diff(corners)[1:, None]
    return np.maximum(0, np.minimum(rise, fall)).astype(np.float32)


@lru_cache(maxsize=4)
def _pixel_rows(height: int) -> NDArray[np.float32]:
    """float32 [H, M]: bands to pixel rows, the lowest band in the last row."""
    return triangle_weights(NUM_MELS, height)[::-1].astype(np.float32, order="C")


@lru_cache(maxsize=16)
def triangle_weights(num_inputs: int, num_outputs: int) -> NDArray[np.float64]:
    """float64 [num_outputs, num_inputs]: antialiased linear resize, half-pixel centres."""
    scale = num_inputs / num_outputs
    support = max(scale, 1.0)
    centres = (np.arange(num_outputs)[:, None] + 0.5) * scale - 0.5
    margin = int(support) + 1
    taps = np.arange(-margin, num_inputs + margin)
    weights = np.maximum(0, 1 - np.abs(taps - centres) / support)
    # Beyond an edge its own value is read again.
    folded = np.zeros((num_outputs, num_inputs))
    np.add.at(folded.T, taps.clip(0, num_inputs - 1), weights.T)
    return folded / folded.sum(axis=1, keepdims=True)


def flac_reader(flac: bytes) -> ReadSound:
    """Reads windows of a FLAC file in memory, and decodes no more than that."""

    def read(first_sample: int, num_samples: int) -> NDArray[np.float32]:
        sound_S = np.zeros(num_samples, np.float32)
        with soundfile.SoundFile(io.BytesIO(flac)) as file:
            start = max(first_sample, 0)
            file.seek(start)
            found = file.read(min(first_sample + num_samples, file.frames) - start, "float32")
        sound_S[start - first_sample :][: len(found)] = found
        return sound_S

    return read


def reference_clip(
    video: bytes, sound: bytes, *, num_frames: int, fps: float, clip: BenchClip
) -> NDArray[np.uint8]:
    """uint8 [C, T, H, W] of a packed sample, for the content check; slow and plain.

    Every frame is decoded (PyAV) and counted; Y, U and V (BT.601, limited range, 4:2:0) are each
    resized by an antialiased triangle filter in float64, then turned to RGB.
    """
    window = centre_window(num_frames, clip)
    with av.open(io.BytesIO(video), "r") as container:
        decoded = list(container.decode(container.streams.video[0]))
    if len(decoded) != num_frames:
        raise ValueError(f"{len(decoded)} frames decoded, {num_frames} expected: not this sample")
    pictures = np.stack([_reference_picture(decoded[k], clip.size) for k in window.wanted])
    return ClipMaker(clip).make(pictures, window, fps=fps, read_sound=flac_reader(sound))


def _reference_picture(frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 [H, W, 3]; the conversion of ITU-R BT.601-7, section 2.5."""
    planes: list[NDArray[np.float64]] = []
    for plane, black, span in zip(frame.planes, (16, 128, 128), (219, 224, 224), strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        values_HW = (rows[:, : plane.width].astype(np.float64) - black) / span
        vertical = triangle_weights(plane.height, size[0])
        planes.append(vertical @ values_HW @ triangle_weights(plane.width, size[1]).T)
    luma, blue, red = planes
    rgb_HW3 = np.stack(
        [luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], axis=-1
    )
    return np.rint(rgb_HW3.clip(0, 1) * 255).astype(np.uint8)
