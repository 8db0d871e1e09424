"""Histories and batches -> PNG files. Draws with matplotlib's Agg, so it needs no display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fmrgb_stream.channels import FLOW, FULL_SCALE, MEL, RGB_PLANES
from fmrgb_stream.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmrgb_stream.sample import ClipBatch
    from fmrgb_stream.training.ablation import AblationRow

_DPI: Final = 130
_NUMBERED_CLASSES: Final = 30
_NAMED_CLASSES: Final = 60
_COLOUR_MAPS: Final = {"red": "gray", "green": "gray", "blue": "gray", "gray": "gray",
                       FLOW: "viridis", "flow_u": "coolwarm", "flow_v": "coolwarm",
                       MEL: "magma"}  # fmt: skip
"""Perceptually uniform for amounts, diverging for signed flow, plain grey for pictures."""


def draw_curves(path: Path, rows: Sequence[AblationRow], *, chance: float | None = None) -> None:
    """Training loss, validation loss and validation score by epoch, one line a variant.

    Args:
        path: PNG to write.
        rows: One line each.
        chance: Score of guessing, drawn as a dotted line.
    """
    figure = Figure(figsize=(12, 3.8), dpi=_DPI, layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    score_name = rows[0].result.best.val.score_name
    for colour, row in zip(_line_colours(), rows, strict=False):
        history = row.result.history
        epochs = [record.epoch + 1 for record in history]
        label = row.variant.name
        left.plot(epochs, [r.train_loss for r in history], color=colour, label=label)
        middle.plot(epochs, [r.val.loss for r in history], color=colour, label=label)
        right.plot(epochs, [r.val.score for r in history], color=colour, label=label)
        best = row.result.best
        right.plot(best.epoch + 1, best.val.score, "o", color=colour, markersize=5)
    for axes, title in (
        (left, "training loss"),
        (middle, "validation loss"),
        (right, f"validation {score_name} (dot: the epoch kept)"),
    ):
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in (left, middle):
        axes.set_ylim(bottom=0)
    if chance is not None:
        right.axhline(chance, color="0.5", linestyle=":", linewidth=1)
        right.text(1, chance, " chance", color="0.4", fontsize=8, va="bottom")
        right.set_ylim(0, 1.03)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(rows), frameon=False)
    _save(figure, path)


def draw_contact_sheet(
    path: Path,
    batch: ClipBatch,
    *,
    classes: Sequence[str] = (),
    clips: Sequence[int] = (0,),
    max_frames: int = 8,
) -> None:
    """Clips of a batch as the model sees them: a row a channel, a column a frame.

    When red, green and blue are all there, a row with the colour picture stands above them.

    Args:
        path: PNG to write.
        batch: uint8 clips.
        classes: Names by label index.
        clips: Which of the batch are shown, below each other.
        max_frames: Frames shown, spread over the clip.

    Raises:
        ConfigError: the clips are not uint8.
    """
    if str(batch.clip.dtype) != "torch.uint8":
        raise ConfigError(f"a contact sheet shows uint8 clips, not {batch.clip.dtype}")
    frames = _spread(batch.clip.shape[2], max_frames)
    num_rows = len(_sheet_rows(batch, 0))
    height, width = batch.clip.shape[3:]
    cell = 1.05
    figure = Figure(
        figsize=(cell * len(frames) + 1.6, len(clips) * (cell * height / width * num_rows + 0.85)),
        dpi=_DPI,
        layout="constrained",
    )
    sheets = np.atleast_1d(np.asarray(figure.subfigures(len(clips), 1), dtype=object))
    for clip_index, sheet in zip(clips, sheets, strict=True):
        _draw_clip(sheet, batch, clip_index, frames, classes)
    _save(figure, path)


def draw_confusion(
    path: Path, confusion: Sequence[Sequence[int]], *, names: Sequence[str], title: str = ""
) -> None:
    """Clips by true class (row) and predicted class (column); shade is the share of the true class.

    Args:
        path: PNG to write.
        confusion: Counts [K][K].
        names: Of the K classes.
        title: Above the table.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    num_classes = len(names)
    # Numbers stay readable to about 30 classes; beyond, the shade alone speaks.
    side = min(1.6 + 0.5 * num_classes, 14.0)
    figure = Figure(figsize=(side + 1.2, side), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if num_classes <= _NUMBERED_CLASSES:
        for row, column in np.ndindex(counts.shape):
            colour = "white" if shares[row, column] > 0.5 else "0.15"
            text = str(counts[row, column])
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    ticks = np.linspace(0, num_classes - 1, min(num_classes, _NAMED_CLASSES)).round().astype(int)
    shown = [_shortened(names[int(i)]) for i in ticks]
    axes.set_xticks(ticks, shown, rotation=45, ha="right", rotation_mode="anchor", fontsize=9)
    axes.set_yticks(ticks, shown, fontsize=9)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title, fontsize=11)
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true class")
    _save(figure, path)


def _shortened(name: str, *, length: int = 22) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def _draw_clip(
    sheet: Any, batch: ClipBatch, clip_index: int, frames: Sequence[int], classes: Sequence[str]
) -> None:
    rows = _sheet_rows(batch, clip_index)
    sheet.suptitle(_clip_title(batch, clip_index, classes), fontsize=11)
    grid = sheet.subplots(len(rows), len(frames), squeeze=False)
    for row_index, (name, images) in enumerate(rows):
        for column, frame in enumerate(frames):
            axes = grid[row_index, column]
            axes.imshow(
                images[frame],
                cmap=_COLOUR_MAPS.get(name),
                vmin=0,
                vmax=FULL_SCALE,
                interpolation="nearest",
            )
            axes.set_xticks([])
            axes.set_yticks([])
            if column == 0:
                axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)
            if row_index == 0:
                milliseconds = 1000 * float(batch.times_seconds[clip_index, frame])
                axes.set_title(f"{milliseconds:.0f} ms", fontsize=9)
            if frame >= int(batch.num_valid_frames[clip_index]):
                axes.set_xlabel("padding", fontsize=7, color="0.5")


def _sheet_rows(batch: ClipBatch, clip_index: int) -> list[tuple[str, NDArray[np.uint8]]]:
    """(name, uint8 [T, H, W] or [T, H, W, 3]) from the top of the sheet down."""
    planes = dict(zip(batch.channels, batch.clip[clip_index].cpu().numpy(), strict=True))
    rows = list(planes.items())
    if all(name in planes for name in RGB_PLANES):
        rows.insert(0, ("RGB", np.stack([planes[name] for name in RGB_PLANES], axis=-1)))
    return rows


def _clip_title(batch: ClipBatch, clip_index: int, classes: Sequence[str]) -> str:
    key = batch.keys[clip_index]
    if batch.labels is None:
        return key
    label = int(batch.labels[clip_index])
    return f"{classes[label] if label < len(classes) else label}   ({key})"


def _spread(num_frames: int, max_frames: int) -> list[int]:
    shown = min(num_frames, max_frames)
    return [int(i) for i in np.linspace(0, num_frames - 1, shown).round()]


def _line_colours() -> list[str]:
    # Okabe and Ito: told apart with any colour vision.
    return ["#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442"]


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(path)
