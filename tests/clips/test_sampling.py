"""Window and length rules against their definitions and the seeds' own counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from fmrgb_stream.clips.sampling import plan_clip
from fmrgb_stream.clips.timeline import kept_count
from fmrgb_stream.clips.windows import count_windows
from fmrgb_stream.config import ClipConfig
from fmrgb_stream.errors import ConfigError
from tests.support.samples import sample_info

windows = st.sampled_from(["random", "centre", "start", "uniform"])
rules = st.sampled_from(["repeat_last", "subsample_pad", "loop", "zoom"])


@given(
    st.integers(1, 200),
    windows,
    rules,
    st.integers(1, 40),
    st.integers(1, 9),
    st.floats(0, 1, exclude_max=True),
    st.one_of(st.none(), st.floats(0.5, 60)),
    st.floats(0.05, 1),
)
def test_every_plan_is_sound(num_frames, window, rule, clip_frames, stride, uniform, fps, fraction):
    clip = ClipConfig(
        num_frames=clip_frames,
        frame_stride=stride,
        fps=fps,
        window=window,
        length_rule=rule,
        fraction=fraction,
    )
    plan = plan_clip(sample_info(num_frames=num_frames), clip, uniform=uniform)
    shown = plan.frame_indices[plan.frame_indices >= 0]
    assert len(plan.frame_indices) == clip_frames
    assert 1 <= plan.num_valid_frames <= clip_frames
    assert shown.max() < num_frames
    assert (plan.frame_indices >= 0).sum() >= plan.num_valid_frames
    assert np.all(np.diff(plan.frame_indices[: plan.num_valid_frames]) >= 0)
    assert np.all((plan.blend_weights >= 0) & (plan.blend_weights < 1))
    assert np.all(np.isfinite(plan.times_seconds))
    assert plan.lead_index < plan.frame_indices[0] or fps is not None
    assert plan.has_flow[0] == (plan.lead_index >= 0)
    assert not plan.has_flow[plan.frame_indices < 0].any()
    if rule != "subsample_pad":
        assert (plan.frame_indices >= 0).all()


def test_random_windows_reach_every_start_and_no_other():
    clip = ClipConfig(num_frames=4, frame_stride=3, window="random")
    info = sample_info(num_frames=20)
    starts = {
        int(plan_clip(info, clip, uniform=u).frame_indices[0])
        for u in np.linspace(0, 1, 500, endpoint=False)
    }
    assert starts == set(range(11))  # 20 - 3 * 3 = 11 places


def test_centre_and_start_windows():
    info = sample_info(num_frames=21)
    centre = plan_clip(info, ClipConfig(num_frames=4, frame_stride=2, window="centre"))
    start = plan_clip(info, ClipConfig(num_frames=4, frame_stride=2, window="start"))
    assert centre.frame_indices.tolist() == [7, 9, 11, 13]
    assert start.frame_indices.tolist() == [0, 2, 4, 6]


def test_the_leading_frame_is_one_stride_before():
    info = sample_info(num_frames=30)
    plan = plan_clip(info, ClipConfig(num_frames=4, frame_stride=4, window="centre"))
    assert plan.lead_index == plan.frame_indices[0] - 4
    assert plan.has_flow.all()
    first = plan_clip(info, ClipConfig(num_frames=4, frame_stride=4, window="start"))
    assert first.lead_index == -1
    assert first.has_flow.tolist() == [False, True, True, True]


@pytest.mark.parametrize("num_frames", [1, 7, 16, 17, 40, 100, 101, 333])
def test_subsample_pad_is_the_seed_rule(num_frames):
    target = 16
    plan = plan_clip(
        sample_info(num_frames=num_frames),
        ClipConfig(
            num_frames=target, frame_stride=1, window="uniform", length_rule="subsample_pad"
        ),
    )
    # S0, dataset.py: n > target: x[::n // target][:target]; n < target: zero frames appended.
    frames = list(range(num_frames))
    if num_frames > target:
        frames = frames[:: num_frames // target][:target]
    expected = frames + [-1] * (target - len(frames))
    assert plan.frame_indices.tolist() == expected
    assert plan.num_valid_frames == len(frames)


@pytest.mark.parametrize("num_frames", [3, 9, 16, 50, 77])
def test_zoom_is_scipy_zoom_of_order_one(num_frames):
    target = 16
    values = np.random.default_rng(0).normal(size=(num_frames, 5))
    plan = plan_clip(
        sample_info(num_frames=num_frames),
        ClipConfig(num_frames=target, frame_stride=1, window="uniform", length_rule="zoom"),
    )
    weights = plan.blend_weights[:, None]
    blended = (1 - weights) * values[plan.frame_indices] + weights * values[plan.blend_indices]
    expected = ndimage.zoom(values, (target / num_frames, 1), order=1)
    np.testing.assert_allclose(blended, expected, atol=1e-9)
    assert plan.num_valid_frames == target


def test_repeat_last_and_loop_of_a_short_sample():
    info = sample_info(num_frames=3)
    repeat = plan_clip(info, ClipConfig(num_frames=7, frame_stride=1, length_rule="repeat_last"))
    loop = plan_clip(info, ClipConfig(num_frames=7, frame_stride=1, length_rule="loop"))
    assert repeat.frame_indices.tolist() == [0, 1, 2, 2, 2, 2, 2]
    assert repeat.has_flow.tolist() == [False, True, True, False, False, False, False]
    assert loop.frame_indices.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert loop.has_flow.tolist() == [False, True, True, False, True, True, False]
    assert repeat.num_valid_frames == loop.num_valid_frames == 3


def test_padding_frames_go_on_in_time():
    plan = plan_clip(
        sample_info(num_frames=3, fps=10.0),
        ClipConfig(num_frames=5, frame_stride=1, length_rule="subsample_pad"),
    )
    np.testing.assert_allclose(plan.times_seconds, [0.0, 0.1, 0.2, 0.3, 0.4])
    assert plan.frame_indices.tolist() == [0, 1, 2, -1, -1]


def test_uniform_takes_the_floor_of_linspace():
    plan = plan_clip(
        sample_info(num_frames=60), ClipConfig(num_frames=32, frame_stride=1, window="uniform")
    )
    assert plan.frame_indices.tolist() == np.linspace(0, 59, 32).astype(int).tolist()


@pytest.mark.parametrize(("whole", "at_80", "at_50"), [(25, 20, 12), (51, 41, 25), (77, 62, 38)])
def test_fractions_keep_as_many_frames_as_the_s3_experiments(whole, at_80, at_50):
    assert (kept_count(whole, 1.0), kept_count(whole, 0.8), kept_count(whole, 0.5)) == (
        whole,
        at_80,
        at_50,
    )
    info = sample_info(num_frames=whole)
    clip = ClipConfig(num_frames=100, frame_stride=1, window="uniform", fraction=0.5)
    assert plan_clip(info, clip).num_valid_frames == at_50


@pytest.mark.parametrize("fps", [1.0, 2.0, 3.0])
def test_fps_picks_frames_by_time(fps):
    info = sample_info(num_frames=300, fps=30.0)
    plan = plan_clip(info, ClipConfig(num_frames=8, fps=fps, window="start"))
    expected = np.round(np.arange(min(8, int(299 / 30 * fps) + 1)) * 30 / fps).astype(int)
    assert plan.frame_indices[: len(expected)].tolist() == expected.tolist()


def test_fps_follows_irregular_times_not_the_average_rate():
    times = np.array([0.0, 0.1, 0.2, 1.0, 1.1, 1.9, 2.0])
    info = sample_info(num_frames=7, fps=3.0, frame_times_seconds=times)
    plan = plan_clip(info, ClipConfig(num_frames=3, fps=1.0, window="start"))
    assert plan.times_seconds.tolist() == [0.0, 1.0, 2.0]
    assert plan.frame_indices.tolist() == [0, 3, 6]


@given(st.integers(1, 400), st.floats(0.3, 6), st.floats(0.1, 3))
def test_sliding_windows_hold_the_frames_of_their_time(num_frames, window_seconds, hop_seconds):
    clip = ClipConfig(
        num_frames=8,
        frame_stride=1,
        window="sliding",
        window_seconds=window_seconds,
        hop_seconds=hop_seconds,
    )
    info = sample_info(num_frames=num_frames, fps=25.0)
    count = int(count_windows(np.array([num_frames / 25.0]), clip)[0])
    duration = num_frames / 25.0
    for index in range(count):
        plan = plan_clip(info, clip, window_index=index)
        shown = plan.times_seconds[: plan.num_valid_frames]
        held = shown[0] < index * hop_seconds - 1e-5
        assert not held or (len(shown) == 1 and window_seconds < 1 / 25)
        assert shown[-1] < index * hop_seconds + window_seconds
    ends = (count - 1) * hop_seconds + window_seconds
    assert count == 1 or ends <= duration + 1e-5
    assert ends + hop_seconds > duration - 1e-5


def test_a_sliding_window_that_is_not_there_is_refused():
    clip = ClipConfig(window="sliding", window_seconds=1.0, hop_seconds=1.0)
    with pytest.raises(ConfigError, match="window 9"):
        plan_clip(sample_info(num_frames=60, fps=30.0), clip, window_index=9)


def test_sliding_windows_cover_a_sample_of_uneven_rate():
    times = np.concatenate([np.arange(0, 4, 1 / 15), np.arange(9, 13, 1 / 30)])
    info = sample_info(num_frames=len(times), fps=30.0, frame_times_seconds=times)
    clip = ClipConfig(
        num_frames=4, frame_stride=1, window="sliding", window_seconds=2.0, hop_seconds=1.0
    )
    duration = times[-1] + 1 / 30
    count = int(count_windows(np.array([duration]), clip)[0])
    plans = [plan_clip(info, clip, window_index=index) for index in range(count)]
    assert count == 12
    # Nothing begins in 4..9 s: those windows show the frame that is held.
    held = int(np.flatnonzero(times < 4)[-1])
    assert set(plans[5].frame_indices.tolist()) == {held}
    assert plans[5].num_valid_frames == 1
    assert plans[-1].times_seconds[-1] > 12.5


@pytest.mark.parametrize("window_index", [1, 2, 3])
def test_the_lead_is_as_far_away_as_the_frames_are_apart(window_index):
    clip = ClipConfig(
        num_frames=5, frame_stride=2, window="sliding", window_seconds=2.0, hop_seconds=1.0,
        length_rule="zoom",
    )  # fmt: skip
    plan = plan_clip(sample_info(num_frames=150), clip, window_index=window_index)
    spacing = (plan.frame_indices[-1] - plan.frame_indices[0]) / 4
    assert abs((plan.frame_indices[0] - plan.lead_index) - spacing) <= 0.5


def test_a_one_frame_sample_makes_a_clip():
    for rule in ("repeat_last", "loop", "zoom", "subsample_pad"):
        plan = plan_clip(sample_info(num_frames=1), ClipConfig(num_frames=4, length_rule=rule))
        assert plan.frame_indices[0] == 0
        assert not plan.has_flow[0]


@given(
    st.integers(1, 60),
    st.integers(1, 40),
    st.integers(1, 5),
    st.one_of(st.none(), st.floats(3, 60)),
    st.integers(0, 59),
)
def test_a_window_around_a_frame_has_it_in_the_middle(num_frames, clip_frames, stride, fps, centre):
    centre %= num_frames
    info = sample_info(num_frames=num_frames)
    clip = ClipConfig(num_frames=clip_frames, frame_stride=stride, fps=fps, window="around")

    plan = plan_clip(info, clip, window_index=centre)

    step = stride if fps is None else 30.0 / fps
    wanted = centre + (np.arange(clip_frames) - clip_frames // 2) * step
    assert plan.frame_indices[clip_frames // 2] == centre
    assert np.abs(plan.frame_indices - wanted.clip(0, num_frames - 1)).max() <= 0.5 + 1e-4
    assert plan.num_valid_frames == clip_frames


def test_windows_around_the_ends_repeat_the_end_frames_without_motion():
    clip = ClipConfig(num_frames=6, frame_stride=1, window="around")

    first, last = (plan_clip(sample_info(num_frames=9), clip, window_index=i) for i in (0, 8))

    assert first.frame_indices.tolist() == [0, 0, 0, 0, 1, 2]
    assert first.has_flow.tolist() == [False, False, False, False, True, True]
    assert first.lead_index == -1
    assert last.frame_indices.tolist() == [5, 6, 7, 8, 8, 8]
    assert last.has_flow.tolist() == [True, True, True, True, False, False]
    assert last.lead_index == 4


@given(st.integers(1, 400), st.floats(0.05, 3))
def test_windows_around_every_hop_are_all_inside_the_sample(num_frames, hop_seconds):
    clip = ClipConfig(num_frames=4, window="around", hop_seconds=hop_seconds)
    info = sample_info(num_frames=num_frames)

    (count,) = count_windows(np.array([info.duration_seconds]), clip)

    assert (count - 1) * hop_seconds < info.duration_seconds <= count * hop_seconds + 1e-3
    assert plan_clip(info, clip, window_index=count - 1).frame_indices[2] >= 0


def test_a_window_behind_the_end_is_refused():
    clip = ClipConfig(num_frames=4, window="around")

    with pytest.raises(ConfigError, match="window 9 is centred behind"):
        plan_clip(sample_info(num_frames=9), clip, window_index=9)


@pytest.mark.parametrize(
    "settings",
    [
        {"window": "around", "window_seconds": 1.0},
        {"window": "around", "fraction": 0.5},
        {"window": "centre", "hop_seconds": 1.0},
        {"window": "sliding", "window_seconds": 1.0},
    ],
)
def test_window_settings_that_do_not_fit_are_refused(settings):
    with pytest.raises(ConfigError, match="window"):
        ClipConfig(**settings)
