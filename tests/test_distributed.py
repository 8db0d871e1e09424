"""Which process this is, from the variables that launchers set."""

import pytest

from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.errors import ConfigError

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_without_a_launcher_there_is_one_process():
    assert WorldInfo.from_environment() == WorldInfo()


def test_torchrun_variables_are_read(monkeypatch):
    for name, value in zip(NAMES, ("5", "8", "1", "4"), strict=True):
        monkeypatch.setenv(name, value)
    assert WorldInfo.from_environment() == WorldInfo(
        rank=5, world_size=8, local_rank=1, local_world_size=4
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("RANK", "one", "must be numbers"),
        ("RANK", "3", "rank 3"),
        ("WORLD_SIZE", "0", "world_size 0"),
        ("LOCAL_WORLD_SIZE", "0", "local_world_size 0"),
        ("LOCAL_RANK", "-1", "local_rank -1"),
    ],
)
def test_what_does_not_fit_is_refused(monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        WorldInfo.from_environment()
