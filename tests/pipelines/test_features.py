import sys

import librosa
import numpy as np
import pytest

from fmrgb_stream.errors import MissingExtraError
from fmrgb_stream.pipelines.features import FEATURE_NAMES, audio_features
from tests.support.media import tone


def test_features_are_librosas_means_in_the_documented_order():
    y = tone(700, 1.5, rate=16000) + tone(2100, 1.5, rate=16000, level=0.1)
    features = dict(zip(FEATURE_NAMES, audio_features(y, sample_rate=16000), strict=True))
    mfcc = librosa.feature.mfcc(y=y, sr=16000, n_mfcc=20).mean(axis=1)
    expected = {
        "chroma_stft": librosa.feature.chroma_stft(y=y, sr=16000).mean(),
        "rms": np.sqrt(np.mean(y**2)),
        "spectral_centroid": librosa.feature.spectral_centroid(y=y, sr=16000).mean(),
        "spectral_bandwidth": librosa.feature.spectral_bandwidth(y=y, sr=16000).mean(),
        "rolloff": librosa.feature.spectral_rolloff(y=y, sr=16000).mean(),
        "zero_crossing_rate": 2 * 700 / 16000,
    } | {f"mfcc_{i + 1}": value for i, value in enumerate(mfcc)}
    assert list(features) == list(expected)
    # The mean over frames treats the ends differently from the mean over samples.
    loose = {"rms", "zero_crossing_rate"}
    for name, value in expected.items():
        assert features[name] == pytest.approx(value, rel=0.08 if name in loose else 1e-4)


def test_there_are_26():
    assert len(FEATURE_NAMES) == 26


def test_features_of_silence_are_zero():
    assert not audio_features(np.zeros(16000, np.float32), sample_rate=16000).any()


def test_short_sounds_have_features():
    assert np.isfinite(audio_features(tone(700, 0.02, rate=16000), sample_rate=16000)).all()


def test_missing_librosa_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(MissingExtraError, match=r"fmrgb_stream\[features\]"):
        audio_features(np.ones(16000, np.float32), sample_rate=16000)
