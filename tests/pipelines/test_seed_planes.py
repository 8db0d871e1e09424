"""The S0 script's planes against its own route: librosa or scipy, matplotlib and Pillow."""

import io

import librosa
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy import signal

from fmrgb_stream.config import ClipConfig, MelConfig
from fmrgb_stream.pipelines.cpu.sound import SoundReader
from fmrgb_stream.pipelines.seed_planes import (
    seed_mel_planes,
    seed_simple_values,
    seed_windows,
)
from tests.support.clips import assert_clips_close, audio_plane
from tests.support.encoded import AUDIO_RATE, encoded_sample, planned_clip

mpl.use("agg")
# librosa says so for every one of the script's windows, which are shorter than its transform.
pytestmark = pytest.mark.filterwarnings("ignore:n_fft=2048 is too large:UserWarning")


def sweep(seconds=2.0):
    times = np.arange(round(seconds * AUDIO_RATE)) / AUDIO_RATE
    rng = np.random.default_rng(2)
    sound = 0.4 * signal.chirp(times, 100, seconds, 1400) + 0.02 * rng.standard_normal(len(times))
    return (np.round(sound * 32767) / 32768).astype(np.float32)


def librosa_decibels(window, rate):
    return librosa.power_to_db(librosa.feature.melspectrogram(y=window, sr=rate), ref=np.max)


def matplotlib_plane(decibels, size):
    """The script's way: a 3x3 inch figure without axes, saved tight, as grey levels."""
    figure = Figure(figsize=(3, 3))
    axes = figure.subplots()
    axes.imshow(decibels, cmap="gray", origin="lower", aspect="auto")
    axes.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0)
    picture = Image.open(buffer).convert("L")
    return np.asarray(picture.resize(size[::-1], Image.Resampling.LANCZOS), float)


@pytest.mark.parametrize("frequency_param", [100, 735, 1470])
def test_windows_are_scipys_resampling_cut_at_the_frames(frequency_param):
    sound = sweep()
    windows = seed_windows(sound, num_frames=60, frequency_param=frequency_param)
    expected = signal.resample(sound.astype(float) * 32768, 60 * frequency_param)
    np.testing.assert_allclose(windows.ravel(), expected, atol=0.01)


@pytest.mark.parametrize("frequency_param", [100, 735])
def test_seed_mel_is_the_scripts_picture(frequency_param):
    rate, size = 30 * frequency_param, (112, 96)
    windows = seed_windows(sweep(), num_frames=60, frequency_param=frequency_param)[[7, 25, 50]]
    planes = seed_mel_planes(windows, sample_rate=rate, size=size)
    expected = [matplotlib_plane(librosa_decibels(window, rate), size) for window in windows]
    assert_clips_close(planes[None], np.stack(expected)[None], ("mel",), tolerance={"mel": 2.5})


def test_seed_mel_is_librosas_decibels_stretched_and_flipped():
    windows = seed_windows(sweep(), num_frames=60, frequency_param=1470)[[3, 40]]
    planes = seed_mel_planes(windows, sample_rate=44100, size=(128, 3))
    for plane, window in zip(planes, windows, strict=True):
        decibels = librosa_decibels(window, 44100)
        level = 255 * (decibels - decibels.min()) / (decibels.max() - decibels.min())
        assert np.abs(plane.astype(float) - level[::-1]).max() <= 1.5


def test_seed_mel_of_silence_is_zero():
    planes = seed_mel_planes(np.zeros((2, 100), np.float32), sample_rate=3000, size=(16, 16))
    assert not planes.any()


@pytest.mark.parametrize("frequency_param", [100, 735])
def test_seed_simple_is_scipys_loudest_frequency(frequency_param):
    rate = 30 * frequency_param
    windows = seed_windows(sweep(), num_frames=60, frequency_param=frequency_param)
    values = seed_simple_values(windows, sample_rate=rate)
    loudest = []
    for window in windows:
        nperseg = min(256, frequency_param)
        frequencies, _, spectrum = signal.stft(window, rate, nperseg=nperseg)
        loudest.append(frequencies[np.argmax(np.sum(np.abs(spectrum), axis=1))])
    expected = [int(255 * f / max(loudest)) for f in loudest]
    np.testing.assert_array_equal(values, expected)


def test_seed_simple_of_silence_is_zero():
    assert not seed_simple_values(np.zeros((3, 100), np.float32), sample_rate=3000).any()


@pytest.mark.parametrize("method", ["mel", "simple"])
def test_seed_planes_go_by_the_source_frame_whatever_the_stride(method):
    sample = encoded_sample(waveform_S=sweep())
    clip = ClipConfig(num_frames=3, size=(32, 32), mel=MelConfig.seed(100, method=method))
    with SoundReader(sample) as sound:
        plane = audio_plane(sound, planned_clip(sample, [4, 20, 36]), clip)
    windows = seed_windows(sweep(), num_frames=60, frequency_param=100)
    if method == "mel":
        expected = seed_mel_planes(windows[[4, 20, 36]], sample_rate=3000, size=(32, 32))
    else:
        values = seed_simple_values(windows, sample_rate=3000)[[4, 20, 36]]
        expected = np.broadcast_to(values[:, None, None], (3, 32, 32))
    np.testing.assert_array_equal(np.rint(plane * 255), expected)
