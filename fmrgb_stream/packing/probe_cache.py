"""MediaProbe <-> JSON line: what a stopped run found out is not found out again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import numpy as np

from fmrgb_stream.clips.streams import AudioProbe, MediaProbe, VideoProbe
from fmrgb_stream.config import PackConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What was found: a probe, or the reason why not."""

    sha256: str
    """Of the file's content; empty when it could not be read."""
    probe: MediaProbe | None
    reason: str
    is_lasting: bool = True
    """False when the file could not be read: the next run looks again."""


class ProbeCache:
    """One JSON line a file that was probed, valid while size and modification time stay."""

    def __init__(self, path: Path, config: PackConfig) -> None:
        """Read what an earlier run wrote; a torn last line is passed over."""
        self._path = path
        self._limits = [config.max_pixels, config.max_duration_seconds]
        self._lines = _read_lines(path)

    def get(self, path: Path) -> ProbeResult | None:
        """What is known of a file, if it has not changed since."""
        line = self._lines.get(str(path))
        if line is None or line.get("stamp") != self._stamp(path):
            return None
        try:
            plain = line["probe"]
            found = None if plain is None else from_plain(plain)
            return ProbeResult(sha256=line["sha256"], probe=found, reason=line["reason"])
        except (KeyError, TypeError, ValueError):
            return None

    def put(self, path: Path, result: ProbeResult) -> None:
        """Remember one result at once, between `with` and its end."""
        line = {
            "path": str(path),
            "stamp": self._stamp(path),
            "sha256": result.sha256,
            "reason": result.reason,
            "probe": None if result.probe is None else as_plain(result.probe),
        }
        # The leading newline parts it from a last line that a crash tore.
        self._stream.write("\n" + json.dumps(line))
        self._stream.flush()

    def _stamp(self, path: Path) -> list[Any]:
        try:
            status = path.stat()
        except OSError:
            return [0, 0, *self._limits]
        return [status.st_size, status.st_mtime_ns, *self._limits]

    def __enter__(self) -> Self:
        """Open the file for more lines."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._stream.close()


def _read_lines(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    lines: dict[str, dict[str, Any]] = {}
    with path.open(encoding="utf-8", errors="replace") as stream:
        for text in stream:
            try:
                line = json.loads(text)
                lines[line["path"]] = line
            except (ValueError, TypeError, KeyError):
                continue  # empty, or torn by a crash: that file is probed again
    return lines


def as_plain(probed: MediaProbe) -> dict[str, Any]:
    """A probe as JSON values; `from_plain` reads it back."""
    video, audio = probed.video, probed.audio
    plain: dict[str, Any] = {"format": probed.format, "warnings": list(probed.warnings)}
    plain["audio"] = audio and {name: getattr(audio, name) for name in AudioProbe.__slots__}
    if video is None:
        return plain | {"video": None}
    fields = {name: getattr(video, name) for name in VideoProbe.__slots__}
    for name in ("sample_aspect_ratio", "time_base", "fps"):
        fields[name] = str(fields[name])
    if video.ticks is not None:
        fields["ticks"] = np.diff(video.ticks).tolist()
    return plain | {"video": fields}


def from_plain(plain: dict[str, Any]) -> MediaProbe:
    """The probe that `as_plain` wrote.

    Raises:
        KeyError, TypeError, ValueError: it is not one.
    """
    video = None
    if plain["video"] is not None:
        fields = dict(plain["video"])
        for name in ("sample_aspect_ratio", "time_base", "fps"):
            fields[name] = Fraction(fields[name])
        if fields["ticks"] is not None:
            steps = np.asarray([fields["first_tick"], *fields["ticks"]], dtype=np.int64)
            fields["ticks"] = np.cumsum(steps)
        video = VideoProbe(**fields)
    audio = None if plain["audio"] is None else AudioProbe(**plain["audio"])
    return MediaProbe(
        format=plain["format"], video=video, audio=audio, warnings=tuple(plain["warnings"])
    )
