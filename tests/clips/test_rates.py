"""Constant rates under coarse clocks, grids for variable rates, and exact cuts."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmrgb_stream.clips.rates import (
    constant_rate,
    frames_on_grid,
    grid_rate,
    segment_bounds,
    true_times,
)

NTSC = Fraction(30000, 1001)
intervals = st.lists(st.floats(0.001, 2.0), min_size=0, max_size=60)


def times_from(gaps):
    return np.concatenate([[0.0], np.cumsum(gaps)])


@pytest.mark.parametrize("rate", [Fraction(12), Fraction(25), NTSC, Fraction(60), Fraction(125)])
def test_constant_rate_survives_a_clock_of_one_millisecond(rate):
    times = np.rint(np.arange(200) / float(rate) * 1000) / 1000
    assert constant_rate(times, tick_seconds=0.001, announced=[rate]) == rate


def test_ntsc_is_not_taken_for_thirty():
    times = np.arange(900) / float(NTSC)
    assert constant_rate(times, tick_seconds=1 / 30000, announced=[Fraction(30)]) == NTSC


def test_rate_that_no_container_names_is_exact():
    times = np.arange(50) * 3337 / 90000
    assert constant_rate(times, tick_seconds=1 / 90000, announced=[None]) == Fraction(90000, 3337)


def test_dropped_frame_on_a_clock_of_one_frame_is_not_constant():
    times = np.array([0, 2, 3, 4, 5]) / 30
    assert constant_rate(times, tick_seconds=1 / 30, announced=[Fraction(30)]) is None


def test_grid_of_dropped_frames_keeps_the_nominal_rate():
    times = np.delete(np.arange(120) / 30, [7, 8, 50])
    assert grid_rate(times) == 30


def test_grid_of_mixed_thirty_and_sixty_holds_both():
    times = np.concatenate([np.arange(40) / 60, 40 / 60 + np.arange(20) / 30])
    assert grid_rate(times) == 60


def test_grid_of_jitter_is_the_rate_nearest_to_the_median():
    jitter = np.random.default_rng(0).uniform(-0.008, 0.008, 200)
    assert grid_rate(np.arange(200) / 25 + jitter - jitter[0]) in (24, Fraction(24000, 1001), 25)


def test_gap_holds_the_last_frame_until_the_next_one_is_due():
    times = np.array([0.0, 0.1, 0.5])
    shown = frames_on_grid(times, fps=Fraction(10), num_cells=6)
    assert shown.tolist() == [0, 1, 1, 1, 1, 2]


def test_lower_rate_takes_every_other_frame():
    times = np.arange(60) / 60
    shown = frames_on_grid(times, fps=Fraction(30), num_cells=30)
    assert shown.tolist() == list(range(0, 60, 2))


def test_times_on_the_grid_are_not_stored():
    times = np.rint(np.arange(30) / float(NTSC) * 1000) / 1000
    shown = frames_on_grid(times, fps=NTSC, num_cells=30)
    assert shown.tolist() == list(range(30))
    assert true_times(times, shown, fps=NTSC) is None


@given(gaps=intervals, fps=st.sampled_from([Fraction(5), Fraction(25), NTSC, Fraction(60)]))
def test_grid_never_goes_back_and_times_strictly_increase(gaps, fps):
    times = times_from(gaps)
    num_cells = max(1, round((times[-1] + 1 / float(fps)) * float(fps)))
    shown = frames_on_grid(times, fps=fps, num_cells=num_cells)
    taken = true_times(times, shown, fps=fps)
    assert shown[0] == 0
    assert (np.diff(shown) >= 0).all()
    assert taken is None or (np.diff(taken) > 0).all()


@given(gaps=intervals)
def test_no_cell_shows_a_frame_more_than_half_a_cell_early(gaps):
    times, fps = times_from(gaps), Fraction(25)
    shown = frames_on_grid(times, fps=fps, num_cells=round(times[-1] * 25) + 1)
    assert (times[shown] - np.arange(len(shown)) / 25 <= 0.02 + 1e-9).all()


@given(gaps=intervals, segment_seconds=st.floats(0.05, 5.0))
def test_cuts_lose_no_frame_and_take_none_twice(gaps, segment_seconds):
    times = times_from(gaps)
    bounds = segment_bounds(times, segment_seconds)
    assert [frame for first, end in bounds for frame in range(first, end)] == list(
        range(len(times))
    )


@given(gaps=intervals, segment_seconds=st.floats(0.05, 5.0))
def test_every_segment_stays_inside_its_window(gaps, segment_seconds):
    times = times_from(gaps) + 17.0
    for first, end in segment_bounds(times, segment_seconds):
        window = np.floor((times[first] - 17.0 + 2e-6) / segment_seconds)
        assert times[end - 1] - 17.0 < (window + 1) * segment_seconds + 1e-5


def test_thirty_frames_a_second_cut_at_whole_seconds():
    assert segment_bounds(np.arange(75) / 30, 1.0) == [(0, 30), (30, 60), (60, 75)]
