"""Samples of a dataset -> one HTML page to watch and hear them, which loads nothing from anywhere."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from string import Template
from typing import Final

import numpy as np

from fmrgb_stream.config import ClipConfig
from fmrgb_stream.shards import open_dataset
from fmrgb_stream.viewing.choose import Candidate, Wanted, choose_samples
from fmrgb_stream.viewing.page_sample import draw_sample

_BYTES_A_MB: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page, and what did not go as it should."""

    html: str
    num_shown: int
    num_fitting: int
    """Samples that fit the patterns."""
    num_left_out: int
    """Samples that were chosen, but did not fit under the limit of bytes."""
    troubles: Sequence[str]
    """One line for each sample that could not be shown."""


def make_page(
    root: str | os.PathLike[str],
    *,
    num_samples: int = 24,
    wanted: Wanted | None = None,
    clip: ClipConfig | None = None,
    fits_stride: bool = True,
    seed: int = 0,
    max_megabytes: float = 32.0,
    started: Callable[[int], None] | None = None,
    advanced: Callable[[], None] | None = None,
) -> Page:
    """Draw samples as a loader with these settings makes them.

    Args:
        root: Dataset root.
        num_samples: Samples at most.
        wanted: Which samples; None is any.
        clip: What a clip is; None is 16 frames from the middle, 112x112, FMRGB.
        fits_stride: Lower the stride until half of the samples are long enough for a clip.
        seed: Of windows at random places.
        max_megabytes: Samples that would make the page larger than this are left out.
        started: Told how many samples will be drawn.
        advanced: Told after each of them.

    Raises:
        ConfigError: nothing fits, or the settings cannot work.
        ManifestError, StorageError: the dataset cannot be read.
    """
    store, manifest = open_dataset(root)
    chosen, num_fitting = choose_samples(
        store, manifest, num_samples=num_samples, wanted=wanted or Wanted()
    )
    settings = clip or ClipConfig(window="centre")
    if fits_stride:
        settings = with_fitting_stride(settings, chosen)
    if started is not None:
        started(len(chosen))
    entries: list[str] = []
    troubles: list[str] = []
    left = max_megabytes * _BYTES_A_MB
    num_shown = num_left_out = 0
    for one in chosen:
        drawn = draw_sample(one, manifest, clip=settings, seed=seed)
        entry = json.dumps(asdict(drawn), separators=(",", ":"))
        if drawn.trouble:
            troubles.append(f"{one.key}: {drawn.trouble}")
        if len(entry) <= left:
            entries.append(entry)
            left -= len(entry)
            num_shown += not drawn.trouble
        else:
            num_left_out += 1
        if advanced is not None:
            advanced()
    left_out = (
        f"{num_left_out} of {len(chosen)} samples left out: with them the page would exceed "
        f"{max_megabytes:g} MB."
    )
    about = f"{len(entries)} of {num_fitting} samples. {_about(settings)}"
    return Page(
        html=fill_page(
            store.url, about=about, notes=[left_out] * bool(num_left_out), entries=entries
        ),
        num_shown=num_shown,
        num_fitting=num_fitting,
        num_left_out=num_left_out,
        troubles=troubles,
    )


def with_fitting_stride(clip: ClipConfig, chosen: Sequence[Candidate]) -> ClipConfig:
    """The same clips with the largest stride, up to their own, that fits half of the samples."""
    lengths = [one.reader.info(one.sample_id).num_frames for one in chosen]
    longest = int(np.median(lengths)) // clip.num_frames
    return replace(clip, frame_stride=min(max(longest, 1), clip.frame_stride))


def _about(clip: ClipConfig) -> str:
    height, width = clip.size
    rhythm = f"stride {clip.frame_stride}" if clip.fps is None else f"{clip.fps:g} a second"
    return (
        f"A clip is {clip.num_frames} frames, {rhythm}, {width}x{height} pixels, window "
        f"{clip.window}, short ones by {clip.length_rule}."
    )


def fill_page(root: str, *, about: str, notes: Sequence[str], entries: Sequence[str]) -> str:
    """The page's HTML; `entries` are the JSON texts of its samples."""
    folder = resources.files(__package__ or "") / "page"
    template, style, script = (
        (folder / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")
    )
    head = json.dumps({"about": about, "notes": list(notes)})[:-1]
    # Inside a script element "<" could end it; in JSON it can only stand in a string.
    data = f'{head},"samples":[{",".join(entries)}]}}'.replace("<", "\\u003c")
    title = html.escape(root.rstrip("/").rsplit("/", 1)[-1] or root)
    return Template(template).substitute(
        title=f"Preview of {title}", style=style, script=script, data=data
    )
