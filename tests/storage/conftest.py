import os
import tempfile

import pytest

CREDENTIALS = ("AWS_", "AZURE_", "GOOGLE_")


@pytest.fixture(autouse=True)
def private_surroundings(tmp_path_factory, monkeypatch):
    """No credentials of whoever runs the tests, and a folder for temporary files of their own."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    for name in [name for name in os.environ if name.startswith(CREDENTIALS)]:
        monkeypatch.delenv(name)
