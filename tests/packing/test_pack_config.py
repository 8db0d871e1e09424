"""Settings that cannot work are refused when they are made."""

import pytest

from fmrgb_stream.config import ClipConfig, LoaderConfig, MelConfig, PackConfig
from fmrgb_stream.errors import ConfigError

COUNTS = [
    *[(PackConfig, name) for name in ("short_side", "mag", "gop_frames", "audio_sample_rate",
                                      "samples_per_shard", "stats_samples", "num_workers",
                                      "max_pixels")],
    *[(ClipConfig, name) for name in ("num_frames", "frame_stride")],
    *[(MelConfig, name) for name in ("n_fft", "win_length_samples", "hop_length_samples",
                                     "num_mels", "seed_frequency_param")],
    *[(LoaderConfig, name) for name in ("batch_size", "num_workers", "prefetch_batches",
                                        "block_samples", "shuffle_window_blocks")],
]  # fmt: skip


@pytest.mark.parametrize(("config", "name"), COUNTS)
@pytest.mark.parametrize("value", [20.5, 20.0, True, 0, -1, "20"])
def test_counts_are_whole_and_positive(config, name, value):
    with pytest.raises(ConfigError, match=f"{name}=.*positive whole number"):
        config(**{name: value})


@pytest.mark.parametrize(
    "setting", [{"preset": "quick"}, {"crf": 23.5}, {"crf": 52}, {"max_duration_seconds": 0.0}]
)
def test_settings_of_the_encoder_and_limits_are_checked(setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        PackConfig(**setting)
