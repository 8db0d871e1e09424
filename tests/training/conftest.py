"""One small dataset with classes and one with targets, packed once for all tests of this folder."""

import pytest

from tests.support.runs import pack_table, write_colours


@pytest.fixture(scope="session")
def colour_tables(tmp_path_factory):
    """Their classes and their targets, as tables beside the media."""
    return write_colours(tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="session")
def classes_root(colour_tables, tmp_path_factory):
    """Three classes that the red plane tells."""
    return pack_table(colour_tables[0], tmp_path_factory.mktemp("classes") / "dataset")


@pytest.fixture(scope="session")
def targets_root(colour_tables, tmp_path_factory):
    """The same clips with five numbers."""
    return pack_table(colour_tables[1], tmp_path_factory.mktemp("targets") / "dataset")
