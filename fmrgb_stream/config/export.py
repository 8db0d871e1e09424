"""How a dataset leaves for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fmrgb_stream.config.checks import check_choice, check_count
from fmrgb_stream.errors import ConfigError

ExportFormat = Literal["folder", "pt", "hf", "litdata"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """What other programs get. Only `pt` makes clips; the others hand on the encoded media."""

    to: ExportFormat = "folder"
    """`folder`: media files and a labels table; `hf`: a Hugging Face dataset of them; `pt`: planes as
    uint8 tensors [T, H, W, C]; `litdata`: LitData's chunks."""
    splits: tuple[str, ...] = ()
    """Only these; empty is all."""
    size: tuple[int, int] | None = None
    """(height, width) of `pt`; None is each video's own."""
    frame_stride: int = 1
    """Every how many frames of the video `pt` holds one."""
    channels: str | tuple[str, ...] = "fmrgb"
    """Planes of `pt`: a preset, or names."""
    chunk_megabytes: int = 64
    """Size of LitData's chunks."""
    num_workers: int | None = None
    """Processes; None is one a usable core."""

    def __post_init__(self) -> None:
        """Check every field; planes and size are checked where clips are made."""
        check_choice("to", self.to, ExportFormat)
        for name in ("frame_stride", "chunk_megabytes", "num_workers"):
            check_count(name, getattr(self, name))
        if self.size is not None and not all(8 <= side <= 2048 for side in self.size):
            raise ConfigError(f"size={self.size} must be (height, width), each in 8..2048")
