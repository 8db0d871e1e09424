"""`fmrgb train`: config -> run directory; in one process, or in each that a launcher began."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fmrgb_stream.cli.exit_codes import EXIT_GOOD, EXIT_PROBLEMS
from fmrgb_stream.cli.flags import add_config_flags, config_from_flags
from fmrgb_stream.cli.presets import name_presets_by_path, preset_names
from fmrgb_stream.config import RunConfig
from fmrgb_stream.errors import ConfigError, FmrgbError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace
    from rich.console import Console

    from fmrgb_stream.training.experiment import RunResult
    from fmrgb_stream.training.records import Evaluation

log = logging.getLogger(__name__)

NAME: Final = "train"
HELP: Final = "train a model on a packed dataset; one process, or many under accelerate launch"
STOPPED: Final = "--resume goes on from the last checkpoint"
_RESUME: Final = "--resume"


def prepare_words(words: Sequence[str]) -> list[str]:
    """Presets by path; the settings of a run that goes on stand before all others."""
    words = name_presets_by_path(words)
    for place, word in enumerate(words):
        name, _, value = word.partition("=")
        if name == _RESUME and (value or place + 1 < len(words)):
            return ["--config", str(_config_of(Path(value or words[place + 1]))), *words]
    return words


def configure(parser: ArgumentParser) -> None:
    """Add where the run goes, how it goes on, and a flag for every setting of `RunConfig`."""
    from jsonargparse import SUPPRESS, ActionYesNo

    parser.add_argument("--out", type=Path, default=Path("runs/train"), help="Run directory.")
    parser.add_argument(
        _RESUME,
        type=Path | None,
        default=None,
        help="Run directory, or a checkpoint in it, to go on with; its settings are taken from it.",
    )
    parser.add_argument(
        "--overwrite", action=ActionYesNo, default=False, help="Replace a run that is in --out."
    )
    parser.add_argument(
        "--report",
        action=ActionYesNo,
        default=True,
        help="Write report.html, curves, confusion and predictions at the end.",
    )
    parser.add_argument(
        "--lr-search",
        type=str | None,
        default=None,
        help="Learning rates, with commas between: a run each in --out, and a table.",
    )
    parser.add_argument(
        "--window",
        type=float | None,
        default=None,
        help="Seconds: every window of each sample is a clip; scores are also averaged over them.",
    )
    parser.add_argument(
        "--hop", type=float | None, default=None, help="Seconds between two windows' starts."
    )
    add_config_flags(parser, RunConfig)
    # What a run directory's config.yaml holds beside the settings.
    parser.add_argument("--made", type=dict[str, Any] | None, default=None, help=SUPPRESS)
    parser.epilog = f"--config takes a file or a preset: {', '.join(preset_names())}."


def run(arguments: Namespace) -> int:
    """Train; 0 when all went well, 1 when samples had to be replaced."""
    from rich.console import Console

    config = _with_windows(
        config_from_flags(arguments, RunConfig), window=arguments.window, hop=arguments.hop
    )
    console = Console(quiet=arguments.json, highlight=False, soft_wrap=True)
    # DDP remarks on 1x1 kernels of channels_last networks, whose strides can be written in two ways.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    from fmrgb_stream.training.acceleration import end_processes, is_main_process

    try:
        if arguments.lr_search is not None:
            return _search(config, arguments, console)
        result = _train(config, arguments, console)
        if is_main_process():
            _report(result, console, as_json=arguments.json)
        if arguments.report:
            _write_page(result, console, as_json=arguments.json)
        return EXIT_PROBLEMS if result.bad_samples else EXIT_GOOD
    finally:
        end_processes()


def _write_page(result: RunResult, console: Console, *, as_json: bool) -> None:
    """report.html and what belongs to it; every process evaluates its part.

    The training is over and told: a page that cannot be made is a warning.
    """
    from contextlib import closing

    from fmrgb_stream.packing.progress import make_progress
    from fmrgb_stream.training.acceleration import is_main_process
    from fmrgb_stream.training.run_report import write_report
    from fmrgb_stream.training.trained import open_trained

    with closing(make_progress(silent=as_json or not is_main_process())) as progress:
        try:
            write_report(open_trained(result.directory.path), progress=progress)
        except FmrgbError as error:
            log.warning(
                "no report: %s; `fmrgb report %s` tries again", error, result.directory.path
            )
            return
    if is_main_process():
        console.print(f"report: {result.directory.report_path}", markup=False)


def _config_of(path: Path) -> Path:
    from fmrgb_stream.training.resuming import find_run

    directory, _ = find_run(path)
    return directory.config_path


def _train(config: RunConfig, arguments: Namespace, console: Console) -> RunResult:
    from fmrgb_stream.training.experiment import train_run
    from fmrgb_stream.training.resuming import find_run

    if arguments.resume is None:
        return train_run(config, arguments.out, overwrite=arguments.overwrite, console=console)
    directory, checkpoint = find_run(arguments.resume)
    return train_run(config, directory.path, resume=True, checkpoint=checkpoint, console=console)


def _search(config: RunConfig, arguments: Namespace, console: Console) -> int:
    from fmrgb_stream.distributed import WorldInfo
    from fmrgb_stream.training.acceleration import is_main_process
    from fmrgb_stream.training.lr_search import search_learning_rate, summary_table

    if arguments.resume is not None:
        raise ConfigError("--lr-search begins new runs; resume one of them by its own directory")
    try:
        rates = [float(word) for word in arguments.lr_search.split(",")]
    except ValueError as error:
        raise ConfigError(
            f"--lr-search {arguments.lr_search!r} must be numbers with commas between: 1e-4,1e-3"
        ) from error
    results = search_learning_rate(
        config,
        rates,
        arguments.out,
        overwrite=arguments.overwrite,
        console=console,
        is_main=WorldInfo.from_environment().rank == 0,
    )
    if is_main_process():
        console.print(summary_table(results, config=config))
        if arguments.json:
            sys.stdout.write((arguments.out / "summary.json").read_text(encoding="utf-8"))
    return (
        EXIT_PROBLEMS
        if any(result.run is None or result.run.bad_samples for result in results)
        else EXIT_GOOD
    )


def _with_windows(config: RunConfig, *, window: float | None, hop: float | None) -> RunConfig:
    """`--window 5 --hop 0.5` in place of three settings of the clip."""
    if window is None and hop is None:
        return config
    if window is None or hop is None:
        raise ConfigError("--window and --hop go together, e.g. --window 5 --hop 0.5")
    clip = replace(config.clip, window="sliding", window_seconds=window, hop_seconds=hop)
    return replace(config, clip=clip)


def _report(result: RunResult, console: Console, *, as_json: bool) -> None:
    from fmrgb_stream.training.metrics_file import plain_json

    train = result.train
    if as_json:
        content = {
            "run": str(result.directory.path),
            "cross": None if result.cross is None else plain_json(result.cross),
            "bad_samples": list(result.bad_samples),
        } | plain_json(train)
        sys.stdout.write(json.dumps(content, allow_nan=False) + "\n")
        return
    best = train.best
    lines = [
        f"best epoch {train.best_epoch + 1} of {len(train.history)}: {_scores('val', best.val)}"
    ]
    lines += [
        f"its weights: {_scores(name, found)}"
        for name, found in (("test", train.test), ("test on the other modality", result.cross))
        if found is not None
    ]
    lines += [
        f"replaced {bad['key']} of {bad['shard']}: {bad['reason']}" for bad in result.bad_samples
    ]
    names = ["config.yaml", "metrics.jsonl", "weights.safetensors"]
    lines.append(f"{result.directory.path}: {', '.join(names)}")
    for line in lines:
        console.print(line, markup=False)


def _scores(name: str, evaluation: Evaluation) -> str:
    text = f"{name} {evaluation.score_name} {evaluation.score:.3f}, loss {evaluation.loss:.4f}"
    return f"{text} ({evaluation.num_clips} clips)"
