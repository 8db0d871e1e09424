"""A stretch of sound -> its spectra, as nodes of the DALI graph.

The spectrum is that of `pipelines/audio_planes.py`: DALI's Hann window is another one, so it is given
the project's own, which scales to power re full scale as well.
"""

from __future__ import annotations

from typing import Any, Final

from fmrgb_stream.channels import DB_RANGE
from fmrgb_stream.config import MelConfig
from fmrgb_stream.pipelines.bands import fourier_window, num_stft_bins
from fmrgb_stream.pipelines.dali.library import load_dali
from fmrgb_stream.pipelines.dali.settings import GraphSettings

FLOOR_DB: Final = -DB_RANGE


def sound_outputs(columns: dict[str, Any], settings: GraphSettings) -> dict[str, Any]:
    """The spectra that the settings ask for, by name; of the stretch in the column `sound`."""
    config, rate = settings.clip.mel, settings.span.sample_rate
    stretch = columns["sound"] if settings.device_id is None else columns["sound"].gpu()
    power = _power(stretch, config)
    outputs: dict[str, Any] = {}
    if settings.has_bands:
        outputs["bands"] = bands(power, config, sample_rate=rate)
    if settings.has_mel_image:
        outputs["mel"] = _mel_decibels(power, config, sample_rate=rate)
    return outputs


def bands(power: Any, config: MelConfig, *, sample_rate: int) -> Any:
    """What the audio plane is made of, float32 [rows, columns], padded to the batch's longest.

    `mel`, `logmel`, `stft`: dB re full scale, floored; `simple`: power of bins.
    """
    if config.method == "simple":
        return _padded(power, fill=0.0)
    if config.method == "stft":
        return _decibels(power[: num_stft_bins(config), :])
    return _mel_decibels(power, config, sample_rate=sample_rate)


def _power(stretch: Any, config: MelConfig) -> Any:
    """float32 [bins, columns] re full scale; column n is centred on sample n * hop + n_fft / 2."""
    return load_dali().fn.spectrogram(
        stretch,
        nfft=config.n_fft,
        window_length=config.n_fft,
        window_fn=fourier_window(config).tolist(),
        window_step=config.hop_length_samples,
        power=2,
        center_windows=False,
        layout="ft",
    )


def _mel_decibels(power: Any, config: MelConfig, *, sample_rate: int) -> Any:
    mel = load_dali().fn.mel_filter_bank(
        power,
        sample_rate=sample_rate,
        nfilter=config.num_mels,
        freq_low=config.f_min_hz,
        freq_high=sample_rate / 2 if config.f_max_hz is None else config.f_max_hz,
        mel_formula=config.mel_scale,
        normalize=config.slaney_norm,
    )
    return _decibels(mel)


def _decibels(power: Any) -> Any:
    decibels = load_dali().fn.to_decibels(power, multiplier=10, reference=1.0, cutoff_db=FLOOR_DB)
    return _padded(decibels, fill=FLOOR_DB)


def _padded(values: Any, *, fill: float) -> Any:
    return load_dali().fn.pad(values, axes=[1], fill_value=fill)
