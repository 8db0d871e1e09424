"""The FLAC member of a sample -> stretches of its waveform."""

from __future__ import annotations

import io
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from fmrgb_stream.clips.flac import FlacLayout, flac_layout
from fmrgb_stream.errors import DecodeError
from fmrgb_stream.pipelines.cpu.flac import FlacDecoder
from fmrgb_stream.sample import EncodedSample

if TYPE_CHECKING:
    import soundfile

INT16_UNIT: Final = np.float32(1 / 32768)


class SoundReader:
    """Reads windows of one sample's sound; a context manager. A sample without sound is silent.

    Members in the packer's form (mono, 16-bit, blocks of one size) are decoded block by block out
    of the shard's own bytes. Any other FLAC goes through libsndfile, which copies it first, and is
    loaded for it: 6 MB that most workers never need. Both give the same samples.
    """

    def __init__(self, sample: EncodedSample, decoder: FlacDecoder | None = None) -> None:
        """Remember the sample; nothing is opened yet. A `decoder` may serve many samples in turn."""
        self._sample = sample
        self._decoder = decoder or FlacDecoder()
        self._layout: FlacLayout | None = None
        self._file: soundfile.SoundFile | None = None

    def __enter__(self) -> SoundReader:
        """Open the member, if there is one.

        Raises:
            DecodeError: it is missing, cannot be read, or is not what the index says.
        """
        info, content = self._sample.info, self._sample.audio
        if not info.has_audio:
            return self
        if content is None:
            raise self._error("the audio member is missing")
        self._layout = flac_layout(content)
        if self._layout is not None:
            found = (self._layout.sample_rate, 1, self._layout.num_samples)
        else:
            found = self._open_file(content)
        expected = (info.audio_sample_rate, 1, info.num_audio_samples)
        if found != expected:
            self._close_file()
            raise self._error(
                f"the audio member holds (Hz, channels, samples) {found}, the index says {expected}"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the member."""
        self._close_file()

    def read(self, first_sample: int, num_samples: int) -> NDArray[np.float32]:
        """float32 [num_samples] in -1..1; silence before sample 0 and after the end.

        Raises:
            DecodeError: the bytes are broken.
        """
        start = max(first_sample, 0)
        stop = min(first_sample + num_samples, self._sample.info.num_audio_samples)
        if not self._sample.info.has_audio or start >= stop:
            return np.zeros(num_samples, np.float32)
        waveform_S = np.empty(num_samples, np.float32)
        waveform_S[: start - first_sample] = 0
        waveform_S[stop - first_sample :] = 0
        self._decode(start, stop, waveform_S[start - first_sample : stop - first_sample])
        return waveform_S

    def _decode(self, start: int, stop: int, target_S: NDArray[np.float32]) -> None:
        content, layout = self._sample.audio, self._layout
        if layout is not None and content is not None:
            try:
                decoded_S = self._decoder.decode(content, layout, first=start, stop=stop)
            except ValueError as error:
                raise self._error(f"the audio member cannot be decoded: {error}") from error
            # In two steps: numpy does them four times as fast as one product of mixed types.
            target_S[:] = decoded_S
            target_S *= INT16_UNIT
        elif self._file is not None:
            import soundfile

            try:
                self._file.seek(start)
                sound = self._file.read(stop - start, dtype="float32")
            except soundfile.LibsndfileError as error:
                raise self._error(f"the audio member cannot be decoded: {error}") from error
            if len(sound) != len(target_S):
                missing = len(target_S) - len(sound)
                raise self._error(f"the audio member ends {missing} samples early")
            target_S[:] = sound

    def _open_file(self, content: memoryview) -> tuple[int, int, int]:
        import soundfile

        try:
            self._file = soundfile.SoundFile(io.BytesIO(content))
        except soundfile.LibsndfileError as error:
            raise self._error(f"the audio member cannot be read: {error}") from error
        return self._file.samplerate, self._file.channels, self._file.frames

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()

    def _error(self, message: str) -> DecodeError:
        return DecodeError(message, shard=self._sample.shard_url, key=self._sample.info.key)


class SampleSound:
    """Stretches of one sample after the other (see `SoundDecoder`). Belongs to one thread."""

    def __init__(self) -> None:
        """Nothing is opened yet."""
        self._flac = FlacDecoder()

    def stretches(
        self, sample: EncodedSample, spans: Sequence[tuple[int, int]]
    ) -> list[NDArray[np.float32]]:
        """Each span's sound, float32 in -1..1.

        Raises:
            DecodeError: the member is not what the index says, or broken inside a span.
        """
        with SoundReader(sample, self._flac) as sound:
            return [sound.read(first, num_samples) for first, num_samples in spans]
