"""The S0 script's audio planes, number for number, for comparison with data it made.

The whole sound of a sample is resampled (Fourier) to `frequency_param` samples a source frame;
frame i owns the samples [i P, (i + 1) P), on the scale of 16-bit integers. Sampling rate:
round(fps * P) Hz. Its planes say less than `mel` with its defaults: with P = 100 nothing above
1.5 kHz is kept, and the loudness of `mel` is lost because each frame is stretched on its own.

Shape legend: S audio samples, F source frames, N wanted frames, P samples a frame, M mel bands,
H height, W width.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
import torchaudio
from PIL import Image
from scipy import signal

from fmrgb_stream.channels import FULL_SCALE

if TYPE_CHECKING:
    from numpy.typing import NDArray

INT16_SCALE: Final = 32768.0
NUM_MELS: Final = 128
N_FFT: Final = 2048
HOP_LENGTH_SAMPLES: Final = 512
MIN_POWER: Final = 1e-10
TOP_DB: Final = 80.0
SEGMENT_SAMPLES: Final = 256
"""scipy.signal.stft's segment, cut to the window where that is shorter."""


def seed_windows(
    waveform_S: NDArray[np.float32], *, num_frames: int, frequency_param: int
) -> NDArray[np.float32]:
    """float32 [F, P]: each source frame's own samples, on the int16 scale."""
    num_samples = num_frames * frequency_param
    resampled = signal.resample(waveform_S.astype(np.float64) * INT16_SCALE, num_samples)
    return np.asarray(resampled, np.float32).reshape(num_frames, frequency_param)


def seed_mel_planes(
    windows_NP: NDArray[np.float32], *, sample_rate: int, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """uint8 [N, H, W]: each window's mel spectrogram, from its own minimum to its own maximum.

    librosa.feature.melspectrogram's defaults (2048-point Hann, hop 512, zero-padded centre, 128
    Slaney mels) and power_to_db(ref=max, amin=1e-10, top_db=80), stretched to 0..255, low band at
    the bottom, resized with Pillow's Lanczos filter. A window without contrast gives 0.
    """
    height, width = size
    spectrum = torch.stft(
        torch.from_numpy(windows_NP),  # pyright: ignore[reportUnknownMemberType]
        n_fft=N_FFT,
        hop_length=HOP_LENGTH_SAMPLES,
        window=torch.hann_window(N_FFT),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    power = _slaney_filters(sample_rate) @ spectrum.abs().square()
    decibel = 10 * power.clamp(min=MIN_POWER).log10()
    highest = decibel.amax(dim=(1, 2), keepdim=True)
    decibel = (decibel - highest).clamp(min=-TOP_DB)
    lowest = decibel.amin(dim=(1, 2), keepdim=True)
    # matplotlib draws value v in 0..1 with the grey level floor(256 v), at most 255.
    level = (256 * (decibel - lowest) / (-lowest).clamp(min=1e-12)).floor().clamp(0, FULL_SCALE)
    pictures_NMC = np.where(lowest.numpy() < 0, level.numpy(), 0).astype(np.uint8)[:, ::-1]
    planes_NHW = np.empty((len(windows_NP), height, width), np.uint8)
    for plane_HW, picture_MC in zip(planes_NHW, pictures_NMC, strict=True):
        picture = Image.fromarray(np.ascontiguousarray(picture_MC))
        plane_HW[...] = np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))
    return planes_NHW


def seed_simple_values(windows_FP: NDArray[np.float32], *, sample_rate: int) -> NDArray[np.uint8]:
    """uint8 [F]: each frame's strongest frequency, 255 being the highest of the whole sample.

    scipy.signal.stft's defaults; amplitudes are added up over time before the largest is taken.
    int(255 f / max f) as the script truncates it; 0 throughout where the sound is silent.
    """
    segment = min(SEGMENT_SAMPLES, windows_FP.shape[1])
    frequencies, _, spectrum_FKN = signal.stft(windows_FP, fs=sample_rate, nperseg=segment)
    strongest_F = frequencies[np.abs(spectrum_FKN).sum(axis=-1).argmax(axis=-1)]
    highest = strongest_F.max()
    if highest == 0:
        return np.zeros(len(windows_FP), np.uint8)
    return (FULL_SCALE * strongest_F / highest).astype(np.uint8)


@lru_cache(maxsize=8)
def _slaney_filters(sample_rate: int) -> torch.Tensor:
    filters = torchaudio.functional.melscale_fbanks(
        n_freqs=N_FFT // 2 + 1,
        f_min=0.0,
        f_max=sample_rate / 2,
        n_mels=NUM_MELS,
        sample_rate=sample_rate,
        norm="slaney",
        mel_scale="slaney",
    )
    return filters.T.contiguous()
