"""requirements-bench.lock: the rules of requirements.lock hold for it too."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)((?:[^\n]*\\\n)+[^\n]*)", re.MULTILINE)


def locked(name: str) -> dict[str, tuple[str, str]]:
    text = (ROOT / name).read_text(encoding="utf-8")
    entries = {package: (version, rest) for package, version, rest in LOCKED.findall(text)}
    assert len(entries) == len(re.findall(r"^[a-z0-9]", text, re.MULTILINE))
    return entries


def bench_requirements() -> list[Requirement]:
    """The core and the extra `bench` with the extras that it names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    waiting, found = [*project["dependencies"], *extras["bench"]], []
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.name == project["name"]:
            waiting += [line for extra in requirement.extras for line in extras[extra]]
        else:
            found.append(requirement)
    return found


def test_lock_satisfies_every_requirement_of_the_benchmarks():
    entries = locked("requirements-bench.lock")
    unmet = [
        str(requirement)
        for requirement in bench_requirements()
        if (name := canonicalize_name(requirement.name)) not in entries
        or not requirement.specifier.contains(entries[name][0])
    ]
    assert unmet == [], "requirements-bench.lock is behind pyproject.toml: make lock"


def test_lock_has_a_hash_for_every_package():
    entries = locked("requirements-bench.lock")
    assert [name for name, (_, rest) in entries.items() if "--hash=sha256:" not in rest] == []


def test_both_locks_have_the_same_decoders_and_arithmetic():
    first, second = locked("requirements.lock"), locked("requirements-bench.lock")
    for name in ("av", "numpy", "opencv-python-headless", "torch", "webdataset", "soundfile"):
        assert first[name][0] == second[name][0], name
