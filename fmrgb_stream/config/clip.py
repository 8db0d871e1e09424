"""What a clip is: frames, size, planes, and how flow and sound become planes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fmrgb_stream.channels import MEL, needs_flow, resolve_channels
from fmrgb_stream.config.checks import check_choice, check_count, check_positive
from fmrgb_stream.errors import ConfigError

FlowEstimator = Literal["auto", "dis", "lucas_kanade", "nvof", "member"]
FlowMode = Literal["magnitude", "uv"]
AudioPlane = Literal["mel", "simple", "stft", "logmel"]
MelScale = Literal["htk", "slaney"]
WindowRule = Literal["random", "centre", "start", "uniform", "sliding", "around"]
LengthRule = Literal["repeat_last", "subsample_pad", "loop", "zoom"]
ClipDtype = Literal["uint8", "float16", "float32"]
ClipExtra = Literal["mel_image", "waveform", "audio_features"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowConfig:
    """The flow plane."""

    estimator: FlowEstimator = "auto"
    """`auto` is `dis` on the CPU pipeline; with DALI `nvof` where the GPU's engine takes the clip's size,
    else `lucas_kanade`. `member` reads the flow video that was packed beside the picture (CPU pipeline).
    The batch says which one was used."""
    mode: FlowMode = "magnitude"
    """`uv` gives two planes, flow_u and flow_v, in place of flow."""
    max_pixels: float = 16.0
    """Output pixels between two clip frames that fill the range; larger motion is clipped."""

    def __post_init__(self) -> None:
        """Check every field."""
        check_choice("flow.estimator", self.estimator, FlowEstimator)
        check_choice("flow.mode", self.mode, FlowMode)
        check_positive("flow.max_pixels", self.max_pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class MelConfig:
    """The audio plane. Lengths in samples count at the packed rate (16 kHz by default)."""

    method: AudioPlane = "mel"
    """`mel` dB re full scale; `stft` the same on a linear frequency axis; `logmel` log10 of the mel
    power stretched between the clip's extremes; `simple` the dominant frequency, a flat plane."""
    window_seconds: float = 0.5
    """Sound shown in one frame's plane, centred on the frame."""
    n_fft: int = 512
    """Samples in one Fourier transform."""
    win_length_samples: int = 400
    """Samples under the Hann window (periodic), centred in n_fft."""
    hop_length_samples: int = 160
    """Samples between two spectrogram columns."""
    num_mels: int = 64
    f_min_hz: float = 0.0
    f_max_hz: float | None = None
    """None is half the sample rate."""
    mel_scale: MelScale = "htk"
    slaney_norm: bool = False
    """Divide each mel filter by its width in Hz."""
    stft_keep_fraction: float = 1.0
    """`stft` only: the lowest part of the frequency axis that is shown."""
    simple_scale: Literal["nyquist", "clip"] = "nyquist"
    """`simple` only: 255 stands for half the sample rate, or for the clip's highest dominant."""
    seed_frequency_param: int | None = None
    """Audio samples a source frame of the S0 script; set by `MelConfig.seed`."""

    def __post_init__(self) -> None:
        """Check every field."""
        check_choice("mel.method", self.method, AudioPlane)
        check_choice("mel.mel_scale", self.mel_scale, MelScale)
        check_choice("mel.simple_scale", self.simple_scale, Literal["nyquist", "clip"])
        for name in ("n_fft", "win_length_samples", "hop_length_samples", "num_mels",
                     "seed_frequency_param"):  # fmt: skip
            check_count(f"mel.{name}", getattr(self, name))
        for name in ("window_seconds", "f_max_hz", "stft_keep_fraction"):
            check_positive(f"mel.{name}", getattr(self, name))
        if self.win_length_samples > self.n_fft:
            raise ConfigError(
                f"mel.win_length_samples={self.win_length_samples} exceeds n_fft={self.n_fft}"
            )
        if self.f_min_hz < 0 or (self.f_max_hz is not None and self.f_min_hz >= self.f_max_hz):
            raise ConfigError(f"mel.f_min_hz={self.f_min_hz} must lie in 0..f_max_hz")
        if self.stft_keep_fraction > 1:
            raise ConfigError(f"mel.stft_keep_fraction={self.stft_keep_fraction} exceeds 1")
        if self.seed_frequency_param is not None and self.method not in ("mel", "simple"):
            raise ConfigError("the seed preset exists for method='mel' and 'simple' only")

    @classmethod
    def seed(
        cls, frequency_param: int = 100, *, method: Literal["mel", "simple"] = "mel"
    ) -> MelConfig:
        """The S0 script's audio plane: one window of `frequency_param` samples a source frame.

        The sound of the sample is resampled (Fourier) to `frequency_param` samples a frame; each
        window is transformed on its own and, for `mel`, stretched between its own extremes.
        """
        return cls(method=method, simple_scale="clip", seed_frequency_param=frequency_param)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipConfig:
    """What a clip is: which frames of a sample, at which size, as which planes."""

    num_frames: int = 16
    """T."""
    frame_stride: int = 4
    """Source frames from one clip frame to the next; not used when `fps` is set."""
    fps: float | None = None
    """Clip frames a second, picked by presentation time; None keeps `frame_stride`."""
    size: tuple[int, int] = (112, 112)
    """(height, width) in pixels."""
    channels: str | tuple[str, ...] = "fmrgb"
    """A preset (`fmrgb`, `gray3`, `rgb`) or plane names in the wanted order."""
    window: WindowRule = "random"
    """`random | centre | start`: consecutive strided frames; `uniform`: over the whole sample;
    `sliding`: every window of `window_seconds`, each `hop_seconds` after the one before;
    `around`: `num_frames` frames centred on every frame, or on one every `hop_seconds`; beyond the
    ends the first and the last frame repeat."""
    window_seconds: float | None = None
    """`sliding` only."""
    hop_seconds: float | None = None
    """`sliding`, which needs it, and `around`, where None is every frame."""
    length_rule: LengthRule = "repeat_last"
    """How the frames a window found become `num_frames`."""
    fraction: float = 1.0
    """Use only this leading part of every sample's strided frames."""
    dtype: ClipDtype = "uint8"
    matte: bool = True
    """Multiply the picture of samples that have a matte by it, before any plane is made of it."""
    flow: FlowConfig = field(default_factory=FlowConfig)
    mel: MelConfig = field(default_factory=MelConfig)
    extras: tuple[ClipExtra, ...] = ()
    """Also deliver `mel_image`, `waveform`, `audio_features`."""

    def __post_init__(self) -> None:
        """Check every field, and those that must fit each other."""
        check_choice("clip.window", self.window, WindowRule)
        check_choice("clip.length_rule", self.length_rule, LengthRule)
        check_choice("clip.dtype", self.dtype, ClipDtype)
        for extra in self.extras:
            check_choice("clip.extras", extra, ClipExtra)
        object.__setattr__(self, "size", tuple(self.size))
        for name in ("num_frames", "frame_stride"):
            check_count(f"clip.{name}", getattr(self, name))
        for name in ("fps", "window_seconds", "hop_seconds", "fraction"):
            check_positive(f"clip.{name}", getattr(self, name))
        if len(self.size) != 2 or not all(8 <= side <= 2048 for side in self.size):
            raise ConfigError(f"clip.size={self.size} must be (height, width), each in 8..2048")
        if self.flow.estimator == "member" and self.flow.mode == "uv":
            raise ConfigError("flow.estimator='member' has one plane; flow.mode='uv' needs two")
        if self.num_frames > 4096:
            raise ConfigError(f"clip.num_frames={self.num_frames} exceeds 4096")
        if self.fraction > 1:
            raise ConfigError(f"clip.fraction={self.fraction} exceeds 1")
        if not self.planes:
            raise ConfigError("clip.channels is empty")
        self._check_windows()

    def _check_windows(self) -> None:
        needed = {"sliding": (True, True), "around": (False, self.hop_seconds is not None)}
        given = (self.window_seconds is not None, self.hop_seconds is not None)
        if given != needed.get(self.window, (False, False)):
            raise ConfigError(
                "clip.window_seconds and clip.hop_seconds go with window='sliding' (both), "
                "clip.hop_seconds with 'around', "
                f"got window={self.window!r}, {self.window_seconds}, {self.hop_seconds}"
            )
        if self.window == "around" and self.fraction != 1:
            raise ConfigError(f"window='around' takes whole samples, not fraction={self.fraction}")

    @property
    def has_many_windows(self) -> bool:
        """Whether one sample can give several clips."""
        return self.window in ("sliding", "around")

    @property
    def planes(self) -> tuple[str, ...]:
        """Plane names in memory order; `flow` stands as flow_u, flow_v in `uv` mode."""
        planes = resolve_channels(self.channels)
        if self.flow.mode == "uv":
            return tuple(
                part
                for plane in planes
                for part in (("flow_u", "flow_v") if plane == "flow" else (plane,))
            )
        return planes

    @property
    def needs_audio(self) -> bool:
        """Whether the sound must be decoded."""
        return MEL in self.planes or bool(self.extras)

    @property
    def needs_flow(self) -> bool:
        """Whether motion must be estimated."""
        return needs_flow(self.planes)
