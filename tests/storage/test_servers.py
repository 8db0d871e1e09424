"""The same steps against real servers; `make test-servers` installs what can be installed."""

import shutil

import pytest

from fmrgb_stream.errors import AccessDenied, ConfigError, ShardUnreadable
from fmrgb_stream.storage import Store
from fmrgb_stream.storage.urls import parse_location
from fmrgb_stream.storage.writing import BucketWriter
from tests.support import ceph, servers
from tests.support.datasets import write_sources
from tests.support.packed import all_bytes
from tests.support.streaming import (
    NUM_CLIPS,
    check_epoch,
    check_pause,
    check_wrong_secret,
    delivered,
    fmrgb,
    pack_words,
)

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_sources(tmp_path_factory.mktemp("source"), num_clips=NUM_CLIPS)


@pytest.fixture(scope="module")
def dataset(source, tmp_path_factory):
    root = tmp_path_factory.mktemp("packed") / "dataset"
    assert fmrgb(*pack_words(source, root, "unused")) == 0
    return root


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    for name in ceph.PROGRAMS:
        servers.program(name)
    folder = tmp_path_factory.mktemp("ceph")
    with ceph.ceph_gateway(folder) as running:
        yield running
    shutil.rmtree(folder)


@pytest.fixture
def gateway_login(gateway, monkeypatch):
    for name, value in gateway.environment().items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("gateway_login")
def test_ceph_takes_a_dataset_and_gives_an_epoch(gateway, source, tmp_path):
    root = gateway.url("packed")
    assert fmrgb(*pack_words(source, root, tmp_path / "staging")) == 0
    assert len(gateway.sizes("packed/")) == 2 + 2 * 3
    assert fmrgb("verify", root, "--num-workers", 1) == 0
    check_epoch(root)
    check_pause(gateway, root)


@pytest.mark.usefixtures("gateway_login")
def test_ceph_refuses_a_wrong_secret(gateway, monkeypatch):
    check_wrong_secret(gateway.url("packed"), monkeypatch, "AWS_SECRET_ACCESS_KEY", "wrong")


@pytest.mark.usefixtures("gateway_login")
def test_ceph_lists_more_than_a_page(gateway):
    writer = BucketWriter(parse_location(gateway.url("many")))
    gateway.put_many("many", 1005)
    assert len(writer.list()) == 1005


@pytest.mark.usefixtures("gateway_login")
def test_ceph_tells_ranges_behind_the_end(gateway):
    BucketWriter(parse_location(gateway.url("small"))).put("a", b"content")
    with pytest.raises(ShardUnreadable, match="behind the end"):
        Store(gateway.url("small")).read_range("a", start=100, length=5)


def test_azurite_takes_a_dataset_and_gives_an_epoch(source, tmp_path, monkeypatch):
    (tmp_path / "azurite").mkdir()
    with servers.azurite(tmp_path / "azurite") as server:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", servers.AZURITE_ACCOUNT)
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", servers.AZURITE_KEY)
        endpoint = f"{server.endpoint}/{servers.AZURITE_ACCOUNT}"
        servers.make_azure_container(endpoint)
        root = f"az://bucket/packed?endpoint={endpoint}"
        assert fmrgb(*pack_words(source, root, tmp_path / "staging")) == 0
        assert fmrgb("verify", root, "--num-workers", 1) == 0
        check_epoch(root)
        check_pause(server, root)
        wrong = servers.AZURITE_KEY.replace("Eby8", "Eby9")
        check_wrong_secret(root, monkeypatch, "AZURE_STORAGE_ACCOUNT_KEY", wrong)


def test_google_storage_gives_an_epoch(dataset, tmp_path):
    (tmp_path / "gcs").mkdir()
    with servers.fake_gcs(tmp_path / "gcs") as server:
        for name, content in all_bytes(dataset).items():
            servers.upload_to_gcs(server, f"packed/{name}", content)
        root = f"gs://bucket/packed?endpoint={server.endpoint}&anonymous=true"
        check_epoch(root)
        check_pause(server, root)


def test_nginx_gives_an_epoch_and_needs_no_second_one(dataset, tmp_path):
    with servers.nginx(tmp_path, dataset) as server:
        assert fmrgb("verify", server.endpoint, "--num-workers", 1) == 0
        check_epoch(server.endpoint)
        cache = tmp_path / "cache"
        assert len(delivered(server.endpoint, cache_dir=cache)) == NUM_CLIPS
        check_pause(server, server.endpoint, seconds=1.0)


def test_nginx_denies_what_it_may_not_read(tmp_path):
    (tmp_path / "empty").mkdir()
    with servers.nginx(tmp_path, tmp_path) as server, pytest.raises(AccessDenied):
        # A folder, which nginx does not list.
        Store(server.endpoint).read("empty/")


def test_an_http_server_is_not_written_to():
    with pytest.raises(ConfigError, match="cannot be written"):
        BucketWriter(parse_location("https://host/data"))
