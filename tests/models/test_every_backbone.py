"""One backbone of each kind that timm has, and each name that timm has of ours, without weights."""

import pytest
import timm

from fmrgb_stream.models import model_cost
from fmrgb_stream.models.timm_names import NAMES

SHAPE = {"num_frames": 2, "size": (96, 112)}
WITH_CONDITIONS = {
    "csatv2": "three planes only",
    "deepseek_vit": "sides that are multiples of its patches",
    "dla": "sides that are multiples of 32",
    "hieradet_sam2": "sides that are multiples of 32",
    "hrnet": "sides that are multiples of 32",
}
SMALL = ("test_", "atto", "femto", "pico", "nano", "tiny", "small", "_s", "18", "0")


def one_backbone_of_each_kind():
    kinds = {}
    for name in timm.list_models(exclude_filters="fmrgb_*"):
        kind = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
        kinds.setdefault(kind, []).append(name)
    return {
        kind: next((name for mark in SMALL for name in names if mark in name), names[0])
        for kind, names in kinds.items()
        if kind not in WITH_CONDITIONS
    }


BACKBONES = one_backbone_of_each_kind()


def test_timm_has_many_kinds():
    assert len(BACKBONES) > 80


@pytest.mark.slow
@pytest.mark.parametrize("kind", BACKBONES)
def test_a_backbone_takes_five_planes_of_any_size(kind):
    assert model_cost(f"frame_pool/{BACKBONES[kind]}", **SHAPE).num_macs > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_registered_name_takes_five_planes_of_any_size(name):
    assert model_cost(name, **SHAPE).num_macs > 0
