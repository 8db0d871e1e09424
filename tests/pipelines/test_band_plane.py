"""The CPU's way to a plane of decibels, against `audio_planes`, which any device can take."""

import numpy as np
import pytest
import torch

from fmrgb_stream.config import MelConfig
from fmrgb_stream.pipelines.audio_layout import frame_layout
from fmrgb_stream.pipelines.audio_planes import audio_planes
from fmrgb_stream.pipelines.cpu.band_plane import write_band_plane

RATE = 16000
NEAR = np.array([1.0, 1.133, 1.2666, 1.4])
CASES = pytest.mark.parametrize(
    ("mel", "times", "size"),
    [
        (MelConfig(), NEAR, (112, 112)),
        (MelConfig(), np.array([1.0, 7.77, 30.5]), (112, 112)),
        (MelConfig(), NEAR, (40, 24)),
        (MelConfig(method="stft"), NEAR, (112, 96)),
        (MelConfig(method="stft", stft_keep_fraction=0.3), NEAR, (64, 112)),
        (MelConfig(n_fft=375, win_length_samples=375, hop_length_samples=100), NEAR, (56, 64)),
        (MelConfig(num_mels=128, f_min_hz=50, mel_scale="slaney"), NEAR, (112, 80)),
    ],
    ids=["default", "far apart", "small", "stft", "part of stft", "odd transform", "empty filters"],
)


def stretches_of(layout):
    rng = np.random.default_rng(8)
    time = np.arange(40 * RATE) / RATE
    sound = 0.3 * np.sin(2 * np.pi * 700 * time * (1 + time / 50))
    sound += 0.1 * rng.standard_normal(len(time)) * (time % 0.5 > 0.25)
    sound = sound.astype(np.float32)
    return [sound[run.first_sample :][: run.num_samples] for run in layout.runs]


def both(mel, times, size, dtype):
    layout = frame_layout(times, width=size[1], sample_rate=RATE, config=mel)
    stretches = stretches_of(layout)
    target = np.full((len(times), *size), 77, dtype)
    write_band_plane(stretches, layout, target, sample_rate=RATE, config=mel)
    expected = audio_planes(
        [torch.from_numpy(x) for x in stretches],
        layout,
        size=size,
        sample_rate=RATE,
        config=mel,
    )
    return target, expected.numpy()


@CASES
def test_floats_are_those_of_the_other_way(mel, times, size):
    found, expected = both(mel, times, size, np.float32)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@CASES
def test_bytes_are_the_rounded_values(mel, times, size):
    found, expected = both(mel, times, size, np.uint8)
    difference = np.abs(found - 255 * expected.astype(np.float64))
    assert difference.max() <= 0.5 + 5e-3
    assert expected.std() > 0.05


def test_half_floats_are_rounded_floats():
    found, expected = both(MelConfig(), NEAR, (112, 112), np.float16)
    np.testing.assert_allclose(found, expected, atol=5e-4)


def test_silence_is_exactly_zero():
    layout = frame_layout(NEAR, width=64, sample_rate=RATE, config=MelConfig())
    silence = [np.zeros(run.num_samples, np.float32) for run in layout.runs]
    plane = np.ones((4, 56, 64), np.float32)
    write_band_plane(silence, layout, plane, sample_rate=RATE, config=MelConfig())
    assert not plane.any()


def test_sound_beyond_full_scale_stays_at_the_top():
    layout = frame_layout(NEAR, width=64, sample_rate=RATE, config=MelConfig())
    rng = np.random.default_rng(9)
    loud = [rng.normal(0, 1000, run.num_samples).astype(np.float32) for run in layout.runs]
    plane = np.zeros((4, 56, 64), np.uint8)
    write_band_plane(loud, layout, plane, sample_rate=RATE, config=MelConfig())
    assert (plane == 255).all()
