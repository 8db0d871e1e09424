"""Settings, one frozen dataclass a room: default and unit beside each field, checked when made."""

from fmrgb_stream.config.checks import check_choice, check_count, check_positive
from fmrgb_stream.config.clip import (
    AudioPlane,
    ClipConfig,
    ClipDtype,
    ClipExtra,
    FlowConfig,
    FlowEstimator,
    FlowMode,
    LengthRule,
    MelConfig,
    MelScale,
    WindowRule,
)
from fmrgb_stream.config.index import IndexConfig
from fmrgb_stream.config.loader import (
    BadSampleRule,
    DecodePlace,
    LoaderConfig,
    TailRule,
    VideoDecoder,
    WorkerKind,
)
from fmrgb_stream.config.pack import (
    SPLIT_NAME,
    EncoderPreset,
    PackConfig,
    ProxyCodec,
    SourceParser,
)

__all__ = [
    "SPLIT_NAME",
    "AudioPlane",
    "BadSampleRule",
    "ClipConfig",
    "ClipDtype",
    "ClipExtra",
    "DecodePlace",
    "EncoderPreset",
    "FlowConfig",
    "FlowEstimator",
    "FlowMode",
    "IndexConfig",
    "LengthRule",
    "LoaderConfig",
    "MelConfig",
    "MelScale",
    "PackConfig",
    "ProxyCodec",
    "SourceParser",
    "TailRule",
    "VideoDecoder",
    "WindowRule",
    "WorkerKind",
    "check_choice",
    "check_count",
    "check_positive",
]
