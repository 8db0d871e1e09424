"""`fmrgb bench ROOT`: a loader on this machine -> clips a second, what limits it, what to change."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Final

from fmrgb_stream.cli.exit_codes import EXIT_GOOD
from fmrgb_stream.cli.flags import add_config_flags, config_from_flags
from fmrgb_stream.config import ClipConfig, LoaderConfig, check_positive

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from jsonargparse import ArgumentParser, Namespace

    from fmrgb_stream.loader import ClipLoader
    from fmrgb_stream.pipelines.profile import LoaderProfile, LoaderSetting
    from fmrgb_stream.sample import ClipBatch

NAME: Final = "bench"
HELP: Final = "run a loader for some seconds: clips/s, what limits it, what to change"
_WARM_UP_SECONDS: Final = 1.0
_NOT_ASKED: Final = ("block_samples", "shuffle_window_blocks", "audit_log")


def configure(parser: ArgumentParser) -> None:
    """Add the root, the time, and everything a loader can be told."""
    parser.add_argument("root", type=str, help="Dataset root, the folder of manifest.json.")
    parser.add_argument("--split", type=str, default="train", help="One of its splits.")
    parser.add_argument("--seconds", type=float, default=5.0, help="How long it is measured.")
    parser.add_argument(
        "--cache-dir", type=str | None, default=None, help="Where a remote root's shards are kept."
    )
    parser.add_argument("--device", type=str, default="cpu", help="Where batches are delivered.")
    parser.add_argument(
        "--backend", type=str, default="auto", help="Who makes them: auto, cpu or dali."
    )
    add_config_flags(parser, LoaderConfig, skip=_NOT_ASKED)
    add_config_flags(parser, ClipConfig, prefix="clip.")


def run(arguments: Namespace) -> int:
    """Measure and tell; the loader is only taken from, so nothing but loading is measured."""
    from fmrgb_stream.loader import build_loader

    check_positive("--seconds", arguments.seconds)
    config = config_from_flags(arguments, LoaderConfig)
    asked = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in _NOT_ASKED}
    began = time.perf_counter()
    with build_loader(
        arguments.root,
        split=arguments.split,
        clip=config_from_flags(arguments, ClipConfig, prefix="clip."),
        device=arguments.device,
        cache_dir=arguments.cache_dir,
        backend=arguments.backend,
        **asked,
    ) as loader:
        batches = _endless(loader)
        next(batches)
        first_batch_seconds = time.perf_counter() - began
        profile = _measure(loader, batches, arguments)
        batches.close()
    if arguments.json:
        sys.stdout.write(json.dumps(_as_json(profile, loader, first_batch_seconds)) + "\n")
    else:
        _print(profile, loader, first_batch_seconds)
    return EXIT_GOOD


def _endless(loader: ClipLoader) -> Generator[ClipBatch]:
    while True:
        yield from loader


def _measure(
    loader: ClipLoader, batches: Iterator[ClipBatch], arguments: Namespace
) -> LoaderProfile:
    from rich.console import Console
    from rich.progress import Progress

    from fmrgb_stream.pipelines.profile import counts_of, profile_of

    console = Console(stderr=True)
    total = _WARM_UP_SECONDS + arguments.seconds
    with Progress(console=console, transient=True, disable=arguments.json) as bars:
        bar = bars.add_task("measuring", total=total)
        for spent in _during(batches, _WARM_UP_SECONDS):
            bars.update(bar, completed=spent)
        before, start = counts_of(loader.stats()), time.perf_counter()
        for spent in _during(batches, arguments.seconds):
            bars.update(bar, completed=_WARM_UP_SECONDS + spent)
        seconds = time.perf_counter() - start
    return profile_of(
        before, counts_of(loader.stats()), seconds=seconds, setting=_setting(loader, arguments)
    )


def _during(batches: Iterator[ClipBatch], seconds: float) -> Iterator[float]:
    """Take batches for so long; the seconds spent after each."""
    start = time.perf_counter()
    for _ in batches:
        spent = time.perf_counter() - start
        yield spent
        if spent >= seconds:
            return


def _setting(loader: ClipLoader, arguments: Namespace) -> LoaderSetting:
    from fmrgb_stream.distributed import usable_cores
    from fmrgb_stream.pipelines.profile import LoaderSetting

    return LoaderSetting(
        usable_cores=max(1, usable_cores() // loader.world.local_world_size),
        backend="dali" if loader.backend == "dali" else "cpu",
        is_remote="://" in arguments.root and not arguments.root.startswith("file://"),
        has_cache=arguments.cache_dir is not None,
    )


def _as_json(
    profile: LoaderProfile, loader: ClipLoader, first_batch_seconds: float
) -> dict[str, Any]:
    stats = loader.stats()
    return {
        "root": loader.sources[0].url,
        "split": loader.split,
        "device": loader.device,
        "backend": loader.backend,
        "num_workers": stats["num_workers"],
        "num_batches_ahead": stats["num_batches_limit"],
        "first_batch_seconds": first_batch_seconds,
        "clips_per_second": profile.clips_per_second,
        "bytes_per_second": profile.bytes_per_second,
        "num_quarantined": stats["num_bad_samples"],
        **asdict(profile),
    }


def _print(profile: LoaderProfile, loader: ClipLoader, first_batch_seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    console, stats = Console(), loader.stats()
    console.print(
        f"{profile.clips_per_second:.0f} clips/s, {profile.bytes_per_second / 1e6:.2f} MB/s read in "
        f"{profile.reads.num_requests / profile.seconds:.0f} requests/s; first batch after "
        f"{first_batch_seconds:.1f} s",
        highlight=False,
    )
    table = Table(title=f"{stats['num_workers']} workers, {loader.backend} pipeline")
    table.add_column("stage")
    table.add_column("share of the workers' time", justify="right")
    shares = {**profile.stage_shares, "idle": profile.idle_share}
    for stage, share in shares.items():
        style = "bold" if stage == profile.limit else None
        table.add_row(stage, f"{share:.0%}", style=style)
    console.print(table)
    for sample in stats["quarantined"]:
        console.print(f"bad sample: {sample['key']}: {sample['reason']}", markup=False)
    console.print(f"limit: {profile.limit}. To change it: {profile.advice}", soft_wrap=True)
