"""Sound of another kind becomes mono WAV on the sample's clock, whole or around a clip."""

import io
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from fmrgb_stream.clips.plain_sound import needed_span, with_plain_sound
from fmrgb_stream.config import ClipConfig, MelConfig
from fmrgb_stream.errors import DecodeError
from fmrgb_stream.sample import EncodedSample
from tests.support.encoded import clip_plan
from tests.support.media import Sound, chirps_at, find_chirps, write_media
from tests.support.samples import sample_info

TIMES = (0.5, 3.2, 6.1, 8.7)


def sample_of(content, *, zero=0.0, seconds=10.0):
    info = sample_info(
        has_audio=True, audio_sample_rate=16000, num_audio_samples=round(seconds * 16000),
        sound_zero_seconds=zero,
    )  # fmt: skip
    return EncodedSample(
        sample_id=0, shard_url="memory", info=info, video=None, audio=memoryview(content)
    )


def wave_of(sample):
    samples, rate = soundfile.read(io.BytesIO(bytes(sample.audio)), dtype="int16")
    assert (rate, samples.ndim, len(samples)) == (16000, 1, sample.info.num_audio_samples)
    return samples.astype(np.float64) / 32768


@pytest.fixture(scope="module", params=["m4a", "mp3", "wav", "ogg", "mkv"])
def media(request, tmp_path_factory):
    codecs = {"m4a": "aac", "mp3": "libmp3lame", "wav": "pcm_s16le", "ogg": "libopus", "mkv": "aac"}
    rate = 44100 if request.param in ("wav", "mp3") else 48000
    sound = Sound(
        chirps_at(TIMES, seconds=10.0, rate=rate), codec=codecs[request.param], rate=rate,
        layout="stereo",
    )  # fmt: skip
    path = tmp_path_factory.mktemp("sound") / f"a.{request.param}"
    return write_media(path, sound=sound).read_bytes()


def test_events_stay_at_their_times(media):
    found = find_chirps(wave_of(with_plain_sound(sample_of(media))), 16000)
    # MP3 and AAC without a container's note of it keep their encoder's delay, which is up to 50 ms.
    assert found == pytest.approx(TIMES, abs=0.055)
    assert np.diff(found) == pytest.approx(np.diff(TIMES), abs=0.001)


def test_part_has_the_samples_that_all_of_it_has(media):
    whole = wave_of(with_plain_sound(sample_of(media)))
    part = wave_of(with_plain_sound(sample_of(media), (5.4, 7.3)))
    assert np.abs(part[5 * 16000 : 8 * 16000] - whole[5 * 16000 : 8 * 16000]).max() < 0.002
    assert not part[: 5 * 16000].any()
    assert not part[8 * 16000 :].any()


def test_zero_moves_the_sound(media):
    found = find_chirps(wave_of(with_plain_sound(sample_of(media))), 16000)
    moved = find_chirps(wave_of(with_plain_sound(sample_of(media, zero=0.25))), 16000)
    assert np.subtract(found, moved) == pytest.approx([0.25] * 4, abs=0.001)


def test_plain_sample_comes_back_as_it_is(media):
    sample = sample_of(media)
    plain = replace(sample, info=replace(sample.info, sound_zero_seconds=None))
    assert with_plain_sound(plain) is plain


@pytest.mark.parametrize("content", [b"", b"\0" * 500, b"RIFF" + b"\1" * 400])
def test_broken_sound_is_a_bad_sample(content):
    with pytest.raises(DecodeError, match="sound"):
        with_plain_sound(sample_of(content))


def test_clip_needs_its_frames_and_half_a_window_around(media):
    assert media
    plan = clip_plan([60, 90], fps=30.0)
    assert needed_span(plan, ClipConfig(num_frames=2)) == pytest.approx((1.0, 4.0))


@pytest.mark.parametrize(
    "clip",
    [ClipConfig(num_frames=2, extras=("waveform",)), ClipConfig(mel=MelConfig.seed(100))],
    ids=["waveform", "seed"],
)
def test_whole_sound_is_decoded_where_a_setting_needs_it(clip):
    assert needed_span(clip_plan([60, 90], fps=30.0), clip) is None
