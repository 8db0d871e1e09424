"""What every test gets: guards on threads and random state, GPU rules, the folder of real clips."""

import os
import random
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

REAL_CLIPS = Path(__file__).resolve().parents[2] / "shared" / "data" / "clips"
THREAD_PREFIX = "fmrgb-"
GPUS_NEEDED = {"gpu": 1, "multi_gpu": 2}


def pytest_sessionstart() -> None:
    # A background job ignores Ctrl-C and hands that on to the processes that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, needed in GPUS_NEEDED.items():
        if item.get_closest_marker(marker):
            _need_gpus(needed)


def _need_gpus(needed: int) -> None:
    # Imported here: most runs select no GPU test, and torch takes seconds to import.
    import torch

    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found >= needed:
        return
    reason = f"needs {needed} NVIDIA GPU(s), found {found}"
    if os.environ.get("FMRGB_REQUIRE_GPU") == "1":
        pytest.fail(f"{reason}, and FMRGB_REQUIRE_GPU=1 forbids skipping", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def no_thread_survives():
    """Fail a test that leaves one of the package's threads running."""
    before = set(threading.enumerate())
    yield
    started = [
        thread
        for thread in threading.enumerate()
        if thread not in before and thread.name.startswith(THREAD_PREFIX)
    ]
    for thread in started:
        # A thread that was told to stop may need a moment to end.
        thread.join(timeout=2)
    alive = sorted(thread.name for thread in started if thread.is_alive())
    if alive:
        pytest.fail(f"threads still running after the test: {alive}", pytrace=False)


@pytest.fixture(autouse=True)
def random_state_is_restored():
    """Give the next test the global random state that this one found."""
    torch = sys.modules.get("torch")
    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002 - the global state is what is guarded
    torch_state = torch.get_rng_state() if torch else None
    yield
    random.setstate(python_state)
    np.random.set_state(numpy_state)  # noqa: NPY002
    if torch and torch_state is not None:
        torch.set_rng_state(torch_state)


@pytest.fixture(scope="session")
def real_clips() -> Path:
    """A folder of real clips beside the checkout."""
    if not REAL_CLIPS.is_dir():
        pytest.skip("no folder ../shared/data/clips beside the checkout")
    return REAL_CLIPS
