"""The peers' recipe makes the clip that the package defines; a missing library hurts one peer."""

import cv2
import numpy as np
import pytest
import torch

from benchmarks.throughput.contract import BenchClip
from benchmarks.throughput.peers import PEERS, load_peer
from benchmarks.throughput.peers.ffmpeg import environment
from benchmarks.throughput.peers.libraries import MissingLibraryError, library
from benchmarks.throughput.recipe import (
    AUDIO_RATE,
    ClipMaker,
    centre_window,
    flac_reader,
    mel_planes,
    reference_clip,
)
from fmrgb_stream.clips.sampling import plan_clip
from fmrgb_stream.config import ClipConfig, MelConfig
from fmrgb_stream.pipelines.audio_layout import frame_layout
from fmrgb_stream.pipelines.audio_planes import audio_planes
from tests.support.encoded import encode_flac, encode_video
from tests.support.samples import sample_info


def sweep(num_samples):
    """Float32 in -1..1: a tone that rises from 200 Hz, with a silent stretch."""
    times = np.arange(num_samples) / AUDIO_RATE
    sound = 0.5 * np.sin(2 * np.pi * (200 * times + 400 * times**2))
    sound[num_samples // 3 : num_samples // 2] = 0
    return sound.astype(np.float32)


def texture(height, width):
    coarse = np.random.default_rng(0).integers(0, 255, (height // 6, width // 6), dtype=np.uint8)
    gray = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.repeat(gray[..., None], 3, axis=2)


@pytest.mark.parametrize("num_frames", [1, 7, 60, 61, 62, 68, 69, 70, 200])
def test_centre_window_is_the_packages_own(num_frames):
    plan = plan_clip(sample_info(num_frames=num_frames), ClipConfig(window="centre"))
    window = centre_window(num_frames, BenchClip())
    assert window.frames.tolist() == plan.frame_indices.tolist()
    assert window.lead == plan.lead_index


@pytest.mark.parametrize("size", [(112, 112), (48, 20)])
def test_mel_planes_agree_with_the_packages(size):
    times = 0.1 + np.arange(8) * 4 / 30
    flac = encode_flac(sweep(2 * AUDIO_RATE))
    read = flac_reader(flac)
    layout = frame_layout(times, width=size[1], sample_rate=AUDIO_RATE, config=MelConfig())
    stretches = [torch.from_numpy(read(r.first_sample, r.num_samples)) for r in layout.runs]
    expected = audio_planes(
        stretches, layout, size=size, sample_rate=AUDIO_RATE, config=MelConfig()
    )
    found = mel_planes(times, read, size=size).astype(np.float32)
    assert found.std() > 20
    assert np.abs(found - 255 * expected.numpy()).max() < 1.5


def test_flac_reader_gives_silence_around_the_sound():
    sound = sweep(AUDIO_RATE)
    read = flac_reader(encode_flac(sound))
    found = read(-100, AUDIO_RATE + 200)
    assert not found[:100].any()
    assert not found[-100:].any()
    assert np.allclose(found[100:-100], sound, atol=1e-4)


@pytest.mark.parametrize("size", [(112, 112), (40, 48)])
def test_flow_plane_shows_the_pixels_moved(size):
    wide = texture(size[0], size[1] + 24)
    pictures = np.stack([wide[:, 3 * k : 3 * k + size[1]] for k in range(5)])
    clip = BenchClip(num_frames=4, frame_stride=1, size=size)
    window = centre_window(6, clip)
    made = ClipMaker(clip).make(
        pictures, window, fps=30, read_sound=lambda _first, count: np.zeros(count, np.float32)
    )
    inside = made[3][:, 10:-10, 10:-10]
    assert np.median(inside) == pytest.approx(255 * 3 / 16, abs=6)


def test_reference_clip_has_the_colours_that_were_encoded():
    color = (200, 90, 40)
    frames = np.full((8, 64, 96, 3), color, np.uint8)
    clip = BenchClip(num_frames=4, frame_stride=1, size=(32, 48), planes="rgb")
    made = reference_clip(encode_video(frames), b"", num_frames=8, fps=30, clip=clip)
    assert np.abs(made.transpose(1, 2, 3, 0).astype(int) - color).max() <= 3


def test_every_peer_can_be_named_without_its_libraries():
    names = [load_peer(name).name for name in PEERS]
    assert len(set(names)) == len(PEERS)


@pytest.mark.parametrize(
    ("module", "extra"), [("no_such_loader", "bench"), ("nvidia.no_such_part", "dali-cu13")]
)
def test_missing_library_names_the_extra_that_brings_it(module, extra):
    with pytest.raises(MissingLibraryError, match=f"{module}.*{extra}"):
        library(module)


def test_unknown_peer_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no peer 'nobody'.*webdataset_torchcodec"):
        load_peer("nobody")


def test_ffmpeg_links_lead_to_the_libraries_of_pyav(tmp_path):
    variables = environment(tmp_path / "ffmpeg")
    links = list((tmp_path / "ffmpeg").glob("libavutil.so.*"))
    if not links:
        pytest.skip("PyAV was built on the machine's FFmpeg")
    assert links[0].resolve().is_file()
    assert variables["LD_LIBRARY_PATH"].startswith(str(tmp_path / "ffmpeg"))
