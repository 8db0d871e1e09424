"""Flow videos and mattes that lie beside the sources, frame for frame -> companions of the inputs.

A companion is found by the source's name, below the given folder as below the source folder, or
directly in it. Of a flow video the blue plane counts, as in the S0 script, which reads the first plane
OpenCV gives; of a matte the green one. In a grey video all planes are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from fmrgb_stream.clips.streams import VideoProbe
from fmrgb_stream.config import PackConfig
from fmrgb_stream.errors import SourceError
from fmrgb_stream.packing.plan import Companion, ProbedInput
from fmrgb_stream.packing.sources import MEDIA_EXTENSIONS, Reject, SourceItem
from fmrgb_stream.packing.stretch import upright_size

CompanionKind = Literal["flow", "matte"]
SUFFIXES: Final[Mapping[CompanionKind, tuple[str, ...]]] = MappingProxyType(
    {
        "flow": ("", "flowoutput", "_flow", "-flow", ".flow"),
        "matte": ("", "_matte", "-matte", ".matte", "_alpha", "_pha"),
    }
)
"""What may stand between the source's name and the extension; `flowoutput` is the S0 script's."""
MAX_SHAPE_DIFFERENCE: Final = 0.03
"""Of width over height, relative: sides are rounded to even numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCompanion:
    """Which file belongs to which input."""

    kind: CompanionKind
    path: Path


def companion_folders(config: PackConfig) -> dict[CompanionKind, Path]:
    """The folders that the settings name.

    Raises:
        SourceError: there is no such folder.
    """
    named: dict[CompanionKind, str | None] = {"flow": config.flow_video, "matte": config.matte}
    folders: dict[CompanionKind, Path] = {
        kind: Path(name).expanduser().absolute() for kind, name in named.items() if name
    }
    for kind, folder in folders.items():
        if not folder.is_dir():
            raise SourceError(
                f"{folder} is not a folder; name the one that holds the {kind} videos, each called "
                "like its source"
            )
    return folders


def find_companion(folder: Path, item: SourceItem, kind: CompanionKind) -> Path | None:
    """The item's companion in the folder, or None; the source itself is none."""
    extensions = sorted(MEDIA_EXTENSIONS, key=lambda name: (name != "mp4", name))
    stem = item.relative.rpartition(".")[0] or item.relative
    names = dict.fromkeys((stem, stem.rpartition("/")[2]))
    for name in names:
        for suffix in SUFFIXES[kind]:
            for extension in extensions:
                path = folder / f"{name}{suffix}.{extension}"
                if path.is_file() and path != item.path:
                    return path
    return None


def without_companions(
    items: Sequence[SourceItem], config: PackConfig
) -> tuple[list[SourceItem], list[Reject]]:
    """(items to pack, those left out): a flow video in the source folder is no input of its own."""
    folders = companion_folders(config)
    belongs_to: dict[Path, str] = {}
    for kind, folder in folders.items():
        for item in items:
            path = find_companion(folder, item, kind)
            if path is not None and path.stem != item.path.stem:
                belongs_to[path] = f"the {kind} video of {item.relative}"
    kept = [item for item in items if item.path not in belongs_to]
    left_out = [
        Reject(path=item.relative, reason=belongs_to[item.path], stage="parser")
        for item in items
        if item.path in belongs_to
    ]
    return kept, left_out


def with_companions(
    inputs: Sequence[ProbedInput],
    config: PackConfig,
    *,
    probe: Callable[[list[SourceItem]], tuple[list[ProbedInput], list[Reject]]],
) -> tuple[list[ProbedInput], list[Reject]]:
    """(inputs with their companions, those that lack one or whose companion does not fit).

    Args:
        inputs: what was found; sound alone needs no companion.
        config: which folders.
        probe: looks at companions like at inputs.
    """
    wanted: dict[tuple[int, CompanionKind], SourceItem] = {}
    problems: dict[int, str] = {}
    for kind, folder in companion_folders(config).items():
        for number, probed in enumerate(inputs):
            if probed.probe.video is None:
                continue
            path = find_companion(folder, probed.item, kind)
            if path is None:
                names = " or ".join(f"{probed.item.path.stem}{s}.*" for s in SUFFIXES[kind][:3])
                problems[number] = f"no {kind} video of it in {folder}; looked for {names}"
            else:
                wanted[number, kind] = SourceItem(path=path, relative=path.name)
    problems |= _ambiguous(wanted, inputs)
    found, unreadable = probe(list(dict.fromkeys(wanted.values())))
    reasons = {reject.path: reject.reason for reject in unreadable}
    by_path = {companion.item.path: companion for companion in found}
    fitting: dict[int, list[Companion]] = {}
    for (number, kind), item in wanted.items():
        companion = by_path.get(item.path)
        if companion is None:
            problems.setdefault(number, f"its {kind} video {item.path}: {reasons[item.relative]}")
            continue
        problem = _misfit(inputs[number], companion)
        if problem:
            problems.setdefault(number, f"its {kind} video {item.path} {problem}")
        elif companion.probe.video is not None:
            one = Companion(
                kind=kind,
                path=item.path,
                sha256=companion.sha256,
                video=companion.probe.video,
            )
            fitting.setdefault(number, []).append(one)
    kept = [
        replace(probed, companions=tuple(fitting.get(number, ())))
        for number, probed in enumerate(inputs)
        if number not in problems
    ]
    rejects = [
        Reject(path=inputs[number].item.relative, reason=reason, stage="probe")
        for number, reason in sorted(problems.items())
    ]
    return kept, rejects


def _ambiguous(
    wanted: Mapping[tuple[int, CompanionKind], SourceItem], inputs: Sequence[ProbedInput]
) -> dict[int, str]:
    """Inputs that would share a companion with another file of their name."""
    sources: dict[Path, set[str]] = {}
    for (number, _), item in wanted.items():
        sources.setdefault(item.path, set()).add(str(inputs[number].item.path))
    return {
        number: f"{item.path} could go with {len(sources[item.path])} sources of that name; lay "
        f"out the {kind} videos in folders like the sources"
        for (number, kind), item in wanted.items()
        if len(sources[item.path]) > 1
    }


def _misfit(probed: ProbedInput, companion: ProbedInput) -> str:
    own, other = probed.probe.video, companion.probe.video
    if own is None or other is None:
        return "has no picture"
    if own.num_frames != other.num_frames:
        return f"has {other.num_frames} frames, the video {own.num_frames}; they must go frame by frame"
    if abs(_shape(other) / _shape(own) - 1) > MAX_SHAPE_DIFFERENCE:
        return (
            f"is {other.width}x{other.height}, the video {own.width}x{own.height}: not the same "
            "shape, so one would not lie on the other"
        )
    return ""


def _shape(video: VideoProbe) -> float:
    width, height = upright_size(video)
    return width / height
