"""How media become shards."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from fmrgb_stream.config.checks import check_choice, check_count, check_positive
from fmrgb_stream.errors import ConfigError

SourceParser = Literal[
    "auto", "folders", "flat", "csv", "jsonl", "ravdess", "cremad", "q4", "music"
]
EncoderPreset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast",
    "medium", "slow", "slower", "veryslow", "placebo",
]  # fmt: skip
"""x264's presets, from quick and large to slow and small."""
ProxyCodec = Literal["h264", "vp9"]
CropRule = Literal["none", "face"]
CropBox = Literal["tracked", "middle"]
NoFaceRule = Literal["reject", "full", "center"]
PackExecutor = Literal["local", "ray"]
MAX_CRF: Final[Mapping[ProxyCodec, int]] = MappingProxyType({"h264": 51, "vp9": 63})

SPLIT_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""A split is a folder of the dataset, so its name must match this from end to end."""


def _default_splits() -> Mapping[str, float]:
    return MappingProxyType({"train": 0.8, "val": 0.1, "test": 0.1})


@dataclass(frozen=True, slots=True, kw_only=True)
class PackConfig:
    """How a folder of videos becomes shards.

    Everything here but `num_workers`, `executor` and `address` shapes the bytes.
    """

    parser: SourceParser = "auto"
    """How labels and groups are found; see packing/sources.py."""
    short_side: int = 128
    """Pixels of the proxy's shorter side; smaller sources keep their size."""
    mag: int | None = None
    """Divide both sides by this instead of using `short_side`."""
    copy: bool = False
    """Store each source file untouched instead of a proxy."""
    fps: float | None = None
    """Lower the frame rate to this; None keeps the source's."""
    segment_seconds: float = 10.0
    """Longer videos are cut into samples of this length, exactly; the last may be shorter."""
    gop_frames: int = 25
    """Frames from one keyframe to the next; h264 is smallest and fastest at one more than a multiple
    of 8."""
    codec: ProxyCodec = "h264"
    """Of the proxies; `vp9` is what DALI can decode without a GPU."""
    crf: int = 23
    """The codec's constant quality, 0..51 (h264) or 0..63 (vp9); lower is better and larger."""
    preset: EncoderPreset = "veryfast"
    """The encoder's speed, by x264's names: slower ones make smaller files."""
    crop: CropRule = "none"
    """`face`: store a square around one face of each sample, at most `short_side` large."""
    crop_box: CropBox = "tracked"
    """`tracked` follows the face smoothly; `middle` keeps the box of the sample's middle frame."""
    crop_margin: float = 0.25
    """Added to the face box on each side, in its larger side."""
    no_face: NoFaceRule = "reject"
    """What becomes of a sample without a face: not packed, packed whole, or its middle square."""
    flow_video: str | None = None
    """Folder of flow videos, one for each source and as many frames long: stored beside the picture,
    for `flow.estimator="member"`."""
    matte: str | None = None
    """Folder of mattes, grey videos, white where the picture counts, one for each source and as many
    frames long: stored beside the picture, which loaders multiply by it (`clip.matte`)."""
    audio_sample_rate: int = 16000
    """Hz, mono FLAC."""
    virtual_fps: float = 30.0
    """Frame rate of the timeline given to audio-only inputs."""
    samples_per_shard: int = 256
    splits: Mapping[str, float] = field(default_factory=_default_splits)
    """Share of the groups in each split, by name (letters, digits, _ and -); a `split` column in the source wins."""
    seed: int = 0
    """Decides which group goes to which split, and the order of the samples."""
    max_pixels: int = 8192 * 8192
    """Larger pictures are rejected."""
    max_duration_seconds: float = 12 * 3600.0
    """Longer inputs are rejected."""
    stats_samples: int = 2048
    """Clips of the train split that the channel statistics are taken from, at most."""
    num_workers: int | None = None
    """Processes; None is one a usable core, of all nodes with `ray`. Does not change the output."""
    executor: PackExecutor = "local"
    """`local`: processes of this machine. `ray`: tasks of a Ray cluster, whose nodes must all see
    source and destination under the same paths. Does not change the output."""
    address: str | None = None
    """`ray` only: of the cluster, e.g. 10.0.0.1:6379, or `auto` for the one this machine is a node
    of; None asks RAY_ADDRESS, and starts a cluster of this machine alone where that is not set."""

    def __post_init__(self) -> None:
        """Check every field."""
        check_choice("parser", self.parser, SourceParser)
        check_choice("preset", self.preset, EncoderPreset)
        check_choice("codec", self.codec, ProxyCodec)
        check_choice("executor", self.executor, PackExecutor)
        check_choice("crop", self.crop, CropRule)
        check_choice("crop_box", self.crop_box, CropBox)
        check_choice("no_face", self.no_face, NoFaceRule)
        for name in ("short_side", "mag", "gop_frames", "audio_sample_rate", "samples_per_shard",
                     "max_pixels", "num_workers", "stats_samples"):  # fmt: skip
            check_count(name, getattr(self, name))
        for name in ("fps", "segment_seconds", "virtual_fps", "max_duration_seconds"):
            check_positive(name, getattr(self, name))
        max_crf = MAX_CRF[self.codec]
        if self.crf not in range(max_crf + 1):
            raise ConfigError(
                f"crf={self.crf!r} must lie in 0..{max_crf} for codec={self.codec!r}, a whole number"
            )
        if self.short_side < 16:
            raise ConfigError(f"short_side={self.short_side} must be at least 16")
        if not 0 <= self.crop_margin <= 4:
            raise ConfigError(f"crop_margin={self.crop_margin!r} must lie in 0..4")
        if self.copy and self.crop != "none":
            raise ConfigError("copy=True stores the source as it is; crop cannot apply")
        if self.copy and (self.mag is not None or self.fps is not None):
            raise ConfigError("copy=True stores the source as it is; mag and fps cannot apply")
        if self.address is not None and self.executor != "ray":
            raise ConfigError(
                f"address={self.address!r} is of a Ray cluster: it goes with executor='ray'"
            )
        self._check_splits()

    def _check_splits(self) -> None:
        for name in self.splits:
            # Typed str, but a YAML file or a caller without types may bring anything.
            if not SPLIT_NAME.fullmatch(str(name)):
                raise ConfigError(
                    f"splits: {name!r} cannot name a folder; 1 to 40 letters, digits, _ and - only"
                )
        if not self.splits or any(share < 0 for share in self.splits.values()):
            raise ConfigError(f"splits={dict(self.splits)} must hold shares >= 0")
        if not math.isclose(sum(self.splits.values()), 1.0, abs_tol=1e-6):
            raise ConfigError(f"splits={dict(self.splits)} must add up to 1")
