"""Flow estimators on textures that move by a known amount, and the planes' formulas."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from fmrgb_stream.config import FlowConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.pipelines.cpu.flow import FlowReader, gray_frames
from fmrgb_stream.pipelines.cpu.order import choose_estimator
from fmrgb_stream.pipelines.flow_planes import quantise_flow_plane
from fmrgb_stream.pipelines.lucas_kanade import lucas_kanade_flow
from tests.support.clips import angle_between

RIGHT, DOWN = 0, 1


def texture_pair(shift_xy, *, size=112, cell=8, seed=1):
    """A smooth random texture, and the same moved by (right, down) pixels."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, ((size + 80) // cell + 2,) * 2)
    big = ndimage.zoom(coarse, cell, order=3).clip(0, 255)
    moved = ndimage.shift(big, (shift_xy[1], shift_xy[0]), order=3, mode="nearest")
    window = (slice(40, 40 + size), slice(40, 40 + size))
    return [np.rint(x[window]).clip(0, 255).astype(np.uint8) for x in (big, moved)]


def seen(reader, frames):
    """Grey frames as the estimator sees them."""
    return reader.gray(np.stack([frames] * 3))


def read(reader, frames, moves):
    """float32 [T, 2, H, W] pixels: the planes of one clip, which fill their range at one pixel."""
    flow = np.empty((len(moves), 2, *frames.shape[1:]), np.float32)
    planes = {"flow_u": flow[:, RIGHT], "flow_v": flow[:, DOWN]}
    reader.write_planes(seen(reader, frames), np.array(moves), planes, max_pixels=1.0)
    return flow


def fields(name, frames, moves):
    """float32 [T, 2, H, W] pixels."""
    return read(FlowReader(name, size=frames.shape[1:]), frames, moves)


def estimate(name, before, after):
    return fields(name, np.stack([before, after]), [True])[0]


@pytest.mark.parametrize("shift", [(0.5, 0), (2, 1), (-4, 3), (8, 0), (0, -8), (-5.5, 5.5)])
def test_lucas_kanade_finds_the_shift(shift):
    flow = estimate("lucas_kanade", *texture_pair(shift))
    error = np.hypot(flow[RIGHT] - shift[0], flow[DOWN] - shift[1])
    assert np.median(error) < 0.25


@pytest.mark.parametrize("shift", [(2, 1), (-4, 3), (8, 0)])
def test_both_estimators_point_the_same_way(shift):
    pair = texture_pair(shift)
    dis, lucas_kanade = estimate("dis", *pair), estimate("lucas_kanade", *pair)
    assert np.median(angle_between(lucas_kanade, dis)) < 10
    assert np.median(np.abs(np.hypot(*dis) - np.hypot(*lucas_kanade))) < 0.5


def test_positive_u_is_motion_to_the_right():
    flow = estimate("dis", *texture_pair((3, 0)))
    assert np.median(flow[RIGHT]) == pytest.approx(3, abs=0.3)
    assert np.median(flow[DOWN]) == pytest.approx(0, abs=0.3)


def test_positive_v_is_motion_downward():
    flow = estimate("dis", *texture_pair((0, 3)))
    assert np.median(flow[DOWN]) == pytest.approx(3, abs=0.3)


def magnitude_plane(pair, dtype):
    plane = np.empty((1, *pair[0].shape), dtype)
    reader = FlowReader("dis", size=pair[0].shape)
    gray = seen(reader, np.stack(pair))
    reader.write_planes(gray, np.array([True]), {"flow": plane}, max_pixels=16.0)
    return plane[0]


@pytest.mark.parametrize("size", [112, 113, 224])
@pytest.mark.parametrize("shift", [(2, 1), (-4, 3), (6, 0)])
def test_quartered_frames_give_the_flow_of_whole_frames(shift, size):
    before, after = texture_pair(shift, size=size)
    # Something in front that moves the other way.
    before[20:60, 30:70], after[20:60, 27:67] = (texture_pair((0, 0), size=40, seed=5)[0],) * 2
    whole = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST).calc(
        before, after, None
    )
    expected = np.minimum(np.hypot(whole[..., 0], whole[..., 1]) / 16, 1)
    found = magnitude_plane((before, after), np.float32)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9
    assert np.median(np.abs(found - expected)) < 0.15 / 16


def area_weights(length, shrunk):
    """float64 [shrunk, length]: how much of each pixel lies in each of the larger ones."""
    edges = np.linspace(0, length, shrunk + 1)
    starts, stops = edges[:-1, None], edges[1:, None]
    pixels = np.arange(length)
    covered = np.minimum(stops, pixels + 1) - np.maximum(starts, pixels)
    return np.maximum(covered, 0) * shrunk / length


@pytest.mark.parametrize("size", [(112, 112), (112, 64), (113, 90)])
def test_frames_are_rounded_only_once_on_their_way_to_the_estimator(size):
    rgb = np.random.default_rng(0).integers(0, 256, (3, 3, *size)).astype(np.uint8)
    reader = FlowReader("dis", size=size)
    rows, columns = (area_weights(*pair) for pair in zip(size, reader.field_size, strict=True))
    weights = np.array([77, 150, 29]) / 256
    assert np.abs(weights - [0.299, 0.587, 0.114]).max() < 1 / 512
    luma = np.tensordot(weights, rgb.astype(np.float64), 1)
    assert np.abs(reader.gray(rgb) - rows @ luma @ columns.T).max() < 0.51


def test_bytes_of_the_magnitude_plane_are_its_values_rounded():
    pair = texture_pair((-4, 3))
    values = magnitude_plane(pair, np.float32)
    expected = np.rint(255 * np.minimum(values.astype(np.float64), 1))
    assert np.abs(magnitude_plane(pair, np.uint8) - expected).max() <= 1
    assert np.mean(magnitude_plane(pair, np.uint8) == expected) > 0.999


@pytest.mark.parametrize("name", ["dis", "lucas_kanade"])
def test_identical_frames_do_not_move(name):
    before, _ = texture_pair((0, 0))
    assert not estimate(name, before, before.copy()).any()


@pytest.mark.parametrize("name", ["dis", "lucas_kanade"])
def test_flow_is_zero_where_no_motion_can_be_told(name):
    frames = np.stack([*texture_pair((4, 0)), texture_pair((0, 0), seed=9)[0]])
    flow = fields(name, frames, [True, False])
    assert flow[0].any()
    assert not flow[1].any()


@pytest.mark.parametrize("size", [(8, 8), (8, 112), (16, 16), (20, 200), (200, 12)])
@pytest.mark.parametrize("name", ["dis", "lucas_kanade"])
def test_small_and_narrow_frames_have_flow(name, size):
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 255, (2, *size), dtype=np.uint8)
    flow = fields(name, frames, [True])
    assert flow.any()
    assert np.isfinite(flow).all()


@pytest.mark.parametrize("size", [(48, 80), (32, 40), (64, 88), (9, 30), (32, 92), (112, 112)])
def test_dis_does_not_remember_the_pairs_before(size):
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 255, (2, *size), dtype=np.uint8)
    edges = np.zeros((2, *size), np.uint8)
    edges[0, :, : size[1] // 2] = edges[1, :, : size[1] // 4] = 235
    fresh = fields("dis", noise, [True])
    used = FlowReader("dis", size=size)
    read(used, edges, [True])
    again = read(used, noise, [True])
    np.testing.assert_array_equal(again, fresh)


def test_a_pair_does_not_depend_on_the_other_pairs():
    pairs = [texture_pair((k, -k), seed=k) for k in (1, 2, 3)]
    before, after = (torch.from_numpy(np.stack(x)) for x in zip(*pairs, strict=True))
    together = lucas_kanade_flow(before, after)
    alone = lucas_kanade_flow(before[1:2], after[1:2])
    assert torch.equal(together[1:2], alone)


def test_flat_areas_do_not_move():
    before = torch.full((1, 64, 64), 100, dtype=torch.uint8)
    flow = lucas_kanade_flow(before, before + 3)
    assert float(flow.abs().max()) < 0.01


@pytest.mark.parametrize("estimator", ["nvof"])
def test_estimators_of_other_pipelines_are_refused_with_a_cure(estimator):
    with pytest.raises(ConfigError, match="use 'auto', 'dis' or 'lucas_kanade'"):
        choose_estimator(FlowConfig(estimator=estimator))


def test_auto_is_dis():
    assert choose_estimator(FlowConfig()) == "dis"


flows = st.floats(-40, 40, allow_nan=False, width=32)


@settings(max_examples=50, deadline=None)
@given(u=flows, v=flows, max_pixels=st.floats(0.5, 32))
def test_quantised_planes_follow_the_contract(u, v, max_pixels):
    values = (np.hypot(u, v), u, v)
    magnitude, plane_u, plane_v = (
        float(quantise_flow_plane(np.array([value / max_pixels], np.float32), name)[0])
        for name, value in zip(("flow", "flow_u", "flow_v"), values, strict=True)
    )
    assert abs(magnitude - 255 * min(np.hypot(u, v) / max_pixels, 1)) <= 0.5001
    assert abs(plane_u - (128 + 127 * np.clip(u / max_pixels, -1, 1))) <= 0.5001
    assert abs(plane_v - (128 + 127 * np.clip(v / max_pixels, -1, 1))) <= 0.5001
    for value in (magnitude, plane_u, plane_v):
        assert value == int(value)
        assert 0 <= value <= 255


@pytest.mark.parametrize("moves", [True, False])
def test_no_motion_is_0_in_the_magnitude_and_128_in_the_directions(moves):
    planes = {name: np.full((1, 32, 48), 77, np.uint8) for name in ("flow", "flow_u", "flow_v")}
    reader = FlowReader("dis", size=(32, 48))
    frames = np.random.default_rng(0).integers(0, 255, (1, 32, 48), dtype=np.uint8)
    gray = seen(reader, frames.repeat(2, axis=0))
    reader.write_planes(gray, np.array([moves]), planes, max_pixels=16.0)
    assert [np.unique(plane).tolist() for plane in planes.values()] == [[0], [128], [128]]


def test_gray_is_the_luma_of_the_contract():
    rgb = np.random.default_rng(0).integers(0, 256, (3, 2, 16, 24), dtype=np.uint8)
    expected = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
    assert np.abs(gray_frames(rgb) - expected).max() <= 0.51
