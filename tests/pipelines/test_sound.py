"""Stretches of the sound member, against libsndfile reading the whole of it."""

import io
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from fmrgb_stream.clips.flac import add_seek_table, flac_layout
from fmrgb_stream.errors import DecodeError
from fmrgb_stream.pipelines.cpu.flac import FlacDecoder
from fmrgb_stream.pipelines.cpu.sound import SoundReader
from tests.support.encoded import encoded_sample

NUM_SAMPLES = 30_000


def noise(num_samples=NUM_SAMPLES):
    return (0.2 * np.random.default_rng(3).standard_normal(num_samples)).astype(np.float32)


def sample_of(*, rate=16000, with_table=True):
    sample = encoded_sample(waveform_S=noise(), rate=rate)
    content = bytes(sample.audio)
    return replace(sample, audio=memoryview(add_seek_table(content) if with_table else content))


def whole(sample):
    return soundfile.read(io.BytesIO(sample.audio), dtype="float32")[0]


def with_flipped_bit(sample, block):
    content = bytearray(sample.audio)
    start = flac_layout(sample.audio).find_block(sample.audio, block)
    content[start + 1000] ^= 4
    return replace(sample, audio=memoryview(bytes(content)))


@pytest.mark.parametrize("with_table", [True, False])
@pytest.mark.parametrize(
    ("first", "num_samples"),
    [(0, NUM_SAMPLES), (4096, 4096), (4095, 2), (29_999, 1), (12_345, 10_000), (28_700, 1300)],
)
def test_a_stretch_is_libsndfiles_to_the_bit(first, num_samples, with_table):
    sample = sample_of(with_table=with_table)
    with SoundReader(sample) as sound:
        found = sound.read(first, num_samples)
    np.testing.assert_array_equal(found, whole(sample)[first : first + num_samples])


def test_beyond_both_ends_there_is_silence():
    sample = sample_of()
    with SoundReader(sample) as sound:
        found = sound.read(-100, NUM_SAMPLES + 200)
    np.testing.assert_array_equal(found, np.pad(whole(sample), 100))


@pytest.mark.parametrize("first", [-500, NUM_SAMPLES, NUM_SAMPLES + 9])
def test_a_stretch_outside_is_silent(first):
    with SoundReader(sample_of()) as sound:
        assert not sound.read(first, 400).any()


def test_one_decoder_serves_files_of_other_rates_and_blocks():
    decoder = FlacDecoder()
    small_blocks = io.BytesIO()
    soundfile.write(
        small_blocks, noise(), 16000, format="FLAC", subtype="PCM_16", compression_level=0.0
    )
    first = sample_of()
    samples = [
        first,
        sample_of(rate=44100),
        replace(first, audio=memoryview(small_blocks.getvalue())),
        first,
    ]
    for sample in samples:
        with SoundReader(sample, decoder) as sound:
            np.testing.assert_array_equal(sound.read(5000, 9000), whole(sample)[5000:14_000])


def test_24_bit_sound_is_read_too():
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(), 16000, format="FLAC", subtype="PCM_24")
    sample = replace(sample_of(), audio=memoryview(buffer.getvalue()))
    with SoundReader(sample) as sound:
        np.testing.assert_array_equal(sound.read(777, 20_000), whole(sample)[777:20_777])


def test_stereo_sound_is_an_error():
    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack([noise()] * 2, axis=1), 16000, format="FLAC")
    sample = replace(sample_of(), audio=memoryview(buffer.getvalue()))
    with pytest.raises(DecodeError, match=r"\(16000, 2, 30000\)"), SoundReader(sample):
        pass


@pytest.mark.parametrize("block", [0, 2, 7])
def test_a_flipped_bit_is_an_error(block, capfd):
    broken = with_flipped_bit(sample_of(), block)
    with pytest.raises(DecodeError, match="cannot be decoded"), SoundReader(broken) as sound:
        sound.read(0, NUM_SAMPLES)
    assert capfd.readouterr() == ("", "")


def test_a_missing_block_is_an_error():
    sample = sample_of(with_table=False)
    layout, content = flac_layout(sample.audio), bytes(sample.audio)
    second, third = (layout.find_block(sample.audio, k) for k in (2, 3))
    broken = replace(sample, audio=memoryview(content[:second] + content[third:]))
    with pytest.raises(DecodeError, match="end at sample 25904"), SoundReader(broken) as sound:
        sound.read(0, NUM_SAMPLES)


def test_a_broken_block_elsewhere_does_no_harm():
    sample = sample_of()
    with SoundReader(with_flipped_bit(sample, 6)) as sound:
        np.testing.assert_array_equal(sound.read(5000, 9000), whole(sample)[5000:14_000])


def test_a_decoder_serves_on_after_a_broken_sample():
    sample, decoder = sample_of(), FlacDecoder()
    broken = with_flipped_bit(sample, 2)
    with pytest.raises(DecodeError), SoundReader(broken, decoder) as sound:
        sound.read(0, NUM_SAMPLES)
    with SoundReader(sample, decoder) as sound:
        np.testing.assert_array_equal(sound.read(0, NUM_SAMPLES), whole(sample))
