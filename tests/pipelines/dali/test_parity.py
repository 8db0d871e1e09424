"""DALI's clips are the CPU pipeline's clips, whatever the settings."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from fmrgb_stream.config import ClipConfig, FlowConfig, MelConfig
from tests.support.clips import assert_clips_close
from tests.support.dali import cpu_pipeline, dali_pipeline, tasks
from tests.support.encoded import AUDIO_RATE, VideoOptions, encoded_sample
from tests.support.media import numbered_frames, tone

pytest.importorskip("nvidia.dali")

VP9 = VideoOptions(codec="libvpx-vp9", gop=8)
CLIP = ClipConfig(
    num_frames=5, frame_stride=3, size=(48, 80), flow=FlowConfig(estimator="lucas_kanade")
)
IDS = (0, 1, 2, 3)


def moving_frames(num_frames, seed):
    """A smooth patch that moves by a pixel a frame below a strip with the frame's number, uint8."""
    rng = np.random.default_rng(seed)
    frames = np.full((num_frames, 96, 160, 3), (70, 120, 90), np.uint8)
    frames[:, :16] = numbered_frames(num_frames, first=seed, height=16)
    patch = cv2.resize(rng.integers(40, 215, (5, 6, 3), np.uint8), (60, 50))
    for k, frame in enumerate(frames):
        frame[30:80, 10 + k : 70 + k] = patch
    return frames


@pytest.fixture(scope="module")
def samples():
    """Long, short, silent and pictureless; sound that changes with time."""
    chirp = np.concatenate([tone(200 * i, 0.25, rate=AUDIO_RATE) for i in range(1, 9)])
    noise = np.random.default_rng(5).normal(0, 0.1, len(chirp)).astype(np.float32)
    made = [
        encoded_sample(moving_frames(50, 0), chirp[: 50 * AUDIO_RATE // 30], options=VP9),
        encoded_sample(moving_frames(9, 1), noise[: 9 * AUDIO_RATE // 30], options=VP9),
        encoded_sample(moving_frames(40, 2), None, options=VP9),
        encoded_sample(None, chirp),
    ]
    return [
        replace(s, sample_id=i, info=replace(s.info, key=f"sample-{i}", label=i % 3))
        for i, s in enumerate(made)
    ]


def both(samples, clip, *batches, **changes):
    got = list(dali_pipeline(samples, clip, **changes).batches(tasks(*(batches or (IDS,)))))
    expected = list(cpu_pipeline(samples, clip).batches(tasks(*(batches or (IDS,)))))
    assert len(got) == len(expected)
    return list(zip(got, expected, strict=True))


def assert_same(samples, clip, *batches, **changes):
    for got, expected in both(samples, clip, *batches, **changes):
        assert got.channels == expected.channels
        assert got.keys == expected.keys
        assert torch.equal(got.sample_ids, expected.sample_ids)
        assert torch.equal(got.window_indices, expected.window_indices)
        assert torch.equal(got.labels, expected.labels)
        assert torch.equal(got.times_seconds, expected.times_seconds)
        assert torch.equal(got.num_valid_frames, expected.num_valid_frames)
        assert got.flow_estimator == expected.flow_estimator
        assert got.clip.dtype == expected.clip.dtype
        scale = 1 if expected.clip.dtype == torch.uint8 else 255
        for clip_CTHW, reference_CTHW in zip(got.clip, expected.clip, strict=True):
            reference = reference_CTHW.double().numpy() * scale
            assert_clips_close(clip_CTHW.numpy(), reference, got.channels)


@pytest.mark.parametrize("window", ["random", "centre", "start", "uniform"])
@pytest.mark.parametrize("length_rule", ["repeat_last", "subsample_pad", "loop", "zoom"])
def test_windows_and_lengths(samples, window, length_rule):
    assert_same(samples, replace(CLIP, window=window, length_rule=length_rule))


@pytest.mark.parametrize("length_rule", ["repeat_last", "subsample_pad", "loop", "zoom"])
def test_sliding_windows(samples, length_rule):
    clip = replace(
        CLIP, window="sliding", window_seconds=0.5, hop_seconds=0.25, length_rule=length_rule
    )
    assert_same(samples, clip, ((0, 0), (0, 1), (0, 3), (2, 2)), ((1, 0), (3, 4)))


@pytest.mark.parametrize(
    "change",
    [
        {"channels": "gray3"},
        {"channels": "rgb"},
        {"channels": ("mel",)},
        {"channels": ("mel", "blue", "flow", "red")},
        {"flow": FlowConfig(estimator="lucas_kanade", mode="uv", max_pixels=4.0)},
        {"dtype": "float32"},
        {"dtype": "float16", "channels": "gray3"},
        {"size": (112, 112), "fraction": 0.6},
        {"fps": 7.0},
        {"num_frames": 1},
        {"size": (131, 57)},
    ],
    ids=str,
)
def test_planes_types_and_sizes(samples, change):
    assert_same(samples, replace(CLIP, **change))


@pytest.mark.parametrize(
    "mel",
    [
        MelConfig(method="stft", stft_keep_fraction=0.5),
        MelConfig(method="logmel"),
        MelConfig(method="simple"),
        MelConfig(method="simple", simple_scale="clip"),
        MelConfig(mel_scale="slaney", slaney_norm=True, num_mels=40, f_min_hz=60.0),
        MelConfig(n_fft=1024, win_length_samples=800, hop_length_samples=100, f_max_hz=6000.0),
        MelConfig(window_seconds=0.1),
        MelConfig(window_seconds=1.5),
    ],
    ids=lambda mel: (
        f"{mel.method}-{mel.n_fft}-{mel.window_seconds}-{mel.mel_scale}-{mel.simple_scale}"
    ),
)
def test_audio_planes(samples, mel):
    assert_same(samples, replace(CLIP, channels=("mel",), mel=mel))
    assert_same(samples, replace(CLIP, channels=("mel",), mel=mel, length_rule="subsample_pad"))


def test_frames_far_apart(samples):
    clip = replace(CLIP, num_frames=3, frame_stride=20, mel=MelConfig(window_seconds=0.05))
    assert_same(samples, clip)


def test_extras(samples):
    clip = replace(CLIP, channels="rgb", extras=("mel_image", "waveform", "audio_features"))
    pytest.importorskip("librosa")
    for got, expected in both(samples, clip):
        assert got.mel_image.shape == expected.mel_image.shape
        difference = (got.mel_image.int() - expected.mel_image.int()).abs()
        assert difference.float().mean(dim=(1, 2, 3)).max() <= 1.0
        assert torch.equal(got.waveform, expected.waveform)
        torch.testing.assert_close(got.audio_features, expected.audio_features)


def test_mel_image_beside_another_audio_plane(samples):
    clip = replace(CLIP, mel=MelConfig(method="stft"), extras=("mel_image",))
    assert_same(samples, clip)
    for got, expected in both(samples, clip):
        difference = (got.mel_image.int() - expected.mel_image.int()).abs()
        assert difference.float().mean(dim=(1, 2, 3)).max() <= 1.0


def test_codecs_that_dali_has_not_are_decoded_on_the_host(samples):
    frames = moving_frames(40, 3)
    others = [
        encoded_sample(frames, options=VideoOptions(b_frames=2)),
        encoded_sample(frames, options=VideoOptions(color_matrix="bt709")),
        encoded_sample(frames, options=replace(VP9, color_matrix="bt709")),
        encoded_sample(frames, options=VP9, rotation_degrees=90),
    ]
    mixed = [
        replace(s, sample_id=i, info=replace(s.info, key=f"sample-{i}"))
        for i, s in enumerate([*others, samples[0]])
    ]
    assert_same(mixed, CLIP, (0, 4, 1, 2), (3, 4))


@pytest.mark.parametrize("host_share", [0.5, 1.0])
def test_what_the_host_decodes_is_the_same(samples, host_share):
    assert_same(samples, CLIP, IDS, IDS, host_share=host_share)


def test_targets_stand_beside_the_clips(samples):
    labelled = [
        replace(s, info=replace(s.info, targets=(float(i), 0.5), label=None))
        for i, s in enumerate(samples)
    ]
    pipe = dali_pipeline(labelled, CLIP, has_labels=False, num_targets=2)
    batch = next(pipe.batches(tasks((1, 2))))
    assert batch.labels is None
    assert batch.targets.tolist() == [[1.0, 0.5], [2.0, 0.5]]
