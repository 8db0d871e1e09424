"""SampleInfo objects for tests that need no media."""

from dataclasses import replace

from fmrgb_stream.sample import SampleInfo

_PLAIN = SampleInfo(
    key="sample",
    group="group",
    label=0,
    targets=None,
    has_video=True,
    has_audio=False,
    fps=30.0,
    num_frames=30,
    duration_seconds=1.0,
    width=160,
    height=128,
    codec="h264",
    color_matrix="bt601",
    color_range="limited",
    rotation_degrees=0,
    audio_sample_rate=0,
    num_audio_samples=0,
    extradata=b"",
    frame_times_seconds=None,
    packets=None,
    members=(),
)


def sample_info(**changes):
    """A plain 30 fps sample with these fields changed; the duration follows the frames."""
    info = replace(_PLAIN, **changes)
    return replace(info, duration_seconds=info.num_frames / info.fps)
