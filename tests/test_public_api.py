"""The names that `import fmrgb_stream` offers, and what importing it costs."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import fmrgb_stream

HEAVY = (
    "accelerate",
    "av",
    "cv2",
    "decord",
    "librosa",
    "matplotlib",
    "numpy",
    "nvidia",
    "pyarrow",
    "scipy",
    "timm",
    "torch",
    "torchaudio",
    "torchvision",
    "webdataset",
)
IMPORT_SECONDS_AT_MOST = 0.2
PROBE = """
import json, sys, time
start = time.process_time()
import fmrgb_stream
print(json.dumps({"seconds": time.process_time() - start, "modules": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module")
def fresh_import() -> dict:
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=Path(fmrgb_stream.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def type_checking_imports() -> dict[str, str]:
    """Name -> module, as a type checker reads the package's `if TYPE_CHECKING` block."""
    tree = ast.parse(Path(fmrgb_stream.__file__).read_text(encoding="utf-8"))
    guarded = [
        statement
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        if isinstance(statement, ast.ImportFrom)
    ]
    return {alias.name: str(line.module) for line in guarded for alias in line.names}


def test_all_is_sorted_and_names_nothing_twice():
    assert fmrgb_stream.__all__ == sorted(set(fmrgb_stream.__all__))


@pytest.mark.parametrize("name", fmrgb_stream.__all__)
def test_exported_name_resolves(name):
    assert getattr(fmrgb_stream, name) is not None


def test_dir_shows_what_is_exported():
    public = [name for name in dir(fmrgb_stream) if not name.startswith("_")]
    assert public == fmrgb_stream.__all__


def test_type_checkers_see_every_exported_name():
    assert sorted(type_checking_imports()) == fmrgb_stream.__all__


@pytest.mark.parametrize(("name", "home"), sorted(type_checking_imports().items()))
def test_type_checkers_and_the_interpreter_find_the_same_object(name, home):
    assert getattr(fmrgb_stream, name) is getattr(importlib.import_module(home), name)


def test_unknown_name_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = fmrgb_stream.no_such_name


def test_import_loads_no_heavy_library(fresh_import):
    loaded = {module.split(".")[0] for module in fresh_import["modules"]}
    assert loaded.isdisjoint(HEAVY), f"loaded: {sorted(loaded.intersection(HEAVY))}"


def test_import_is_quick(fresh_import):
    # Processor time, so that a busy machine does not fail the test.
    assert fresh_import["seconds"] < IMPORT_SECONDS_AT_MOST
