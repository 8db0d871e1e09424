"""The folder that a dataset is packed into: its lock, what it holds, and what may go.

`.pack/` holds what an unfinished run knows; it goes when the dataset is whole. Of the rest only
shards are removed that a plan or manifest found there names, or the plan at hand: a file that is
merely called like a shard may be anyone's.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from fmrgb_stream.config import SPLIT_NAME, PackConfig
from fmrgb_stream.errors import PackError
from fmrgb_stream.packing.plan import PackPlan, config_values, plan_values
from fmrgb_stream.shards.manifest import MANIFEST_NAME
from fmrgb_stream.shards.writer import write_atomic

WORK_FOLDER: Final = ".pack"
REJECTS_NAME: Final = "rejects.jsonl"
_PLAN_NAME: Final = "plan.json"
_SHARD_PATH: Final = re.compile(SPLIT_NAME.pattern + r"/shard-\d{6}\.tar")
_SHARDS: Final = "shards"
_FINGERPRINT: Final = "plan_fingerprint"


def check_apart(source: Path, destination: Path) -> None:
    """Refuse a destination that is the source, or lies inside it, or around it.

    Raises:
        PackError: with the cure.
    """
    folder = source.resolve() if source.is_dir() else source.resolve().parent
    target = destination.resolve()
    inside = target == folder or (source.is_dir() and folder in target.parents)
    if inside or target == source.resolve() or (source.is_dir() and target in folder.parents):
        raise PackError(
            f"destination {destination} and source {source} lie in each other, and packing never "
            "writes to its source; choose a folder apart from it"
        )


@contextmanager
def locked(destination: Path) -> Generator[None]:
    """Hold the destination for this process alone. The lock goes with the process.

    Raises:
        PackError: another process packs there, or the folder cannot be made.
    """
    try:
        destination.mkdir(parents=True, exist_ok=True)
        folder = os.open(destination, os.O_RDONLY)
    except OSError as error:
        raise PackError(f"{destination} cannot be a folder to write to: {error}") from error
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise PackError(
                f"another process is packing into {destination}; wait for it, or choose another "
                "folder"
            ) from error
        yield
    finally:
        os.close(folder)


def claim(destination: Path, plan: PackPlan, config: PackConfig, *, overwrite: bool) -> None:
    """Make sure that the destination is empty, or holds (part of) this very plan; tidy it.

    With `overwrite` the shards of the plan that it holds go, as far as this plan has no use for
    their names.

    Raises:
        PackError: it holds something else and `overwrite` is not set; says what differs.
    """
    held = _held_plan(destination)
    mine = config_values(config) | plan_values(plan)
    if held is None:
        others = sorted(p.name for p in destination.iterdir() if p.name != WORK_FOLDER)
        if others and not overwrite:
            raise PackError(
                f"{destination} is not empty ({', '.join(others[:3])}, ...) and holds no dataset "
                "of ours; choose an empty folder, or --overwrite to pack beside what is there"
            )
    elif held.get(_FINGERPRINT) != plan.fingerprint and not overwrite:
        raise PackError(
            f"{destination} holds another dataset: {_difference(held, mine)}. Choose another "
            "folder, go back to those settings and that input, or --overwrite to replace it"
        )
    kept = [shard.path for shard in plan.shards]
    named = sorted({*_held_shards(destination), *kept})
    # First the note of what there is to remove, so that a run stopped here forgets none of it.
    noted = mine | {_SHARDS: named}
    write_atomic(destination / WORK_FOLDER / _PLAN_NAME, json.dumps(noted).encode())
    manifest = _read_manifest(destination)
    if manifest is not None and _settings(manifest).get(_FINGERPRINT) != plan.fingerprint:
        # Gone before anything new arrives, so that old and new are never mixed under a manifest.
        (destination / MANIFEST_NAME).unlink(missing_ok=True)
    remove_stale(destination, named=named, kept=kept)


def is_ours(folder: Path) -> bool:
    """Whether a folder is new or empty, or holds a dataset of ours or the beginning of one."""
    others = (
        [path for path in folder.iterdir() if path.name != WORK_FOLDER] if folder.is_dir() else []
    )
    return not others or _FINGERPRINT in (_held_plan(folder) or {})


def _held_plan(destination: Path) -> dict[str, Any] | None:
    """Settings and fingerprint of what lies there; empty when it cannot be told."""
    plan = _read_json(destination / WORK_FOLDER / _PLAN_NAME)
    if plan is not None:
        return plan
    manifest = _read_manifest(destination)
    return None if manifest is None else _settings(manifest)


def _read_manifest(destination: Path) -> dict[str, Any] | None:
    return _read_json(destination / MANIFEST_NAME)


def _read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None when there is no file, empty when it holds something else."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _settings(manifest: dict[str, Any]) -> dict[str, Any]:
    settings = manifest.get("pack_config")
    return settings if isinstance(settings, dict) else {}


def _held_shards(destination: Path) -> list[str]:
    """Paths of tars that the held plan and manifest name; anything odd in them is passed over."""
    plan = _read_json(destination / WORK_FOLDER / _PLAN_NAME) or {}
    paths = plan.get(_SHARDS, [])
    found: list[Any] = list(paths) if isinstance(paths, list) else []
    try:
        splits = (_read_manifest(destination) or {})["splits"].values()
        found += [shard["path"] for split in splits for shard in split["shards"]]
    except (KeyError, TypeError, AttributeError):
        pass  # no manifest of ours
    # A path that leads elsewhere must not be believed.
    return [path for path in found if isinstance(path, str) and _SHARD_PATH.fullmatch(path)]


def _difference(held: dict[str, Any], mine: dict[str, Any]) -> str:
    changed = [
        f"{name} was {held.get(name)!r}, now {mine.get(name)!r}"
        for name in sorted(set(held) | set(mine))
        if name not in (_FINGERPRINT, _SHARDS) and held.get(name) != mine.get(name)
    ]
    return "; ".join(changed) or "the input files, their labels or their groups changed"


def remove_stale(destination: Path, *, named: Collection[str], kept: Collection[str]) -> None:
    """Remove what is left of the `named` tars and their sidecars, but for the `kept` ones.

    Of these only the partial files go.
    """
    for name in sorted({*named, *kept}):
        tar = destination / name
        files = [tar, tar.with_suffix(".parquet")]
        stale = [path.with_name(f"{path.name}.partial") for path in files]
        stale += [] if name in kept else files
        for path in stale:
            path.unlink(missing_ok=True)
        if tar.parent.is_dir() and not any(tar.parent.iterdir()):
            tar.parent.rmdir()


def scratch_root(destination: Path) -> Path:
    """An empty folder for files in the making."""
    scratch = destination / WORK_FOLDER / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, exist_ok=True)
    return scratch


def finish(destination: Path) -> None:
    """The dataset is whole: what only a resumed run needs may go."""
    shutil.rmtree(destination / WORK_FOLDER, ignore_errors=True)
