"""Boxes of a made-up detector whose truth is known -> the path of squares."""

import numpy as np
import pytest

from fmrgb_stream.packing.face_path import (
    face_squares,
    follow_face,
    smooth_path,
    squares_inside,
)
from fmrgb_stream.packing.faces import FaceBox

FPS = 30.0
LOOKS = np.arange(0, 91, 6)


def box(x, y, side, confidence=0.9):
    return FaceBox(
        left=x - side / 2, top=y - side / 2, width=side, height=side, confidence=confidence
    )


def path(boxes, *, margin=0.0):
    return face_squares(boxes, LOOKS, num_frames=91, fps=FPS, margin=margin)


def test_even_motion_is_followed_without_lag_from_end_to_end():
    squares = path([box(40 + 2.0 * frame, 90 - 0.5 * frame, 50) for frame in LOOKS])
    frames = np.arange(91)
    truth = np.stack([40 + 2.0 * frames, 90 - 0.5 * frames, np.full(91, 50.0)], axis=1)
    np.testing.assert_allclose(squares, truth, atol=1e-9)


def test_jitter_of_the_detector_shrinks_to_a_third():
    jitter = np.random.default_rng(1).normal(0, 3, (len(LOOKS), 2))
    squares = path([box(100 + dx, 80 + dy, 50) for dx, dy in jitter])
    inner = squares[10:-10, :2] - [100, 80]
    assert np.sqrt((inner**2).mean()) < np.sqrt((jitter**2).mean()) / 2
    steps = np.abs(np.diff(squares[:, :2], axis=0))
    assert steps.max() < 0.75


def test_gap_is_bridged_by_a_line():
    boxes = [None if 4 < n < 9 else box(40 + 2.0 * f, 60, 50) for n, f in enumerate(LOOKS)]
    np.testing.assert_allclose(path(boxes)[:, 0], 40 + 2.0 * np.arange(91), atol=1e-9)


def test_gaps_at_the_ends_keep_the_nearest_box():
    boxes = [box(100, 60, 50) if 3 < n < 9 else None for n in range(len(LOOKS))]
    np.testing.assert_allclose(path(boxes), np.tile([100.0, 60.0, 50.0], (91, 1)))


def test_margin_counts_in_sides_of_the_box_on_each_side():
    assert path([box(100, 60, 50)] * len(LOOKS), margin=0.25)[0].round(6).tolist() == [100, 60, 75]


def test_smoothing_of_a_bump_is_the_gaussian_of_its_width():
    bump = np.zeros((101, 1))
    bump[50] = 1
    smoothed = smooth_path(bump, sigma_frames=5.0)[:, 0]
    gaussian = np.exp(-0.5 * ((np.arange(101) - 50) / 5.0) ** 2)
    np.testing.assert_allclose(smoothed, gaussian / gaussian.sum(), atol=1e-4)


def test_single_frame_keeps_its_box():
    squares = face_squares([box(100, 60, 50)], np.array([0]), num_frames=1, fps=FPS, margin=0.0)
    assert squares.tolist() == [[100, 60, 50]]


def test_one_face_is_followed_past_a_larger_one_that_comes_late():
    first = [box(60 + 5 * n, 60, 40) for n in range(10)]
    looks = [[one] for one in first]
    looks[8].append(box(250, 150, 42, confidence=0.5))
    assert follow_face(looks) == first


def test_largest_and_surest_face_is_chosen():
    small, large = box(60, 60, 30), box(200, 90, 60)
    assert follow_face([[small, large]] * 5) == [large] * 5


def test_order_of_the_detector_does_not_matter():
    left, right = box(60, 60, 40), box(200, 60, 40)
    assert follow_face([[left, right], [right, left]]) == follow_face(
        [[right, left], [left, right]]
    )


def test_face_that_jumps_away_is_not_the_same_face():
    assert follow_face([[box(60, 60, 40)], [box(200, 60, 39)]]) == [box(60, 60, 40), None]


def test_no_face_anywhere_gives_no_path():
    assert follow_face([[], [], []]) == [None, None, None]


@pytest.mark.parametrize(
    ("square", "moved"),
    [
        ([5, 50, 40], [20, 50, 40]),
        ([155, 95, 40], [140, 80, 40]),
        ([80, 50, 300], [80, 50, 100]),
        ([80, 50, 40], [80, 50, 40]),
    ],
)
def test_squares_are_moved_and_shrunk_into_the_picture(square, moved):
    inside = squares_inside(np.array([square], float), width=160, height=100)
    assert inside.tolist() == [moved]
