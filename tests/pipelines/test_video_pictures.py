"""Colours and sizes against a numpy evaluation: YUV -> RGB by the book, triangle-filter resize."""

import io
from dataclasses import replace

import av
import numpy as np
import pytest

from fmrgb_stream.channels import RGB_PLANES
from fmrgb_stream.pipelines.cpu.video import VideoReader
from tests.support.clips import assert_clips_close
from tests.support.encoded import VideoOptions, encoded_sample
from tests.support.media import numbered_frames, read_numbers, rotate_mov

# (Kr, Kb) of ITU-R BT.601-7 and BT.709-6.
LUMA = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


def triangle(num_in, num_out, *, scale=None, shift=0.0):
    scale = num_in / num_out if scale is None else scale
    support = max(scale, 1.0)
    weights = np.zeros((num_out, num_in))
    for row in range(num_out):
        centre = (row + 0.5) * scale - 0.5 + shift
        for tap in range(int(np.floor(centre - support)), int(np.ceil(centre + support)) + 1):
            weight = max(0.0, 1 - abs(tap - centre) / support)
            weights[row, min(max(tap, 0), num_in - 1)] += weight
    return weights / weights.sum(axis=1, keepdims=True)


def reference_rgb(video, index, size, *, matrix="bt601", full_range=False):
    with av.open(io.BytesIO(video)) as container:
        frame = [f for _, f in zip(range(index + 1), container.decode(video=0), strict=False)][-1]
    planes = [
        np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width].astype(float)
        for p in frame.planes
    ]
    height, width = size
    luma = triangle(planes[0].shape[0], height) @ planes[0] @ triangle(planes[0].shape[1], width).T
    # H.264's default chroma lies on the left luma column of each pair: a quarter chroma pixel.
    chroma = [
        triangle(p.shape[0], height) @ p @ triangle(p.shape[1], width, shift=0.25).T
        for p in planes[1:]
    ]
    if full_range:
        y, cb, cr = luma, chroma[0] - 128, chroma[1] - 128
    else:
        y = (luma - 16) * 255 / 219
        cb, cr = ((c - 128) * 255 / 224 for c in chroma)
    kr, kb = LUMA[matrix]
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.stack([red, green, blue]), 0, 255)


def colourful_frames(num_frames, *, width=228, height=128):
    rng = np.random.default_rng(7)
    coarse = rng.integers(20, 235, (num_frames, 9, 15, 3)).astype(np.float64)
    rows, columns = triangle(9, height), triangle(15, width)
    frames = np.einsum("hi,fijc,wj->fhwc", rows, coarse, columns)
    return frames.round().astype(np.uint8)


@pytest.mark.parametrize("size", [(112, 112), (128, 228), (64, 114), (40, 300)])
def test_proxy_pictures_match_the_formulas(size):
    sample = encoded_sample(colourful_frames(3))
    picture = VideoReader("auto", size=size).pictures(sample, [2])
    expected = reference_rgb(bytes(sample.video), 2, size)
    assert_clips_close(picture, expected[:, None], RGB_PLANES)


@pytest.mark.parametrize(
    ("matrix", "color_range"), [("bt709", "limited"), ("bt601", "full"), ("bt709", "full")]
)
def test_other_colour_descriptions_match_the_formulas(matrix, color_range):
    options = VideoOptions(color_matrix=matrix, color_range=color_range)
    sample = encoded_sample(colourful_frames(2), options=options)
    picture = VideoReader("auto", size=(112, 112)).pictures(sample, [1])
    expected = reference_rgb(
        bytes(sample.video), 1, (112, 112), matrix=matrix, full_range=color_range == "full"
    )
    assert_clips_close(picture, expected[:, None], RGB_PLANES)


def test_reading_a_bt709_source_as_bt601_would_fail_the_tolerance():
    sample = encoded_sample(colourful_frames(2), options=VideoOptions(color_matrix="bt709"))
    expected = reference_rgb(bytes(sample.video), 1, (112, 112), matrix="bt709")
    wrong = replace(sample, info=replace(sample.info, color_matrix="bt601"))
    picture = VideoReader("auto", size=(112, 112)).pictures(wrong, [1])
    with pytest.raises(AssertionError, match="grey levels"):
        assert_clips_close(picture, expected[:, None], RGB_PLANES)


def test_shrinking_averages_fine_stripes():
    frames = np.zeros((2, 128, 224, 3), np.uint8)
    frames[:, :, ::2] = 255
    sample = encoded_sample(frames)
    picture = VideoReader("auto", size=(32, 56)).pictures(sample, [0])
    assert picture.astype(int).std() < 8


@pytest.mark.parametrize("degrees", [90, 180, 270, -90])
def test_stored_picture_is_turned_upright(degrees):
    upright = colourful_frames(2, width=96, height=64)
    stored = np.rot90(upright, -degrees // 90, axes=(1, 2))
    sample = encoded_sample(
        stored, rotation_degrees=degrees, options=VideoOptions(pix_fmt="yuv444p")
    )
    picture = VideoReader("auto", size=(64, 96)).pictures(sample, [1])
    assert_clips_close(picture, upright[1].transpose(2, 0, 1)[:, None], RGB_PLANES)


def test_decord_turns_what_the_index_says_lies(tmp_path):
    sample = encoded_sample(colourful_frames(2, width=160, height=96), rotation_degrees=270)
    path = tmp_path / "phone.mp4"
    path.write_bytes(sample.video)
    turned = replace(sample, video=memoryview(rotate_mov(path, 90).read_bytes()))
    picture = VideoReader("decord", size=(80, 48)).pictures(turned, [1])
    expected = VideoReader("pyav", size=(80, 48)).pictures(turned, [1])
    # decord converts colours with FFmpeg's quick, less exact routines.
    assert_clips_close(picture, expected, RGB_PLANES, tolerance=dict.fromkeys(RGB_PLANES, 4.0))


def test_odd_sizes_are_shown_whole():
    frames = numbered_frames(2, width=162, height=98)[:, :97, :161]
    sample = encoded_sample(frames, options=VideoOptions(pix_fmt="yuv444p"))
    picture = VideoReader("auto", size=(33, 81)).pictures(sample, [1])
    assert read_numbers(picture.transpose(1, 2, 3, 0)) == [1]
