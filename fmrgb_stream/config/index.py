"""How shards of other makers get their sidecars."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from fmrgb_stream.config.checks import check_count, check_positive
from fmrgb_stream.config.pack import SPLIT_NAME
from fmrgb_stream.errors import ConfigError

_LABEL: Final = re.compile(r"auto|none|cls|txt|folder|json\.[^.].*")
_GROUP: Final = re.compile(r"auto|none|folder|json\.[^.].*")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexConfig:
    """How tar shards that others made become a dataset. The tars stay as they are."""

    split: str | None = None
    """Split of all shards; None reads train, val or test out of each shard's name or folder."""
    label: str = "auto"
    """Where classes are: `cls`, `txt`, `json.FIELD`, `folder` (of the key), `none`, or `auto`: the
    first of cls, json.label_name, json.label, json.class, json.cls, and txt if few texts repeat."""
    targets: tuple[str, ...] = ()
    """Regression targets: `json.FIELD` of a number or a list of numbers each."""
    group: str = "auto"
    """What never stands in two splits: `json.FIELD`, `folder` (of the key), `none`, or `auto`:
    json.group where there is one."""
    audio_sample_rate: int = 16000
    """Hz that sound is brought to when it is read."""
    virtual_fps: float = 30.0
    """Frame rate of the timeline given to samples of sound alone."""
    max_pixels: int = 8192 * 8192
    """Larger pictures are rejected."""
    max_duration_seconds: float = 12 * 3600.0
    """Longer samples are rejected."""
    dali_idx: bool = True
    """Also write DALI's `.idx` files."""
    stats_samples: int = 2048
    """Clips of the train split that the channel statistics are taken from, at most."""
    num_workers: int | None = None
    """Threads, and processes for the statistics; None is one a usable core."""

    def __post_init__(self) -> None:
        """Check every field."""
        if self.split is not None and not SPLIT_NAME.fullmatch(self.split):
            raise ConfigError(
                f"split={self.split!r}: 1 to 40 letters, digits, _ and - make a split's name"
            )
        if not _LABEL.fullmatch(self.label):
            raise ConfigError(
                f"label={self.label!r} must be auto, none, cls, txt, folder or json.FIELD"
            )
        if not _GROUP.fullmatch(self.group):
            raise ConfigError(f"group={self.group!r} must be auto, none, folder or json.FIELD")
        for target in self.targets:
            if not re.fullmatch(r"json\.[^.].*", target):
                raise ConfigError(f"targets: {target!r} must be json.FIELD")
        for name in ("audio_sample_rate", "max_pixels", "stats_samples", "num_workers"):
            check_count(name, getattr(self, name))
        for name in ("virtual_fps", "max_duration_seconds"):
            check_positive(name, getattr(self, name))
