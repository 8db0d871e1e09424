"""The audio planes against numpy evaluations of their formulas, and against what they must show."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torchaudio

from fmrgb_stream.config import ClipConfig, MelConfig
from fmrgb_stream.pipelines.audio_layout import frame_layout
from fmrgb_stream.pipelines.audio_planes import spectrogram_power
from fmrgb_stream.pipelines.bands import mel_filters, resize_weights
from fmrgb_stream.pipelines.cpu.mel import (
    WaveformSpan,
    clip_mel_image,
    clip_waveform,
)
from fmrgb_stream.pipelines.cpu.sound import SoundReader
from tests.support.clips import assert_clips_close, audio_plane
from tests.support.encoded import AUDIO_RATE, encoded_sample, planned_clip
from tests.support.media import tone

SIZE = (112, 112)
FPS = 30.0


def plane_of(waveform, frames, *, mel=None, size=SIZE, rate=AUDIO_RATE):
    sample = encoded_sample(waveform_S=waveform, rate=rate)
    clip = ClipConfig(num_frames=len(frames), size=size, mel=mel or MelConfig(), channels="mel")
    with SoundReader(sample) as sound:
        return audio_plane(sound, planned_clip(sample, frames), clip)


def htk_filters(num_mels, n_fft, rate):
    """Triangles between points equally spaced on 2595 log10(1 + f / 700), peak 1."""
    top = 2595 * np.log10(1 + rate / 2 / 700)
    points = 700 * (10 ** (np.linspace(0, top, num_mels + 2) / 2595) - 1)
    hertz = np.arange(n_fft // 2 + 1) * rate / n_fft
    rising = (hertz - points[:-2, None]) / (points[1:-1] - points[:-2])[:, None]
    falling = (points[2:, None] - hertz) / (points[2:] - points[1:-1])[:, None]
    return np.clip(np.minimum(rising, falling), 0, None)


def column_power(waveform, centre, mel):
    """Power re full scale of the window centred on one audio sample, by numpy's FFT."""
    half = mel.n_fft // 2
    padded = np.concatenate([np.zeros(half + 20000), waveform, np.zeros(half + 20000)])
    stretch = padded[centre + 20000 : centre + 20000 + mel.n_fft].astype(np.float64)
    length = mel.win_length_samples
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    left = (mel.n_fft - length) // 2
    window = np.pad(hann, (left, mel.n_fft - length - left))
    spectrum = np.fft.rfft(stretch * window)
    return np.abs(spectrum) ** 2 * 4 / (mel.n_fft * np.sum(window**2))


def reference_plane(waveform, time_seconds, mel, size, rate):
    """One mel plane on the scale 0..255, read between columns at exact times."""
    height, width = size
    filters = htk_filters(mel.num_mels, mel.n_fft, rate)
    columns = []
    for w in range(width):
        at = time_seconds + ((w + 0.5) / width - 0.5) * mel.window_seconds
        place = at * rate / mel.hop_length_samples
        before = int(np.floor(place))
        decibels = [
            10
            * np.log10(
                np.maximum(filters @ column_power(waveform, c * mel.hop_length_samples, mel), 1e-8)
            )
            for c in (before, before + 1)
        ]
        values = [np.clip(d, -80, 0) / 80 + 1 for d in decibels]
        columns.append(values[0] + (values[1] - values[0]) * (place - before))
    bands = np.stack(columns, axis=1)
    rows = (np.arange(height) + 0.5) * mel.num_mels / height - 0.5
    resized = np.stack(
        [np.interp(rows, np.arange(mel.num_mels), bands[:, w]) for w in range(width)], axis=1
    )
    return 255 * resized[::-1]


def noise_and_tones(seconds=2.0):
    rng = np.random.default_rng(5)
    sound = 0.05 * rng.standard_normal(2 * AUDIO_RATE).astype(np.float32)
    sound[8000:16000] += tone(440, 0.5, rate=AUDIO_RATE)
    sound[20000:24000] += tone(3000, 0.25, rate=AUDIO_RATE, level=0.8)
    sound = sound[: round(seconds * AUDIO_RATE)]
    return np.round(np.clip(sound, -0.99, 0.99) * 32768).astype(np.float32) / 32768


@pytest.mark.parametrize("frame", [0, 13, 17, 59])
def test_mel_plane_matches_the_numpy_evaluation(frame):
    sound = noise_and_tones()
    plane = plane_of(sound, [frame])
    expected = reference_plane(sound, frame / FPS, MelConfig(), SIZE, AUDIO_RATE)
    assert_clips_close(plane[None], expected[None, None], ("mel",), tolerance={"mel": 0.05})


def test_mel_plane_at_another_rate_and_shape_matches_the_numpy_evaluation():
    mel = MelConfig(n_fft=1024, win_length_samples=882, hop_length_samples=441, num_mels=40)
    rng = np.random.default_rng(6)
    sound = np.round(3000 * rng.standard_normal(44100)).astype(np.float32) / 32768
    plane = plane_of(sound, [11], mel=mel, size=(50, 60), rate=44100)
    expected = reference_plane(sound, 11 / FPS, mel, (50, 60), 44100)
    assert_clips_close(plane[None], expected[None, None], ("mel",), tolerance={"mel": 0.05})


def test_columns_narrower_than_a_pixel_are_averaged():
    sound = np.zeros(2 * AUDIO_RATE, np.float32)
    sound[AUDIO_RATE + 37 * 160] = 0.9
    narrow = plane_of(sound, [30], mel=MelConfig(window_seconds=1.0), size=(16, 8))[0]
    wide = plane_of(sound, [30], mel=MelConfig(window_seconds=1.0), size=(16, 8 * 13))[0]
    np.testing.assert_allclose(narrow, wide.reshape(16, 8, 13).mean(axis=2), atol=1e-5)
    assert narrow.max() > 0


def test_a_plane_does_not_depend_on_the_other_frames_of_its_clip():
    sound = noise_and_tones()
    alone = plane_of(sound, [30])
    among = plane_of(sound, [2, 30, 55])
    np.testing.assert_allclose(among[1], alone[0], atol=1e-6)


def test_sound_between_frames_far_apart_is_not_transformed():
    layout = frame_layout(
        np.array([1.0, 600.0]), width=112, sample_rate=AUDIO_RATE, config=MelConfig()
    )
    assert len(layout.runs) == 2
    assert sum(run.num_samples for run in layout.runs) < 2 * AUDIO_RATE


@pytest.mark.parametrize("hertz", [200, 440, 1000, 2500, 6000])
def test_a_tone_is_a_row(hertz):
    plane = plane_of(tone(hertz, 2.0, rate=AUDIO_RATE), [30])[0]
    top_mel = 2595 * np.log10(1 + 8000 / 700)
    band = 2595 * np.log10(1 + hertz / 700) / top_mel * 65 - 1
    row = 112 - 1 - ((band + 0.5) * 112 / 64 - 0.5)
    assert abs(int(plane.mean(axis=1).argmax()) - row) <= 1.5


@pytest.mark.parametrize("level_db", [-6, -20, -40])
def test_loudness_is_the_value(level_db):
    hertz = float(700 * (10 ** (40 / 65 * 2595 * np.log10(1 + 8000 / 700) / 2595) - 1))
    full, quieter = (
        plane_of(tone(hertz, 2.0, rate=AUDIO_RATE, level=level), [30]).max()
        for level in (0.999, 10 ** (level_db / 20))
    )
    # The filter's slopes take up to 3 dB of the tone's main lobe.
    assert full == pytest.approx(1.0, abs=3.5 / 80)
    assert (quieter - full) * 80 == pytest.approx(level_db, abs=0.1)


@pytest.mark.parametrize("click_seconds", [1.0, 1.0437, 0.9119])
def test_a_clicks_column_is_its_time(click_seconds):
    sound = np.zeros(2 * AUDIO_RATE, np.float32)
    sound[round(click_seconds * AUDIO_RATE)] = 0.9
    plane = plane_of(sound, [30], size=(112, 112))[0]
    power_W = (10 ** (8 * (plane - 1))).sum(axis=0)
    power_W -= power_W.min()
    centre = (power_W * (np.arange(112) + 0.5)).sum() / power_W.sum()
    found_seconds = 1.0 + (centre / 112 - 0.5) * 0.5
    assert found_seconds == pytest.approx(click_seconds, abs=0.002)


def test_before_the_start_and_after_the_end_there_is_silence():
    plane = plane_of(tone(1000, 1.0, rate=AUDIO_RATE), [0, 29])
    assert plane[0, :, :45].max() == 0
    assert plane[0, :, 60:].max() > 0.7
    assert plane[1, :, 70:].max() == 0


@pytest.mark.parametrize("method", ["mel", "stft", "logmel", "simple"])
def test_silence_is_zero(method):
    plane = plane_of(np.zeros(AUDIO_RATE, np.float32), [3, 9], mel=MelConfig(method=method))
    assert not plane.any()


def test_stft_rows_are_linear_in_frequency():
    plane = plane_of(tone(2000, 2.0, rate=AUDIO_RATE), [30], mel=MelConfig(method="stft"))[0]
    row = 112 - 1 - ((2000 / 8000 * 256 + 0.5) * 112 / 257 - 0.5)
    assert abs(int(plane.mean(axis=1).argmax()) - row) <= 1


def test_stft_keeps_the_lowest_part_of_the_axis():
    mel = MelConfig(method="stft", stft_keep_fraction=0.25)
    plane = plane_of(tone(1000, 2.0, rate=AUDIO_RATE), [30], mel=mel)[0]
    assert abs(int(plane.mean(axis=1).argmax()) - 55.5) <= 1.5


def test_stft_value_matches_the_numpy_evaluation():
    sound, mel = noise_and_tones(), MelConfig(method="stft", window_seconds=0.01)
    plane = plane_of(sound, [15], mel=mel, size=(257, 8))[0]
    power = column_power(sound, 50 * 160, mel)
    expected = np.clip(10 * np.log10(power) / 80 + 1, 0, 1)[::-1]
    centre = (plane[:, 3] + plane[:, 4]) / 2
    assert np.abs(centre - expected).mean() * 255 < 3


def test_logmel_is_stretched_between_the_clips_extremes():
    sound = noise_and_tones()
    plane = plane_of(sound, [10, 20, 30], mel=MelConfig(method="logmel"), size=(64, 112))
    mel = plane_of(sound, [10, 20, 30], size=(64, 112))
    expected = (mel - mel.min()) / (mel.max() - mel.min())
    np.testing.assert_allclose(plane, expected, atol=1e-3)


def test_simple_is_the_dominant_frequency_over_nyquist():
    sound = np.concatenate([tone(f, 1.0, rate=AUDIO_RATE) for f in (1000, 4000)])
    plane = plane_of(sound, [12, 45], mel=MelConfig(method="simple"))
    assert plane[0].min() == plane[0].max() == pytest.approx(1000 / 8000, abs=0.5 / 256)
    assert plane[1].max() == pytest.approx(4000 / 8000, abs=0.5 / 256)


def test_simple_can_be_scaled_by_the_clips_highest():
    sound = np.concatenate([tone(f, 1.0, rate=AUDIO_RATE) for f in (1000, 4000)])
    plane = plane_of(sound, [12, 45], mel=MelConfig(method="simple", simple_scale="clip"))
    assert (plane[0].max(), plane[1].max()) == pytest.approx((0.25, 1.0), abs=0.005)


def test_padding_frames_are_zero():
    plane = plane_of(tone(1000, 1.0, rate=AUDIO_RATE), [5, -1, -1])
    assert plane[0].any()
    assert not plane[1:].any()


def test_sample_without_sound_has_a_plane_of_zeros():
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    sample = encoded_sample(frames)
    clip = ClipConfig(num_frames=2, size=(32, 32), channels="mel")
    with SoundReader(sample) as sound:
        assert not audio_plane(sound, planned_clip(sample, [0, 1]), clip).any()


def test_full_scale_noise_adds_up_to_its_power():
    """Parseval: the bins of a sine of amplitude 1 add up to 1 re full scale."""
    power = spectrogram_power(torch.from_numpy(tone(1234, 0.5, level=1.0)), config=MelConfig())
    np.testing.assert_allclose(power.sum(dim=0).numpy(), 1.0, atol=0.01)


def test_filters_are_the_htk_triangles():
    filters = mel_filters(MelConfig(), AUDIO_RATE)
    np.testing.assert_allclose(filters, htk_filters(64, 512, AUDIO_RATE), atol=1e-4)


@pytest.mark.parametrize("mel_scale", ["htk", "slaney"])
@pytest.mark.parametrize("slaney_norm", [False, True])
def test_filters_are_those_of_torchaudio(mel_scale, slaney_norm):
    config = MelConfig(
        mel_scale=mel_scale, slaney_norm=slaney_norm, f_min_hz=50.0, f_max_hz=7000.0, n_fft=1024
    )
    expected = torchaudio.functional.melscale_fbanks(
        513, 50.0, 7000.0, 64, AUDIO_RATE, "slaney" if slaney_norm else None, mel_scale
    )
    np.testing.assert_allclose(mel_filters(config, AUDIO_RATE), expected.numpy().T, atol=2e-4)


@pytest.mark.parametrize(("num_inputs", "num_outputs"), [(64, 112), (112, 64), (257, 31), (1, 9)])
def test_resize_weights_keep_a_constant_and_a_ramp(num_inputs, num_outputs):
    weights = resize_weights(num_inputs, num_outputs)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    middle = slice(num_outputs // 4, num_outputs - num_outputs // 4)
    centres = (np.arange(num_outputs) + 0.5) * num_inputs / num_outputs - 0.5
    ramp = weights @ np.arange(num_inputs)
    np.testing.assert_allclose(ramp[middle], np.clip(centres, 0, num_inputs - 1)[middle], atol=0.3)


def test_mel_image_shows_the_whole_clip():
    sound = np.zeros(3 * AUDIO_RATE, np.float32)
    sound[AUDIO_RATE : AUDIO_RATE + 4000] = tone(1000, 0.25, rate=AUDIO_RATE)
    sample = encoded_sample(waveform_S=sound)
    clip = ClipConfig(num_frames=3, size=SIZE, extras=("mel_image",))
    with SoundReader(sample) as reader:
        image = clip_mel_image(reader, planned_clip(sample, [15, 30, 60]), clip)
    assert image.shape == (64, 112)
    assert image.dtype == np.uint8
    # From 0.25 s to 2.25 s: the tone is at 37.5 % to 50 % of the width.
    loud = np.flatnonzero(image.max(axis=0) > 150)
    assert (loud.min(), loud.max()) == pytest.approx((42, 55), abs=1)


def test_waveform_starts_at_the_first_frame_and_ends_in_silence():
    sound = noise_and_tones(1.0)
    sample = encoded_sample(waveform_S=sound)
    clip = ClipConfig(num_frames=4, frame_stride=5)
    span = WaveformSpan.of(clip, nominal_fps=FPS, sample_rate=AUDIO_RATE)
    with SoundReader(sample) as reader:
        waveform = clip_waveform(reader, planned_clip(sample, [15, 20, 25, 29]), span)
    assert len(waveform) == round(20 / 30 * AUDIO_RATE)
    np.testing.assert_array_equal(waveform[:8000], sound[8000:])
    assert not waveform[8000:].any()


def test_waveform_of_another_rate_is_resampled():
    sample = encoded_sample(waveform_S=tone(500, 2.0, rate=8000), rate=8000)
    span = WaveformSpan(duration_seconds=1.0, sample_rate=AUDIO_RATE)
    with SoundReader(sample) as reader:
        waveform = clip_waveform(reader, planned_clip(sample, [15]), span)
    expected = tone(500, 2.0, rate=AUDIO_RATE)[8000:24000]
    np.testing.assert_allclose(waveform[200:-200], expected[200:-200], atol=0.01)


def test_waveform_length_follows_the_window_where_windows_slide():
    clip = ClipConfig(window="sliding", window_seconds=5.0, hop_seconds=0.5)
    span = WaveformSpan.of(clip, nominal_fps=FPS, sample_rate=AUDIO_RATE)
    assert span.num_samples == 5 * AUDIO_RATE


def test_waveform_length_follows_the_clips_own_rate():
    span = WaveformSpan.of(ClipConfig(fps=8), nominal_fps=FPS, sample_rate=AUDIO_RATE)
    assert span.num_samples == 2 * AUDIO_RATE


def test_sound_that_is_not_what_the_index_says_is_an_error():
    sample = encoded_sample(waveform_S=noise_and_tones(1.0))
    wrong = replace(sample, info=replace(sample.info, num_audio_samples=5))
    with pytest.raises(Exception, match="the index says"), SoundReader(wrong):
        pass


@pytest.mark.parametrize("keep_bytes", [10, 3000])
def test_truncated_sound_is_an_error(keep_bytes):
    sample = encoded_sample(waveform_S=noise_and_tones(1.0))
    cut = replace(sample, audio=sample.audio[:keep_bytes])
    with pytest.raises(Exception, match="audio member"), SoundReader(cut) as sound:
        sound.read(0, AUDIO_RATE)


def test_missing_sound_is_an_error():
    sample = encoded_sample(waveform_S=noise_and_tones(1.0))
    with pytest.raises(Exception, match="missing"), SoundReader(replace(sample, audio=None)):
        pass
