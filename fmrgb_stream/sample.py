"""What travels along the data path: EncodedSample -> ClipPlan -> ClipBatch.

Shape legend: B batch, C channels, T clip frames, H height, W width, S audio samples,
M mel bands, F source frames, P packets, N targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    IntArray = NDArray[np.int64]
    FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketTable:
    """Where each video packet of one sample lies inside its video member, in decode order."""

    offsets: IntArray
    """int64 [P]: first byte, from the start of the member."""
    sizes: IntArray
    """int64 [P]: bytes."""
    is_key: NDArray[np.bool_]
    """bool [P]: decoding can start here."""
    pts: IntArray
    """int64 [P]: presentation time in ticks; only their order and equality matter here."""

    def __post_init__(self) -> None:
        """Check that the four columns describe the same packets."""
        lengths = {len(self.offsets), len(self.sizes), len(self.is_key), len(self.pts)}
        if len(lengths) != 1:
            raise ValueError(f"packet columns differ in length: {sorted(lengths)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of a sample inside its tar shard."""

    extension: str
    """Without the dot, e.g. `mp4`."""
    offset: int
    """First byte of the content, from the start of the tar."""
    size: int
    """Bytes of the content."""
    crc32c: int
    """Castagnoli checksum of the content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleInfo:
    """What the index knows of one sample: enough to plan a clip without touching its bytes."""

    key: str
    group: str
    """Samples of one group (actor, song, participant) never stand in two splits."""
    label: int | None
    """Class index, or None for regression or unlabelled data."""
    targets: tuple[float, ...] | None
    """Regression targets, or None."""
    has_video: bool
    has_audio: bool
    fps: float
    """Frames per second of the constant-rate proxy; of the virtual timeline for audio only."""
    num_frames: int
    """F. For audio-only samples the length of the virtual timeline at `fps`."""
    duration_seconds: float
    width: int
    height: int
    codec: str
    """FFmpeg's codec name, e.g. `h264`; empty without video."""
    color_matrix: str
    """`bt601` | `bt709` | `bt2020`, as decoded frames must be read."""
    color_range: str
    """`limited` | `full`."""
    rotation_degrees: int
    """Counter-clockwise turn that shows the stored picture upright; 0 for packed proxies."""
    audio_sample_rate: int
    """Hz; 0 without audio."""
    num_audio_samples: int
    extradata: bytes
    """Decoder configuration record; empty where the bitstream carries it."""
    frame_times_seconds: FloatArray | None
    """float64 [F] when frames are not at k/fps (variable rate), else None."""
    packets: PacketTable | None
    """None when the sample cannot be fed packet by packet."""
    members: tuple[Member, ...]
    sound_zero_seconds: float | None = None
    """Where t = 0 lies on the clock of the file that holds the sound, when that sound has yet to be
    cut, mixed to mono and brought to `audio_sample_rate`; None for a mono member that begins there."""

    crop: str | None = None
    """What the packer cut out of the source's picture: `face-tracked`, `face-middle` or `center`, a
    square; `full` where a face was looked for and nothing cut off; None where none was looked for."""

    def times_seconds(self) -> FloatArray:
        """Presentation time of every frame, float64 [F], the first one at 0."""
        if self.frame_times_seconds is not None:
            return self.frame_times_seconds
        return np.arange(self.num_frames, dtype=np.float64) / self.fps

    def member(self, extension: str) -> Member | None:
        """The member with this extension, or None."""
        return next((m for m in self.members if m.extension == extension), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedSample:
    """One sample's bytes as they lie in the shard, with what the index knows of it."""

    sample_id: int
    """Position in the split, counted over its shards in manifest order."""
    shard_url: str
    info: SampleInfo
    video: memoryview | None
    """The video member; a view on the bytes that were read, not a copy."""
    audio: memoryview | None
    """The audio member (FLAC, mono, but where `info.sound_zero_seconds` is set); likewise a view."""
    flow: memoryview | None = None
    """The packed flow video, when it was asked for: luma is the flow plane, frame for frame."""
    matte: memoryview | None = None
    """The matte, when it was asked for: luma is how much of each pixel counts, frame for frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPlan:
    """Which frames of one sample make a clip. Indices count presentation order."""

    frame_indices: IntArray
    """int64 [T]: the frame shown; -1 is a padding frame, all planes 0."""
    blend_indices: IntArray
    """int64 [T]: the second frame of a linear blend; equal to `frame_indices` without one."""
    blend_weights: FloatArray
    """float64 [T] in 0..1: weight of the second frame."""
    lead_index: int
    """The frame before the first, for the first flow plane; -1 when there is none."""
    has_flow: NDArray[np.bool_]
    """bool [T]: False where no motion can be told (start, padding, jump of a loop)."""
    times_seconds: FloatArray
    """float64 [T]: presentation time of each clip frame in its sample."""
    num_valid_frames: int
    """Frames that are neither padding nor repeats made by the length rule."""

    def __post_init__(self) -> None:
        """Check that all columns are as long as the clip."""
        num_frames = len(self.frame_indices)
        for name in ("blend_indices", "blend_weights", "has_flow", "times_seconds"):
            if len(getattr(self, name)) != num_frames:
                raise ValueError(f"{name} has {len(getattr(self, name))} of {num_frames} frames")
        if not 0 <= self.num_valid_frames <= num_frames:
            raise ValueError(f"num_valid_frames {self.num_valid_frames} not in 0..{num_frames}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipTask:
    """One place of one batch: which sample, which of its windows, and how it got there."""

    sample_id: int
    """Position in the split."""
    window_index: int
    """Which sliding window of the sample; 0 for the other window rules."""
    epoch: int
    """How often its dataset was gone through before: the epoch, unless it is part of a mixture."""
    is_padding: bool
    """True for the repeats that fill the last batch under tail="pad": leave out of metrics."""
    source: int = 0
    """Which dataset of a mixture; 0 where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedClip:
    """All a pipeline needs to make one clip."""

    task: ClipTask
    sample: EncodedSample
    plan: ClipPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipBatch:
    """One batch as the model gets it."""

    clip: torch.Tensor
    """uint8 [B, C, T, H, W] in 0..255 (or float16/float32, see ClipConfig.dtype)."""
    channels: tuple[str, ...]
    """Names of the C planes in memory order."""
    labels: torch.Tensor | None
    """int64 [B], or None when the dataset has no classes."""
    targets: torch.Tensor | None
    """float32 [B, N], or None when the dataset has no targets."""
    keys: tuple[str, ...]
    """Keys of the samples that were delivered."""
    sample_ids: torch.Tensor
    """int64 [B]: the planned samples; differs from `keys` only where `is_substitute`."""
    window_indices: torch.Tensor
    """int64 [B]: which sliding window of its sample each clip is (0 otherwise)."""
    times_seconds: torch.Tensor
    """float64 [B, T]: presentation time of each frame in its sample."""
    num_valid_frames: torch.Tensor
    """int64 [B]."""
    is_padding: torch.Tensor
    """bool [B]: repeats that fill the last batch; leave out of metrics."""
    is_substitute: torch.Tensor
    """bool [B]: a neighbour stands in for a bad sample."""
    flow_estimator: str
    """Which estimator made the flow plane; empty without one."""
    mel_image: torch.Tensor | None = None
    """On request, uint8 [B, 1, M, W]: log-mel of the whole clip, low band at the bottom."""
    waveform: torch.Tensor | None = None
    """On request, float32 [B, S] in -1..1: the sound of the clip."""
    audio_features: torch.Tensor | None = None
    """On request, float32 [B, 26]."""
    source_ids: torch.Tensor | None = None
    """int64 [B]: which of the loader's `sources` each clip is from. A loader always gives it."""
    source_passes: torch.Tensor | None = None
    """int64 [B]: how often that source was gone through before. A loader always gives it."""

    def __post_init__(self) -> None:
        """Check that every column speaks of the same B clips of C channels."""
        if self.clip.ndim != 5:
            raise ValueError(f"clip must be [B, C, T, H, W], got shape {tuple(self.clip.shape)}")
        batch_size, num_channels, num_frames = self.clip.shape[:3]
        if num_channels != len(self.channels):
            raise ValueError(f"{num_channels} planes but channel names {self.channels}")
        if tuple(self.times_seconds.shape) != (batch_size, num_frames):
            raise ValueError(f"times_seconds has shape {tuple(self.times_seconds.shape)}")
        for name in ("sample_ids", "window_indices", "num_valid_frames", "is_padding"):
            if tuple(getattr(self, name).shape) != (batch_size,):
                raise ValueError(f"{name} has shape {tuple(getattr(self, name).shape)}")
        if len(self.keys) != batch_size:
            raise ValueError(f"{len(self.keys)} keys for {batch_size} clips")

    def __len__(self) -> int:
        """B."""
        return self.clip.shape[0]
