"""Several learning rates -> a run each, with a new model, and a table of how they went."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fmrgb_stream.config import RunConfig, check_positive
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.shards.writer import write_atomic
from fmrgb_stream.training.experiment import RunResult, train_run
from fmrgb_stream.training.metrics_file import plain_json
from fmrgb_stream.training.run import Diverged, badness


def search_learning_rate(
    config: RunConfig,
    rates: Iterable[float],
    out: Path,
    *,
    overwrite: bool = False,
    console: Console | None = None,
    is_main: bool = True,
) -> list[RateResult]:
    """Train once with each rate, in `out/lr-RATE`; `out/summary.json` compares them.

    Args:
        config: All but the rate.
        rates: In the order of the runs.
        out: Folder of the run directories.
        overwrite: Replace runs that are there.
        console: As for `train_run`.
        is_main: This process writes the summary.

    Returns:
        One a rate.

    Raises:
        ConfigError: no rate, one that stands twice, settings that cannot work, or all diverged.
    """
    wanted = tuple(rates)
    for rate in wanted:
        check_positive("lr_search", rate)
    if not wanted or len(set(wanted)) < len(wanted):
        raise ConfigError(f"lr_search={wanted} must name some rates, each one once")
    results: list[RateResult] = []
    for rate in wanted:
        chosen = replace(config, train=replace(config.train, lr=rate))
        folder = out / f"lr-{rate:g}"
        try:
            result = train_run(chosen, folder, overwrite=overwrite, console=console)
        except Diverged as error:  # in every process alike: they share the loss
            results.append(RateResult(rate=rate, folder=folder, diverged=str(error)))
        else:
            results.append(RateResult(rate=rate, folder=folder, run=result))
    if all(result.run is None for result in results):
        raise ConfigError(f"every rate of lr_search={wanted} diverged: {results[-1].diverged}")
    if is_main:
        write_summary(out / "summary.json", results, config=config)
    return results


def best_rate(results: Sequence[RateResult], *, config: RunConfig) -> RateResult:
    """The one whose best epoch is best by `train.select_by`."""

    def order(result: RateResult) -> tuple[bool, float]:
        if result.run is None:
            return True, math.inf
        return False, badness(result.run.train.best.val, config.train)

    return min(results, key=order)


def write_summary(path: Path, results: Sequence[RateResult], *, config: RunConfig) -> None:
    """summary.json: each rate with its best epoch and its test, and which one is best."""
    rows = [_summary_row(result) for result in results]
    content = {"best_lr": best_rate(results, config=config).rate, "runs": rows}
    write_atomic(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def _summary_row(result: RateResult) -> dict[str, Any]:
    row: dict[str, Any] = {"lr": result.rate, "run": result.folder.name}
    if result.run is None:
        return row | {"diverged": result.diverged}
    train = result.run.train
    return row | {
        "best_epoch": train.best_epoch,
        "val": plain_json(train.best.val),
        "test": None if train.test is None else plain_json(train.test),
    }


def summary_table(results: Sequence[RateResult], *, config: RunConfig) -> Table:
    """For `Console.print`; the best rate is marked."""
    best = best_rate(results, config=config)
    name = "score" if best.run is None else best.run.train.best.val.score_name
    table = Table("lr", "best epoch", "val loss", f"val {name}", f"test {name}", "run")
    for result in results:
        if result.run is None:
            table.add_row(f"{result.rate:g}", "diverged", "-", "-", "-", str(result.folder))
            continue
        train = result.run.train
        score = math.nan if train.test is None else train.test.score
        table.add_row(
            f"{result.rate:g}{' *' if result is best else ''}",
            f"{train.best_epoch + 1} of {len(train.history)}",
            f"{train.best.val.loss:.4f}",
            f"{train.best.val.score:.3f}",
            "-" if math.isnan(score) else f"{score:.3f}",
            str(result.folder),
        )
    return table


@dataclass(frozen=True, slots=True, kw_only=True)
class RateResult:
    """One learning rate and its run."""

    rate: float
    folder: Path
    """Run directory."""
    run: RunResult | None = None
    """None where the training loss did not stay finite."""
    diverged: str = ""
    """How that ended."""
