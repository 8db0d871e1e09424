import io

import numpy as np
import soundfile

from fmrgb_stream.clips.flac import flac_layout
from fmrgb_stream.packing.audio import encode_flac


def test_packed_sound_has_a_seek_point_for_each_block():
    sound = np.sin(np.arange(20_000) / 9).astype(np.float32)
    content = encode_flac(sound, 16000)
    assert flac_layout(memoryview(content)).seek_points is not None
    found, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    assert rate == 16000
    np.testing.assert_allclose(found, sound, atol=1 / 16384)
