"""`fmrgb demo`: verify -> load -> train -> evaluate on the dataset that ships with the project."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fmrgb_stream.cli.exit_codes import EXIT_GOOD, EXIT_PROBLEMS
from fmrgb_stream.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jsonargparse import ArgumentParser, Namespace
    from rich.console import Console

    from fmrgb_stream.sample import ClipBatch
    from fmrgb_stream.training import AblationRow

NAME: Final = "demo"
HELP: Final = "train on the demo shards, with and without each channel; no GPU, no download"


def configure(parser: ArgumentParser) -> None:
    """Add where the dataset is, where the results go, and how long to train."""
    parser.add_argument(
        "--root",
        type=Path | None,
        default=None,
        help="Demo dataset; by default shards/demo of the checkout.",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="Folder for tables and pictures."
    )
    parser.add_argument("--epochs", type=int | None, default=None, help="Epochs of each training.")
    parser.add_argument("--seed", type=int, default=0, help="Of weights, order and windows.")


def run(arguments: Namespace) -> int:
    """Run all steps; 0 when every accuracy is where it must be, 1 otherwise."""
    from rich.console import Console

    started = time.perf_counter()
    root = find_dataset(arguments.root)
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    console = Console(quiet=arguments.json, highlight=False, soft_wrap=True)
    if not _verify(root, console):
        return EXIT_PROBLEMS
    classes = _show_data(root, out, console)
    rows = _train(root, out, console, epochs=arguments.epochs, seed=arguments.seed)
    is_good = _report(rows, out, console, classes=classes)
    console.print(f"The whole demo took {time.perf_counter() - started:.0f} s.")
    if arguments.json:
        sys.stdout.write(json.dumps(json.loads((out / "results.json").read_text())) + "\n")
    return EXIT_GOOD if is_good else EXIT_PROBLEMS


def find_dataset(root: Path | None) -> Path:
    """The dataset asked for, or the one beside the package in a checkout.

    Raises:
        ConfigError: there is none.
    """
    import fmrgb_stream
    from fmrgb_stream.shards.manifest import MANIFEST_NAME

    found = root or Path(fmrgb_stream.__file__).resolve().parents[1] / "shards" / "demo"
    if (found / MANIFEST_NAME).is_file():
        return found
    if root is not None:
        raise ConfigError(f"--root {root} has no {MANIFEST_NAME}: it is not a packed dataset")
    raise ConfigError(
        f"the demo dataset is not at {found}: it comes with the project's checkout, not with the "
        "installed package; run this in a checkout or give --root CHECKOUT/shards/demo"
    )


def _verify(root: Path, console: Console) -> bool:
    from rich.markup import escape

    from fmrgb_stream.packing import verify

    console.print(f"[bold]1. Verify[/] {escape(str(root))}")
    report = verify(root)
    for finding in report.findings:
        console.print(f"   {finding}", markup=False)
    console.print(
        f"   {report.num_samples} clips in {report.num_shards} tar shards: checksums read, "
        f"{report.num_decoded} clips decoded, {report.num_errors} errors  ({report.seconds:.1f} s)"
    )
    return report.is_good


def _show_data(root: Path, out: Path, console: Console) -> tuple[str, ...]:
    from fmrgb_stream.channels import CHANNELS
    from fmrgb_stream.training.demo import BATCH_SIZE, CLIP, open_loaders
    from fmrgb_stream.training.figures import draw_contact_sheet

    started = time.perf_counter()
    train, val, test = open_loaders(root, channels=CHANNELS, seed=0)
    with train, val, test:
        batch = next(iter(test))
        shown = _two_unlike([train.classes[label] for label in _labels(batch)])
        draw_contact_sheet(out / "contact_sheet.png", batch, clips=shown, classes=train.classes)
        height, width = CLIP.size
        console.print("[bold]2. Load[/] video and sound into clips of five channels")
        console.print(
            f"   {train.num_clips} train, {val.num_clips} val, {test.num_clips} test clips; "
            f"a batch is [{BATCH_SIZE}, {len(CHANNELS)}, {CLIP.num_frames}, {height}, {width}]: "
            f"{', '.join(CHANNELS)}  ({time.perf_counter() - started:.1f} s)"
        )
        console.print(f"   {len(train.classes)} classes: {', '.join(train.classes)}")
    return train.classes


def _labels(batch: ClipBatch) -> list[int]:
    if batch.labels is None:
        raise ConfigError("this dataset has no class labels; the demo needs those of shards/demo")
    return batch.labels.tolist()


def _two_unlike(names: Sequence[str]) -> tuple[int, int]:
    """The first clip, and the first one that shares no colour, speed or pitch with it."""
    first = set(names[0].split("-"))
    return 0, next((i for i, name in enumerate(names) if first.isdisjoint(name.split("-"))), 1)


def _train(
    root: Path, out: Path, console: Console, *, epochs: int | None, seed: int
) -> Sequence[AblationRow]:
    from dataclasses import replace

    from fmrgb_stream.training.demo import MODEL, TRAIN, run_demo

    config = replace(TRAIN, seed=seed, epochs=TRAIN.epochs if epochs is None else epochs)
    console.print(
        f"[bold]3. Train[/] {MODEL} from scratch, {config.epochs} epochs, four times: "
        "with all channels, then without each kind"
    )

    def tell(row: AblationRow) -> None:
        result = row.result
        accuracy = 0.0 if result.test is None else result.test.score
        console.print(
            f"   {row.variant.name:<14} test accuracy {accuracy:.3f}   "
            f"({result.num_parameters / 1e6:.2f} M parameters, {result.seconds:.0f} s)"
        )

    return run_demo(root, out=out, config=config, console=console, on_row=tell)


def _report(
    rows: Sequence[AblationRow], out: Path, console: Console, *, classes: Sequence[str]
) -> bool:
    from fmrgb_stream.training.demo import check_bars
    from fmrgb_stream.training.figures import draw_curves
    from fmrgb_stream.training.report import markdown_table, rich_table, write_results

    draw_curves(out / "curves.png", rows, chance=1 / len(classes))
    write_results(out / "results.json", rows, classes=classes)
    (out / "table.md").write_text(markdown_table(rows), encoding="utf-8")
    console.print("[bold]4. Compare[/]")
    console.print(rich_table(rows))
    console.print("   Colour is in RGB, speed in flow, pitch in mel: without one of them, half.")
    bars = check_bars(rows)
    for bar in bars:
        if not bar.is_met:
            console.print(
                f"[red]   {bar.name}: test accuracy {bar.accuracy:.3f}, wanted {bar.wanted}[/]"
            )
    console.print(
        f"   {out}/: contact_sheet.png, curves.png, table.md, results.json, metrics.jsonl",
        markup=False,
    )
    return all(bar.is_met for bar in bars)
