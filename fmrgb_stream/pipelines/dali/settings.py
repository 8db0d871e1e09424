"""What a graph has to know, and what it therefore cannot do. Light to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from fmrgb_stream.channels import MEL, needs_picture
from fmrgb_stream.config import ClipConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.pipelines.waveform_span import WaveformSpan

DaliFlowEstimator = Literal["lucas_kanade", "nvof"]
CPU_CODECS: Final = frozenset({"vp8", "vp9", "mjpeg"})
"""What DALI's own CPU decoder takes; seen with 2.4."""
GPU_CODECS: Final = frozenset({"h264", "hevc", "vp8", "vp9"})
"""What every NVDEC since Turing takes in 8 bits; anything else is decoded on the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSettings:
    """One graph."""

    clip: ClipConfig
    device: str
    """`cpu` or `cuda:<index>`."""
    estimator: DaliFlowEstimator
    span: WaveformSpan
    batch_size: int
    num_threads: int
    queue_depth: int
    """Batches inside the graph at a time."""

    @property
    def device_id(self) -> int | None:
        """The GPU's index; None on the CPU."""
        return None if self.device == "cpu" else int(self.device.partition(":")[2] or 0)

    @property
    def codecs(self) -> frozenset[str]:
        """What the graph's own decoder takes."""
        return CPU_CODECS if self.device_id is None else GPU_CODECS

    @property
    def has_pictures(self) -> bool:
        """Whether any plane is made of frames."""
        return needs_picture(self.clip.planes)

    @property
    def has_bands(self) -> bool:
        """Whether the graph makes the spectrum of the audio plane."""
        return MEL in self.clip.planes

    @property
    def has_mel_image(self) -> bool:
        """Whether the graph makes a mel spectrum for the extra of that name."""
        return "mel_image" in self.clip.extras

    @property
    def has_spectra(self) -> bool:
        """Whether the graph makes any spectrum."""
        return self.has_bands or self.has_mel_image

    @property
    def has_waveform(self) -> bool:
        """Whether the clip's sound is wanted as it is, for itself or for features of it."""
        return bool({"waveform", "audio_features"} & set(self.clip.extras))

    @property
    def has_sound(self) -> bool:
        """Whether sound is decoded."""
        return self.has_spectra or self.has_waveform

    @property
    def has_nvof(self) -> bool:
        """Whether motion is estimated inside the graph."""
        return self.clip.needs_flow and self.estimator == "nvof"

    @property
    def has_blends(self) -> bool:
        """Whether a second frame is fed for each clip frame."""
        return self.clip.length_rule == "zoom"


def check_clip(clip: ClipConfig) -> None:
    """Refuse what this pipeline cannot make.

    Raises:
        ConfigError: the audio plane or the flow estimator needs the CPU pipeline.
    """
    if clip.mel.seed_frequency_param is not None and MEL in clip.planes:
        raise ConfigError(
            "MelConfig.seed() does not run on the DALI pipeline, which makes no whole-sample "
            "resampling; use backend='cpu'"
        )
    if clip.needs_flow and clip.flow.estimator in ("dis", "member"):
        raise ConfigError(
            f"flow.estimator={clip.flow.estimator!r} does not run on the DALI pipeline; use "
            "'auto', 'lucas_kanade' or 'nvof', or backend='cpu'"
        )
