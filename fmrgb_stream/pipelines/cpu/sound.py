"""The FLAC member of a sample -> stretches of its waveform."""

from __future__ import annotations

import io
from types import TracebackType

import numpy as np
import soundfile
from numpy.typing import NDArray

from fmrgb_stream.errors import DecodeError
from fmrgb_stream.sample import EncodedSample


class SoundReader:
    """Reads windows of one sample's sound; a context manager. A sample without sound is silent.

    The member's bytes are copied once, into the file object that libsndfile reads.
    """

    def __init__(self, sample: EncodedSample) -> None:
        """Remember the sample; nothing is opened yet."""
        self._sample = sample
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
        try:
            self._file = soundfile.SoundFile(io.BytesIO(content))
        except soundfile.LibsndfileError as error:
            raise self._error(f"the audio member cannot be read: {error}") from error
        found = (self._file.samplerate, self._file.channels, self._file.frames)
        if found != (info.audio_sample_rate, 1, info.num_audio_samples):
            self._file.close()
            raise self._error(
                f"the audio member holds (Hz, channels, samples) {found}, the index says "
                f"{(info.audio_sample_rate, 1, info.num_audio_samples)}"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the member."""
        if self._file is not None:
            self._file.close()

    def read(self, first_sample: int, num_samples: int) -> NDArray[np.float32]:
        """float32 [num_samples] in -1..1; silence before sample 0 and after the end.

        Raises:
            DecodeError: the bytes are broken.
        """
        waveform_S = np.zeros(num_samples, np.float32)
        start = max(first_sample, 0)
        stop = min(first_sample + num_samples, self._sample.info.num_audio_samples)
        if self._file is None or start >= stop:
            return waveform_S
        try:
            self._file.seek(start)
            sound = self._file.read(stop - start, dtype="float32")
        except soundfile.LibsndfileError as error:
            raise self._error(f"the audio member cannot be decoded: {error}") from error
        if len(sound) != stop - start:
            raise self._error(f"the audio member ends {stop - start - len(sound)} samples early")
        waveform_S[start - first_sample : stop - first_sample] = sound
        return waveform_S

    def _error(self, message: str) -> DecodeError:
        return DecodeError(message, shard=self._sample.shard_url, key=self._sample.info.key)
