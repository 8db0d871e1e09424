"""Grey companions of a picture: exact products, luma of either range, and what is missing is told."""

import numpy as np
import pytest

from fmrgb_stream.errors import DecodeError
from fmrgb_stream.pipelines.cpu.gray_video import GrayVideoReader, apply_matte
from fmrgb_stream.pipelines.cpu.shown import shown_frames
from fmrgb_stream.sample import EncodedSample, SampleInfo
from tests.support.media import Picture, write_media

NUM_FRAMES = 10


def sample_of(num_frames):
    info = SampleInfo(
        key="a", group="a", label=None, targets=None, has_video=True, has_audio=False,
        fps=30.0, num_frames=num_frames, duration_seconds=num_frames / 30, width=64, height=48,
        codec="h264", color_matrix="bt601", color_range="limited", rotation_degrees=0,
        audio_sample_rate=0, num_audio_samples=0, extradata=b"", frame_times_seconds=None,
        packets=None, members=(),
    )  # fmt: skip
    return EncodedSample(sample_id=0, shard_url="a.tar", info=info, video=None, audio=None)


def grays(levels):
    levels = np.asarray(levels, np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (len(levels), 48, 64, 3)).copy()


def test_matte_multiplies_every_pair_of_values_to_the_nearest_whole_number():
    values_HW, mattes_HW = np.meshgrid(np.arange(256), np.arange(256))
    picture_3HW = np.stack([values_HW] * 3).astype(np.uint8)
    apply_matte(picture_3HW, mattes_HW.astype(np.uint8))
    truth = np.rint(values_HW * mattes_HW / 255)
    np.testing.assert_array_equal(picture_3HW, np.stack([truth] * 3))


def test_matte_of_another_maker_in_limited_range_reaches_black_and_white(tmp_path):
    frames = grays([0, 255] * (NUM_FRAMES // 2))
    path = write_media(tmp_path / "a.mp4", picture=Picture(frames, options=(("qp", "2"),)))
    planes = GrayVideoReader(size=(24, 32)).planes(
        sample_of(NUM_FRAMES), memoryview(path.read_bytes()), range(NUM_FRAMES)
    )
    assert planes.shape == (NUM_FRAMES, 24, 32)
    assert np.abs(planes.astype(int) - frames[:, :1, :1, 0]).max() <= 1


def test_missing_frames_are_told(tmp_path):
    path = write_media(tmp_path / "a.mp4", picture=Picture(grays([9] * 6)))
    with pytest.raises(DecodeError, match=r"2 of 3 wanted frames .* the first is 6"):
        GrayVideoReader(size=(24, 32)).planes(
            sample_of(NUM_FRAMES), memoryview(path.read_bytes()), [5, 6, 7]
        )


def test_noise_is_a_bad_sample():
    with pytest.raises(DecodeError, match="cannot be opened"):
        GrayVideoReader(size=(24, 32)).planes(sample_of(4), memoryview(b"x" * 500), [0])


def test_shown_frames_repeat_blend_and_pad():
    asked = []

    def read(indices):
        asked.extend(indices)
        return np.array([10 * index for index in indices], np.uint8)[:, None, None]

    indices, seconds = np.array([4, 4, -1, 2, 7]), np.array([5, 4, 3, 3, 8])
    weights = np.array([0.25, 0.5, 0.5, 0.5, 0.0])
    shown = shown_frames(indices, seconds, weights, read)[:, 0, 0]
    # 40 + 0.25 * 10, rounded to even; the frame itself; padding; 20 and 30; no weight.
    assert shown.tolist() == [42, 40, 0, 25, 70]
    assert asked == [2, 3, 4, 5, 7]
