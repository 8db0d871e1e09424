"""Videos of channels: every value comes back, at its own time, and the sheet shows them."""

import csv

import av
import numpy as np
import pytest
import soundfile

from fmrgb_stream import ClipConfig, build_loader
from fmrgb_stream.config import FlowConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.shards import find_sample, open_dataset
from fmrgb_stream.viewing.channel_videos import write_videos
from fmrgb_stream.viewing.clip_view import view_clip
from fmrgb_stream.viewing.contact_sheet import draw_contact_sheet
from fmrgb_stream.viewing.sprites import palette
from tests.support.datasets import first_number
from tests.support.media import read_numbers
from tests.support.viewed import VARIABLE_TIMES

CLIP = ClipConfig(num_frames=12, frame_stride=1, size=(64, 96), window="start")


def view_of(root, key, clip=CLIP):
    store, manifest = open_dataset(root)
    found = find_sample(store, manifest, key)
    return view_clip(
        found.reader, found.sample_id, clip=clip, audio_sample_rate=manifest.audio_sample_rate
    )


def read_video(path, *, pix_fmt="gray"):
    """(frames, times, rate) of a video file."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        shown = [
            (frame.to_ndarray(format=pix_fmt), frame.time) for frame in container.decode(stream)
        ]
        frames, times = zip(*shown, strict=True)
        return np.stack(frames), list(times), stream.average_rate


@pytest.fixture(scope="module")
def written(numbered, tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    write_videos(view_of(numbered, "clip-003"), folder)
    return folder


def test_every_value_of_every_channel_comes_back(numbered, written):
    with build_loader(
        numbered, batch_size=8, shuffle=False, clip=CLIP, worker_kind="thread", num_workers=1
    ) as loader:
        (batch,) = loader
    planes = batch.clip[batch.keys.index("clip-003")].numpy()
    for name, plane in zip(batch.channels, planes, strict=True):
        frames, _, _ = read_video(written / f"{name}.mkv")
        assert np.array_equal(frames, plane), name
    colour, _, _ = read_video(written / "rgb.mkv", pix_fmt="rgb24")
    assert np.array_equal(colour, planes[:3].transpose(1, 2, 3, 0))


def test_the_colour_video_shows_every_frame_once(written):
    frames, _, _ = read_video(written / "rgb.mkv", pix_fmt="rgb24")
    assert read_numbers(frames) == [first_number(3) + k for k in range(12)]


def test_the_rate_is_the_samples_own(written):
    _, times, rate = read_video(written / "mel.mkv")
    assert rate == 10
    assert times == pytest.approx([k / 10 for k in range(12)])


def test_the_times_are_listed(written):
    with (written / "times.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["source_frame"]) for row in rows] == list(range(12))
    assert [float(row["time_seconds"]) for row in rows] == pytest.approx(
        [k / 10 for k in range(12)]
    )


def test_the_sound_is_beside_the_videos(written):
    wave, rate = soundfile.read(written / "sound.flac")
    loudest = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))).argmax() * rate / len(wave)
    assert (len(wave), rate) == (19200, 16000)
    assert loudest == pytest.approx(200 + 50 * 3, abs=2)


def test_strided_frames_play_at_the_strided_rate(numbered, tmp_path):
    clip = ClipConfig(num_frames=4, frame_stride=3, size=(64, 96), window="start")
    write_videos(view_of(numbered, "clip-000", clip), tmp_path)
    frames, times, rate = read_video(tmp_path / "rgb.mkv", pix_fmt="rgb24")
    assert read_numbers(frames) == [0, 3, 6, 9]
    assert times == pytest.approx([0, 0.3, 0.6, 0.9])
    assert float(rate) == pytest.approx(10 / 3, rel=1e-3)


def test_variable_times_are_kept(copied, tmp_path):
    clip = ClipConfig(num_frames=len(VARIABLE_TIMES), frame_stride=1, size=(64, 96), window="start")
    write_videos(view_of(copied, "variable", clip), tmp_path)
    frames, times, _ = read_video(tmp_path / "rgb.mkv", pix_fmt="rgb24")
    assert read_numbers(frames) == list(range(len(VARIABLE_TIMES)))
    assert times == pytest.approx(VARIABLE_TIMES, abs=6e-4)


def test_repeated_frames_are_left_out(numbered, tmp_path):
    clip = ClipConfig(num_frames=20, frame_stride=1, size=(16, 24), window="start")
    write_videos(view_of(numbered, "clip-000", clip), tmp_path)
    frames, _, _ = read_video(tmp_path / "red.mkv")
    assert len(frames) == 12


def test_channels_are_those_asked_for(numbered, tmp_path):
    clip = ClipConfig(
        num_frames=4, size=(16, 24), channels="gray3", flow=FlowConfig(mode="uv"), window="start"
    )
    paths = write_videos(view_of(numbered, "clip-000", clip), tmp_path)
    assert [path.name for path in paths] == [
        *("gray.mkv", "flow_u.mkv", "flow_v.mkv", "mel.mkv", "sound.flac", "times.csv"),
    ]


def test_a_sample_without_sound_gives_no_sound_file(odd, tmp_path):
    paths = write_videos(view_of(odd, "mute"), tmp_path)
    assert "sound.flac" not in [path.name for path in paths]
    assert read_video(tmp_path / "mel.mkv")[0].max() == 0


def test_frames_of_one_time_are_refused(copied, tmp_path):
    clip = ClipConfig(
        num_frames=6, frame_stride=1, fps=None, size=(16, 24), window="uniform", fraction=0.1,
        length_rule="zoom",
    )  # fmt: skip
    with pytest.raises(ConfigError, match="one time"):
        write_videos(view_of(copied, "variable", clip), tmp_path)


def test_the_sheet_holds_the_planes_pixels(numbered):
    view = view_of(
        numbered,
        "clip-003",
        ClipConfig(num_frames=12, frame_stride=1, size=(112, 112), window="start"),
    )
    sheet = np.asarray(draw_contact_sheet(view, title="clip-003", num_frames=3))
    colours = np.frombuffer(palette("mel"), np.uint8).reshape(256, 3)
    last_mel = colours[view.plane("mel")[11]]
    # The last row and column, before the gap.
    assert np.array_equal(sheet[-118:-6, -118:-6], last_mel)


def test_a_sheet_has_a_row_a_channel_and_a_column_a_frame(numbered):
    view = view_of(
        numbered,
        "clip-000",
        ClipConfig(num_frames=12, size=(112, 112), frame_stride=1, window="start"),
    )
    one = draw_contact_sheet(view, title="", num_frames=1)
    three = draw_contact_sheet(view, title="", num_frames=3)
    assert (three.width - one.width) == 2 * (112 + 6)
    gray = view_of(
        numbered,
        "clip-000",
        ClipConfig(
            num_frames=12, size=(112, 112), channels="gray3", frame_stride=1, window="start"
        ),
    )
    # Five channels and the colour picture, or three channels.
    assert one.height - draw_contact_sheet(gray, title="", num_frames=1).height == 3 * (112 + 6)
