"""Small datasets to look at, packed once."""

import pytest

from tests.support.datasets import pack_numbered
from tests.support.viewed import pack_copied, pack_odd


@pytest.fixture(scope="session")
def numbered(tmp_path_factory):
    """Eight clips of 12 frames at 10 a second, three classes, keyframes every 4, shards of 5."""
    return pack_numbered(tmp_path_factory.mktemp("numbered"), num_clips=8)


@pytest.fixture(scope="session")
def odd(tmp_path_factory):
    """See `pack_odd`."""
    return pack_odd(tmp_path_factory.mktemp("odd"))


@pytest.fixture(scope="session")
def copied(tmp_path_factory):
    """See `pack_copied`."""
    return pack_copied(tmp_path_factory.mktemp("copied"))
