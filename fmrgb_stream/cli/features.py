"""`fmrgb features RUN|MODEL`: any model and a dataset -> the embedding of every window, a file a sample."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from fmrgb_stream.cli.exit_codes import EXIT_GOOD, EXIT_PROBLEMS
from fmrgb_stream.cli.run_flags import ALL_SPLITS, plane_names, waiting_for_all

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from fmrgb_stream.training.embedder import EmbedderSettings
    from fmrgb_stream.training.features import FeatureReport

NAME: Final = "features"
HELP: Final = "the embedding of every window of every sample, as npy or parquet; resumable"
STOPPED: Final = "what is finished stays; the same command goes on there"


def configure(parser: ArgumentParser) -> None:
    """Add the model, the data, and what a window is."""
    from jsonargparse import ActionYesNo

    parser.add_argument(
        "model", type=str, help="Run directory, weights file in it, or a model's name."
    )
    parser.add_argument(
        "--root", type=str | None, default=None, help="Packed dataset; the run's own by default."
    )
    parser.add_argument(
        "--split", type=str, default=ALL_SPLITS, help="One of the dataset's, or all of them."
    )
    parser.add_argument("--out", type=Path, required=True, help="Folder for the files.")
    parser.add_argument(
        "--format",
        type=Literal["npy", "parquet"],
        default="npy",
        help="npy: float32 [windows, D]; parquet: time_seconds and feature.",
    )
    parser.add_argument(
        "--num-frames", type=int, default=32, help="Frames of a window, about its middle one."
    )
    parser.add_argument(
        "--frame-stride", type=int, default=1, help="Source frames from one frame to the next."
    )
    parser.add_argument(
        "--hop",
        type=float | None,
        default=None,
        help="Seconds from window to window; by default a window about every frame.",
    )
    parser.add_argument(
        "--whole-clips",
        action=ActionYesNo,
        default=False,
        help="One clip a sample as in the run's validation, instead of windows.",
    )
    parser.add_argument(
        "--options",
        type=dict[str, Any],
        default={},
        help="Of a model by name: YAML, e.g. '{published_weights: SLOWFAST_8x8_R50.pyth}'.",
    )
    parser.add_argument(
        "--checkpoint", type=str | None, default=None, help="Weights of a model by name."
    )
    parser.add_argument(
        "--pretrained",
        action=ActionYesNo,
        default=False,
        help="Published weights of a model by name; downloads them.",
    )
    parser.add_argument(
        "--channels", type=str, default="rgb", help="Planes of a model by name, e.g. fmrgb."
    )
    parser.add_argument(
        "--size", type=tuple[int, int], default=(112, 112), help="Pixels for a model by name."
    )
    parser.add_argument("--batch-size", type=int, default=16, help="Windows over all processes.")
    parser.add_argument(
        "--num-workers", type=int | None, default=None, help="Clips made at the same time."
    )
    parser.add_argument(
        "--device", type=str, default="auto", help="cpu, or auto: a GPU where there is one."
    )


def run(arguments: Namespace) -> int:
    """Extract; 1 when samples could not be read."""
    from fmrgb_stream.packing.progress import make_progress
    from fmrgb_stream.training.embedder import open_embedder

    with waiting_for_all():
        embedder = open_embedder(_settings(arguments))
        is_main = embedder.shown.accelerator.is_main_process
        wanted = arguments.split
        splits = embedder.shown.filled_splits if wanted == ALL_SPLITS else (wanted,)
        with closing(make_progress(silent=arguments.json or not is_main)) as progress:
            reports = [
                embedder.extract(
                    split, out=arguments.out, file_format=arguments.format, progress=progress
                )
                for split in splits
            ]
    if is_main:
        _tell(reports, arguments)
    return EXIT_PROBLEMS if any(report.unreadable for report in reports) else EXIT_GOOD


def _settings(arguments: Namespace) -> EmbedderSettings:
    from fmrgb_stream.training.embedder import EmbedderSettings

    return EmbedderSettings(
        model=arguments.model,
        root=arguments.root,
        num_frames=arguments.num_frames,
        frame_stride=arguments.frame_stride,
        hop_seconds=arguments.hop,
        whole_clips=arguments.whole_clips,
        options=arguments.options,
        checkpoint=arguments.checkpoint,
        pretrained=arguments.pretrained,
        channels=plane_names(arguments.channels) or "rgb",
        size=tuple(arguments.size),
        batch_size=arguments.batch_size,
        num_workers=arguments.num_workers,
        device=arguments.device,
    )


def _tell(reports: list[FeatureReport], arguments: Namespace) -> None:
    from dataclasses import asdict

    if arguments.json:
        sys.stdout.write(json.dumps([asdict(report) for report in reports]) + "\n")
        return
    for report in reports:
        sys.stdout.write(
            f"{report.split}: {report.num_samples} samples ({report.num_kept} were there), "
            f"{report.num_windows} windows, {report.num_features} features each"
            f"{''.join(f'; could not read {key}' for key in report.unreadable)}\n"
        )
    sys.stdout.write(f"{arguments.out}/\n")
