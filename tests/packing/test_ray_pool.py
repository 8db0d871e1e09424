"""What can be told of packing on Ray without Ray: who is refused, and why."""

import socket
import sys
from dataclasses import replace

import pytest

from fmrgb_stream.config import PackConfig
from fmrgb_stream.errors import ConfigError, MissingExtraError, PackError
from fmrgb_stream.packing import pack
from fmrgb_stream.packing.plan import config_values
from fmrgb_stream.packing.ray_pool import check_reachable, compare_node, shared_paths, surroundings
from tests.support.media import Picture, numbered_frames, write_media


@pytest.fixture
def here(tmp_path):
    """What a driver that packs `in` into `out` compares nodes with."""
    (tmp_path / "in").mkdir()
    return surroundings(shared_paths(tmp_path / "in", tmp_path / "out"))


def test_node_that_sees_the_same_may_pack(here):
    compare_node(here)


def test_node_with_another_release_is_refused(here):
    theirs = replace(here, versions=(("av", "1.0"),))
    with pytest.raises(PackError, match=r"av is .* there and 1\.0 here"):
        compare_node(theirs)


def test_node_with_a_destination_of_its_own_is_refused(here):
    here.paths.token_file.write_text("another folder of that name")
    with pytest.raises(PackError, match="out is another folder there"):
        compare_node(here)


def test_node_without_the_source_is_refused(here, tmp_path):
    (tmp_path / "in").rmdir()
    with pytest.raises(PackError, match=r"the source .* is not there"):
        compare_node(here)


def test_missing_ray_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    write_media(tmp_path / "in" / "a.mp4", picture=Picture(numbered_frames(4)))
    with pytest.raises(MissingExtraError, match=r"fmrgb_stream\[ray\]"):
        pack(tmp_path / "in", tmp_path / "out", config=PackConfig(executor="ray"))


def test_address_where_nothing_listens_is_told_at_once():
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unheard.getsockname()[1]}"
        with pytest.raises(PackError, match=rf"{address}.*ray start --head"):
            check_reachable(address)


@pytest.mark.parametrize("address", [None, "auto", "local"])
def test_address_without_a_port_is_left_to_ray(address):
    check_reachable(address)


def test_address_without_ray_is_refused():
    with pytest.raises(ConfigError, match=r"address='10\.0\.0\.1:6379'.*executor='ray'"):
        PackConfig(address="10.0.0.1:6379")


def test_who_packs_is_no_part_of_the_dataset():
    by_ray = PackConfig(executor="ray", address="auto", num_workers=3)
    assert config_values(by_ray) == config_values(PackConfig())
