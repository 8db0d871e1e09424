"""One clip: the right planes in the right places, for every kind of sample and plan."""

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from scipy import ndimage

from fmrgb_stream.clips.sampling import plan_clip
from fmrgb_stream.config import ClipConfig, FlowConfig
from fmrgb_stream.pipelines.counters import StageClock
from fmrgb_stream.pipelines.cpu.clip import ClipMaker
from fmrgb_stream.pipelines.cpu.flow import FlowReader, gray_frames
from fmrgb_stream.pipelines.cpu.layout import batch_layout
from fmrgb_stream.pipelines.cpu.order import WaveformSpan, choose_estimator
from fmrgb_stream.pipelines.cpu.video import VideoReader
from fmrgb_stream.sample import PlannedClip
from tests.support.encoded import (
    AUDIO_RATE,
    ListSource,
    VideoOptions,
    clip_plan,
    clip_task,
    encoded_sample,
    planned_clip,
)
from tests.support.media import numbered_frames, read_numbers, tone

SIZE = (48, 80)


def make(planned, clip, *, fill=77):
    """The clip's planes, written over `fill`, and its extras."""
    span = WaveformSpan.of(clip, nominal_fps=30, sample_rate=AUDIO_RATE)
    maker = ClipMaker(
        clip,
        estimator=choose_estimator(clip.flow),
        video_decoder="auto",
        span=span,
        clock=StageClock(),
    )
    layout = batch_layout(clip, span, 1)
    arrays = layout.clip(np.full(layout.num_bytes, fill, np.uint8), 0)
    maker.make(planned, arrays)
    return arrays.planes_CTHW, arrays


def config(num_frames, **changes):
    return ClipConfig(**({"num_frames": num_frames, "size": SIZE} | changes))


@pytest.fixture(scope="module")
def moving():
    """A texture that moves 2 pixels to the right and 1 down a frame, with a tone."""
    rng = np.random.default_rng(4)
    big = ndimage.zoom(rng.uniform(20, 235, (30, 40)), 6, order=3)
    frames = np.stack([big[60 - k : 108 - k, 100 - 2 * k : 180 - 2 * k] for k in range(40)])
    frames = np.repeat(frames.clip(16, 235).astype(np.uint8)[..., None], 3, axis=-1)
    return encoded_sample(frames, tone(1000, 40 / 30, rate=AUDIO_RATE))


@pytest.fixture(scope="module")
def numbered():
    return encoded_sample(numbered_frames(60), tone(1000, 2.0, rate=AUDIO_RATE))


def test_frames_stand_in_the_red_green_and_blue_planes(numbered):
    planes, _ = make(planned_clip(numbered, [3, 9, 33]), config(3))
    assert read_numbers(planes[:3].transpose(1, 2, 3, 0)) == [3, 9, 33]


def test_planes_stand_in_the_order_asked_for(moving):
    planned = planned_clip(moving, [8, 12], lead=4)
    fmrgb, _ = make(planned, config(2))
    turned, _ = make(planned, config(2, channels=("mel", "flow", "blue", "green", "red")))
    np.testing.assert_array_equal(turned, fmrgb[::-1])


def test_gray_plane_is_the_luma_of_the_rgb_planes(moving):
    planned = planned_clip(moving, [8, 12], lead=4)
    fmrgb, _ = make(planned, config(2))
    gray3, _ = make(planned, config(2, channels="gray3"))
    np.testing.assert_array_equal(gray3[0], gray_frames(fmrgb[:3]))
    np.testing.assert_array_equal(gray3[1:], fmrgb[3:])


def test_flow_is_between_the_clips_frames_and_the_lead_frame_makes_the_first(moving):
    planes, _ = make(
        planned_clip(moving, [8, 10, 13], lead=6), config(3, flow=FlowConfig(mode="uv"))
    )
    shown_pixels = np.median(planes[3:5].astype(float), axis=(2, 3))
    expected = 128 + 127 / 16 * np.array([[4, 4, 6], [2, 2, 3]])
    np.testing.assert_allclose(shown_pixels, expected, atol=6)


def test_magnitude_plane_is_the_estimators_flow_quantised(moving):
    planes, _ = make(planned_clip(moving, [8, 10], lead=6), config(2))
    pictures = VideoReader("auto", size=SIZE).pictures(moving, [6, 8, 10])
    reader = FlowReader("dis", size=SIZE)
    gray = reader.gray(pictures)
    height, width = gray.shape[1:]
    # OpenCV refuses what is narrower.
    padded = np.pad(gray, ((0, 0), (0, 0), (0, 24 - width)), mode="edge")
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    dis.setFinestScale(0)
    flow = [dis.calc(*pair, None)[:height, :width] for pair in pairwise(padded)]
    small = [4 * np.hypot(x[..., 0], x[..., 1]) for x in flow]
    # Enlarged linearly, values at pixel centres.
    grid = np.meshgrid(*((np.arange(side) - 1.5) / 4 for side in SIZE), indexing="ij")
    enlarged = [ndimage.map_coordinates(x, grid, order=1, mode="nearest") for x in small]
    expected = np.rint(255 * np.minimum(np.stack(enlarged) / 16, 1))
    np.testing.assert_allclose(planes[3].astype(float), expected, atol=1)
    assert planes[3].max() > 20


@pytest.mark.parametrize(("mode", "still"), [("magnitude", 0), ("uv", 128)])
def test_without_a_lead_frame_the_first_flow_plane_shows_no_motion(moving, mode, still):
    planes, _ = make(planned_clip(moving, [0, 4]), config(2, flow=FlowConfig(mode=mode)))
    assert (planes[3, 0] == still).all()
    assert (planes[3, 1] != still).any()


def test_a_jump_shows_no_motion(moving):
    plan = replace(clip_plan([8, 10, 2], lead=6), has_flow=np.array([True, True, False]))
    planned = PlannedClip(task=clip_task(), sample=moving, plan=plan)
    planes, _ = make(planned, config(3))
    assert planes[3, 1].any()
    assert not planes[3, 2].any()


def test_a_repeated_frame_shows_no_motion(moving):
    planes, _ = make(planned_clip(moving, [8, 8], lead=6), config(2))
    assert not planes[3, 1].any()


@pytest.mark.parametrize("mode", ["magnitude", "uv"])
def test_padding_frames_are_zero_in_every_plane(moving, mode):
    planes, _ = make(
        planned_clip(moving, [8, 10, -1, -1], lead=6), config(4, flow=FlowConfig(mode=mode))
    )
    assert not planes[:, 2:].any()
    assert all(planes[c, 1].any() for c in range(len(planes)))


def test_a_clip_of_nothing_but_padding_is_zero(moving):
    planes, _ = make(planned_clip(moving, [-1, -1]), config(2))
    assert not planes.any()


def test_zoom_blends_like_scipy():
    sample = encoded_sample(numbered_frames(7))
    clip = config(12, channels="rgb", window="start", frame_stride=1, length_rule="zoom")
    plan = plan_clip(sample.info, clip)
    planes, _ = make(PlannedClip(task=clip_task(), sample=sample, plan=plan), clip)
    decoded = VideoReader("auto", size=SIZE).pictures(sample, list(range(7)))
    expected = ndimage.zoom(decoded.astype(float), (1, 12 / 7, 1, 1), order=1)
    assert np.abs(planes - expected).max() <= 0.501


def test_float_planes_are_the_unquantised_values(moving):
    planned = planned_clip(moving, [8, 10], lead=6)
    names = ("red", "gray", "flow", "mel")
    quantised, _ = make(planned, config(2, channels=names))
    floats, _ = make(planned, config(2, channels=names, dtype="float32"))
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats * 255, quantised, atol=0.502)
    assert np.abs(floats[2] * 255 - quantised[2]).max() > 0.1


def test_float_directions_are_pixels_over_max_pixels(moving):
    clip = config(2, flow=FlowConfig(mode="uv"), channels="flow", dtype="float32")
    planes, _ = make(planned_clip(moving, [8, 10], lead=6), clip)
    assert np.median(planes[0, 1]) == pytest.approx(4 / 16, abs=0.03)
    assert np.median(planes[1, 1]) == pytest.approx(2 / 16, abs=0.03)


def test_half_floats_are_rounded_floats(moving):
    planned = planned_clip(moving, [8, 10], lead=6)
    half, _ = make(planned, config(2, dtype="float16"))
    single, _ = make(planned, config(2, dtype="float32"))
    np.testing.assert_array_equal(half, single.astype(np.float16))


def test_sample_without_sound_has_a_zero_mel_plane():
    sample = encoded_sample(numbered_frames(8))
    clip = config(2, extras=("mel_image", "waveform"))
    planes, extras = make(planned_clip(sample, [1, 5]), clip)
    assert not planes[4].any()
    assert not extras.mel_image_MW.any()
    assert not extras.waveform_S.any()


def test_sample_without_picture_has_only_a_mel_plane():
    sample = encoded_sample(waveform_S=tone(1000, 2.0, rate=AUDIO_RATE))
    planes, _ = make(planned_clip(sample, [10, 30], lead=5), config(2))
    assert not planes[:4].any()
    assert planes[4].any()


def test_sample_of_one_frame_makes_a_clip():
    sample = encoded_sample(numbered_frames(1, first=9))
    clip = config(4)
    planes, _ = make(ListSource([sample], clip).fetch(clip_task()), clip)
    assert read_numbers(planes[:3].transpose(1, 2, 3, 0)) == [9, 9, 9, 9]


def test_mel_alone_needs_no_video(numbered):
    planes, _ = make(
        planned_clip(replace(numbered, video=None), [10, 30]), config(2, channels="mel")
    )
    assert planes.any()


def test_rgb_alone_needs_no_sound(numbered):
    planes, _ = make(
        planned_clip(replace(numbered, audio=None), [10, 30]), config(2, channels="rgb")
    )
    assert planes.any()


def test_extras_have_their_documented_shapes(numbered):
    clip = config(4, extras=("mel_image", "waveform", "audio_features"))
    _, extras = make(planned_clip(numbered, [0, 4, 8, 12]), clip)
    assert extras.mel_image_MW.shape == (64, 80)
    assert extras.waveform_S.shape == (round(16 / 30 * AUDIO_RATE),)
    assert extras.audio_features_F.shape == (26,)


def test_flash_and_sound_share_a_frame():
    """The brightest frame and the loudest middle of the mel plane are the same frame."""
    frames = np.full((60, 48, 80, 3), 16, np.uint8)
    frames[37] = 235
    sound = np.zeros(2 * AUDIO_RATE, np.float32)
    start = round(37 / 30 * AUDIO_RATE)
    sound[start - 160 : start + 160] = tone(2000, 0.02, rate=AUDIO_RATE, level=0.9)
    sample = encoded_sample(frames, sound, options=VideoOptions(crf=10))
    planes, _ = make(planned_clip(sample, list(range(60))), config(60))
    middle = planes[4, :, :, 39:41].astype(int).sum(axis=(1, 2))
    assert planes[0].mean(axis=(1, 2)).argmax() == middle.argmax() == 37
