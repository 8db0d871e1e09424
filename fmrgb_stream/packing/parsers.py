"""Folder of media -> SourceListing, by what folder and file names mean in known datasets."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fmrgb_stream.packing.sources import (
    Reject,
    SourceItem,
    SourceListing,
    find_media,
    relative_name,
    sorted_classes,
)

RAVDESS_EMOTIONS: Final = (
    "neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised",
)  # fmt: skip
"""By the third field of the name, 01..08 (Livingstone and Russo 2018, file naming convention)."""
CREMAD_EMOTIONS: Final = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
QUADRANTS: Final = ("Q1", "Q2", "Q3", "Q4")
"""Valence-arousal quadrants: happy, tense, melancholy, relaxed."""

_RAVDESS: Final = re.compile(r"(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")
_RAVDESS_MODALITIES: Final = {"01": "sound and picture", "02": "picture only", "03": "sound only"}
_RAVDESS_VOCALS: Final = {"01": "speech", "02": "song"}
_CREMAD: Final = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{2})")
_Q4_NAME: Final = re.compile(r"(Q[1-4])\.(.+)")
_MUSIC: Final = re.compile(r"([A-Za-z][A-Za-z ]*?)\d+_\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A good file of another kind than the parser packs."""

    reason: str


Meaning = tuple[str, str | None] | str | Skip
"""(label, group) that a name stands for, or the reason why the file cannot be used, or a `Skip`."""


def list_flat(folder: Path) -> SourceListing:
    """Every media file, without labels."""
    items = [SourceItem(path=p, relative=relative_name(p, folder)) for p in find_media(folder)]
    return SourceListing(items=tuple(items))


def list_folders(folder: Path) -> SourceListing:
    """The first-level folder is the class; files beside the class folders are rejected."""

    def meaning(path: Path) -> Meaning:
        parts = path.relative_to(folder).parts
        if len(parts) < 2:
            return "lies beside the class folders, so it has no class; move it into one"
        return parts[0], None

    return _list_named(folder, meaning, classes=None)


def list_ravdess(folder: Path) -> SourceListing:
    """RAVDESS names MM-VC-EE-II-SS-RR-AA: emotion is the class, actor the group.

    Only speech (VC 01) with sound and picture (MM 01) is packed; the dataset's other files are
    skipped.
    """
    return _list_named(folder, _ravdess, classes=RAVDESS_EMOTIONS)


def list_cremad(folder: Path) -> SourceListing:
    """CREMA-D names 1001_IEO_ANG_HI: emotion is the class, actor the group."""
    return _list_named(folder, _cremad, classes=CREMAD_EMOTIONS)


def list_q4(folder: Path) -> SourceListing:
    """Four-quadrant music: `Q1.SONG.wav`, or SONG below a folder Q1..Q4; the song is the group."""
    return _list_named(folder, lambda path: _q4(path, folder), classes=QUADRANTS)


def list_music(folder: Path) -> SourceListing:
    """`Classicalmusic1_3`, as file or folder name: the letters are the class.

    The participant's folder, the first level, is the group where there is one.
    """
    return _list_named(folder, lambda path: _music(path, folder), classes=None)


FOLDER_PARSERS: Final[Mapping[str, Callable[[Path], SourceListing]]] = {
    "flat": list_flat,
    "folders": list_folders,
    "ravdess": list_ravdess,
    "cremad": list_cremad,
    "q4": list_q4,
    "music": list_music,
}


def _list_named(
    folder: Path, meaning: Callable[[Path], Meaning], *, classes: tuple[str, ...] | None
) -> SourceListing:
    items: list[SourceItem] = []
    rejects: list[Reject] = []
    skipped: list[Reject] = []
    for path in find_media(folder):
        relative, found = relative_name(path, folder), meaning(path)
        if isinstance(found, str):
            rejects.append(Reject(path=relative, reason=found, stage="source"))
        elif isinstance(found, Skip):
            skipped.append(Reject(path=relative, reason=found.reason, stage="parser"))
        else:
            label, group = found
            items.append(SourceItem(path=path, relative=relative, label=label, group=group))
    return SourceListing(
        items=tuple(items),
        # Known datasets keep all their classes, so that every subset numbers them alike.
        classes=sorted_classes(item.label for item in items) if classes is None else classes,
        rejects=tuple(rejects),
        skipped=tuple(skipped),
    )


def _ravdess(path: Path) -> Meaning:
    match = _RAVDESS.fullmatch(path.stem)
    if match is None:
        return "not a RAVDESS name: seven two-digit fields MM-VC-EE-II-SS-RR-AA are expected"
    modality, vocal, emotion, actor = match.group(1), match.group(2), match.group(3), match.group(7)
    if modality not in _RAVDESS_MODALITIES:
        return f"RAVDESS modality {modality} is not in 01..03"
    if vocal not in _RAVDESS_VOCALS:
        return f"RAVDESS vocal channel {vocal} is not 01 or 02"
    if modality != "01":
        what = _RAVDESS_MODALITIES[modality]
        return Skip(
            reason=f"RAVDESS modality {modality} ({what}); 01 (sound and picture) is packed"
        )
    if vocal != "01":
        what = _RAVDESS_VOCALS[vocal]
        return Skip(reason=f"RAVDESS vocal channel {vocal} ({what}); 01 (speech) is packed")
    if not 1 <= int(emotion) <= len(RAVDESS_EMOTIONS):
        return f"RAVDESS emotion {emotion} is not in 01..08"
    return RAVDESS_EMOTIONS[int(emotion) - 1], f"actor-{actor}"


def _cremad(path: Path) -> Meaning:
    match = _CREMAD.fullmatch(path.stem)
    if match is None:
        return (
            "not a CREMA-D name: ACTOR_SENTENCE_EMOTION_LEVEL such as 1001_IEO_ANG_HI is expected"
        )
    if match.group(3) not in CREMAD_EMOTIONS:
        return f"CREMA-D emotion {match.group(3)} is not one of {' '.join(CREMAD_EMOTIONS)}"
    return match.group(3), f"actor-{match.group(1)}"


def _q4(path: Path, folder: Path) -> Meaning:
    match = _Q4_NAME.fullmatch(path.stem)
    if match:
        return match.group(1), f"song-{match.group(2)}"
    for part in reversed(path.relative_to(folder).parts[:-1]):
        if part in QUADRANTS:
            return part, f"song-{path.stem}"
    return "no quadrant: Q1..Q4 is expected before the first dot of the name, or as a folder"


def _music(path: Path, folder: Path) -> Meaning:
    folders = path.relative_to(folder).parts[:-1]
    for depth, name in [(len(folders), path.stem), *reversed(list(enumerate(folders)))]:
        match = _MUSIC.fullmatch(name)
        if match:
            return match.group(1), folders[0] if depth > 0 else None
    return "no class: a name such as Classicalmusic1_3 is expected for the file or its folder"
