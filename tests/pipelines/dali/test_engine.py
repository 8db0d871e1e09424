"""Whether and how the GPU's flow engine is used; what can be told without one."""

import numpy as np
import pytest
import torch

from fmrgb_stream.config import ClipConfig, FlowConfig
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.pipelines.dali import probe
from fmrgb_stream.pipelines.dali.flow import GRID_PIXELS, clip_field
from fmrgb_stream.pipelines.dali.probe import (
    SHIFT_PIXELS,
    FlowChoice,
    choose_estimator,
    judge_engine,
    moving_pattern,
)
from fmrgb_stream.pipelines.lucas_kanade import lucas_kanade_flow


def answer(rightward, downward=0.0):
    flow = np.zeros((1, 14, 14, 2), np.float32)
    flow[..., 0], flow[..., 1] = rightward, downward
    return flow


def test_the_probes_pattern_moves_to_the_right():
    first, second = torch.from_numpy(moving_pattern((112, 112))[..., 0])[:, None]
    u, v = lucas_kanade_flow(first, second)[0, :, 20:-20, 20:-20]
    assert u.median() == pytest.approx(SHIFT_PIXELS, abs=0.3)
    assert abs(v.median()) < 0.3


@pytest.mark.parametrize("size", [(8, 8), (57, 131), (224, 160)])
def test_the_pattern_has_the_clips_size(size):
    pattern = moving_pattern(size)
    assert pattern.shape == (2, *size, 3)
    assert np.array_equal(pattern[0, :, : size[1] - SHIFT_PIXELS], pattern[1, :, SHIFT_PIXELS:])


@pytest.mark.parametrize(("rightward", "sign"), [(4.0, 1), (3.1, 1), (-4.2, -1)])
def test_the_answer_tells_which_way_vectors_point(rightward, sign):
    assert judge_engine(answer(rightward)) == (sign, "")


@pytest.mark.parametrize("found", [(0.0, 0.0), (128.0, 0.0), (0.1, 4.0), (4.0, 4.0)])
def test_an_engine_that_answers_something_else_is_not_used(found):
    sign, problem = judge_engine(answer(*found))
    assert sign == 0
    assert f"found ({found[0]:.2f}, {found[1]:.2f})" in problem


@pytest.mark.parametrize("size", [(112, 112), (57, 131)])
def test_vectors_of_the_grid_become_pixels_of_the_clip(size):
    rows, columns = (-(-side // GRID_PIXELS) for side in size)
    grid = torch.empty((2, 3, rows, columns, 2))
    grid[..., 0] = 2.5
    grid[..., 1] = -1.0
    field = clip_field(grid, sign=-1, size=size)
    assert field.shape == (2, 3, 2, *size)
    assert torch.all(field[:, :, 0] == -2.5)
    assert torch.all(field[:, :, 1] == 1.0)


def test_a_vector_stands_at_the_middle_of_its_square():
    grid = torch.zeros((1, 1, 4, 4, 2))
    grid[0, 0, 1, 2, 0] = 8.0
    field = clip_field(grid, sign=1, size=(16, 16))[0, 0, 0]
    weighted = field * torch.arange(16)[:, None], field * torch.arange(16)
    centre = [float(x.sum() / field.sum()) for x in weighted]
    assert centre == pytest.approx([1 * 4 + 1.5, 2 * 4 + 1.5], abs=1e-3)


def test_without_a_gpu_auto_estimates_in_torch():
    assert choose_estimator(ClipConfig(), "cpu", world=WorldInfo()).estimator == "lucas_kanade"


@pytest.mark.parametrize(
    ("clip", "device", "why"),
    [
        (ClipConfig(flow=FlowConfig(estimator="nvof")), "cpu", "part of a GPU"),
        (
            ClipConfig(flow=FlowConfig(estimator="nvof"), length_rule="zoom"),
            "cuda:0",
            "blended after decoding",
        ),
    ],
)
def test_the_engine_by_name_is_refused_where_it_cannot_work(clip, device, why):
    with pytest.raises(ConfigError, match=why):
        choose_estimator(clip, device, world=WorldInfo())


def test_an_engine_that_cannot_be_loaded_says_why(caplog):
    pytest.importorskip("nvidia.dali")
    if torch.cuda.is_available():
        pytest.skip("this machine may have an engine")
    caplog.set_level("INFO")
    assert (
        choose_estimator(ClipConfig(size=(96, 96)), "cuda:0", world=WorldInfo()).estimator
        == "lucas_kanade"
    )
    assert "cannot be used for 96x96 pixels" in caplog.text


TWO = WorldInfo(rank=0, world_size=2)
ON_ENGINE = ClipConfig(flow=FlowConfig(estimator="nvof"))


def with_engine(monkeypatch, *problems):
    """This rank's engine works unless `problems[0]` says why not; the others say the rest."""
    here, *others = problems
    monkeypatch.setattr(probe, "probe_engine", lambda _size, _device: (0 if here else -1, here))
    monkeypatch.setattr(probe, "can_agree", lambda _world: True)
    monkeypatch.setattr(
        probe, "of_all_ranks", lambda found, _world: [found, *enumerate(others, start=1)]
    )


def test_the_engine_is_used_where_every_rank_has_one(monkeypatch):
    with_engine(monkeypatch, "", "")
    assert choose_estimator(ClipConfig(), "cuda:0", world=TWO) == FlowChoice(
        estimator="nvof", sign=-1
    )


@pytest.mark.parametrize(
    ("problems", "told"),
    [(("", "no library"), "not on rank 1: no library"), (("no engine", ""), ": no engine")],
)
def test_ranks_estimate_alike_when_one_has_no_engine(monkeypatch, caplog, problems, told):
    caplog.set_level("INFO")
    with_engine(monkeypatch, *problems)
    chosen = choose_estimator(ClipConfig(), "cuda:0", world=TWO)
    assert chosen.estimator == "lucas_kanade"
    assert f"flow is estimated by lucas_kanade{'' if told[0] == ':' else ': '}{told}" in caplog.text
    with pytest.raises(ConfigError, match=r"no library|no engine"):
        choose_estimator(ON_ENGINE, "cuda:0", world=TWO)


def test_ranks_that_cannot_agree_do_not_use_the_engine_unless_asked(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(probe, "probe_engine", lambda _size, _device: (1, ""))
    assert choose_estimator(ClipConfig(), "cuda:0", world=TWO).estimator == "lucas_kanade"
    assert "no process group yet" in caplog.text
    assert choose_estimator(ON_ENGINE, "cuda:0", world=TWO).estimator == "nvof"
