"""Which pipeline is taken for what was asked, on a machine with this or that."""

import logging

import pytest
import torch

from fmrgb_stream.config import ClipConfig, FlowConfig, MelConfig
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.errors import ConfigError, MissingExtraError
from fmrgb_stream.pipelines.choice import choose_pipeline

CLIP = ClipConfig()
ALONE = WorldInfo()


@pytest.fixture
def machine(monkeypatch):
    """Pretend to have so many GPUs, and DALI or not."""

    def have(*, gpus, dali, driver_suits=True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr("fmrgb_stream.pipelines.dali.library.has_dali", lambda: dali)
        if driver_suits:
            monkeypatch.setattr("fmrgb_stream.pipelines.dali.library.check_device", lambda _: None)

    return have


def chosen(backend="auto", device="cuda", *, clip=CLIP, world=ALONE):
    made = choose_pipeline(backend, device, clip, world=world)
    return made.backend, made.device


def test_auto_takes_dali_where_there_is_a_gpu_and_dali(machine, caplog):
    machine(gpus=2, dali=True)
    with caplog.at_level(logging.INFO):
        assert chosen() == ("dali", "cuda:0")
        assert chosen(device="cuda:1") == ("dali", "cuda:1")
    assert caplog.records[0].message == "clips are made by DALI on cuda:0"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this GPU runs DALI")
def test_where_dali_does_not_run_auto_takes_the_cpu_pipeline_and_names_the_cure(machine, caplog):
    pytest.importorskip("nvidia.dali")
    machine(gpus=1, dali=True, driver_suits=False)
    assert chosen() == ("cpu", "cuda:0")
    assert "DALI does not run on GPU 0" in caplog.text
    with pytest.raises(ConfigError, match="dali-cu12 for an older one"):
        chosen("dali")


def test_auto_without_a_gpu_takes_the_cpu_and_says_so_once(machine, caplog):
    machine(gpus=0, dali=True)
    assert chosen() == ("cpu", "cpu")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "stay in CPU memory" in record.message


def test_auto_without_dali_names_the_extra_and_copies(machine, caplog):
    machine(gpus=1, dali=False)
    assert chosen() == ("cpu", "cuda:0")
    (record,) = caplog.records
    assert "pip install 'fmrgb_stream[dali-cu13]'" in record.message


@pytest.mark.parametrize(
    "clip",
    [
        ClipConfig(flow=FlowConfig(estimator="dis")),
        ClipConfig(flow=FlowConfig(estimator="member")),
        ClipConfig(mel=MelConfig.seed(100)),
    ],
)
def test_auto_takes_the_cpu_for_what_dali_cannot_make(machine, caplog, clip):
    machine(gpus=1, dali=True)
    assert chosen(clip=clip) == ("cpu", "cuda:0")
    assert "does not run on the DALI pipeline" in caplog.text
    with pytest.raises(ConfigError, match="backend='cpu'"):
        chosen("dali", clip=clip)


def test_the_cpu_is_taken_without_a_word_when_asked_for(machine, caplog):
    machine(gpus=1, dali=True)
    assert chosen(device="cpu") == ("cpu", "cpu")
    assert chosen("cpu", "cpu") == ("cpu", "cpu")
    assert chosen("cpu", "cuda") == ("cpu", "cuda:0")
    assert caplog.records == []


def test_dali_by_name_works_without_a_gpu_on_the_cpu(machine):
    machine(gpus=0, dali=True)
    assert chosen("dali", "cpu") == ("dali", "cpu")


def test_dali_by_name_without_dali_names_the_extra(machine):
    machine(gpus=1, dali=False)
    for device in ("cpu", "cuda"):
        with pytest.raises(MissingExtraError, match=r"fmrgb_stream\[dali-cu13\]"):
            chosen("dali", device)


@pytest.mark.parametrize("backend", ["dali", "cpu"])
def test_a_gpu_by_name_that_is_not_there_is_refused(machine, backend):
    machine(gpus=0, dali=True)
    with pytest.raises(ConfigError, match="device='cpu'"):
        chosen(backend, "cuda")


@pytest.mark.parametrize("backend", ["dali", "cpu"])
def test_an_index_beyond_the_gpus_is_refused(machine, backend):
    machine(gpus=2, dali=True)
    with pytest.raises(ConfigError, match="cuda:2"):
        chosen(backend, "cuda:2")


def test_each_rank_of_a_machine_takes_its_own_gpu(machine):
    machine(gpus=2, dali=True)
    world = WorldInfo(rank=1, world_size=2, local_rank=1, local_world_size=2)
    assert chosen(world=world) == ("dali", "cuda:1")


def test_a_device_that_was_set_is_kept(machine, monkeypatch):
    machine(gpus=4, dali=True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert chosen() == ("dali", "cuda:3")


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cuda:", "cuda:-1", "CUDA", ""])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(ConfigError, match="device="):
        chosen(device=device)


def test_an_unknown_backend_is_refused():
    with pytest.raises(ConfigError, match="backend='gpu'"):
        chosen("gpu")
