"""What DALI would decode to something else goes to the host, and the log says so once."""

import io
from dataclasses import replace

import av
import numpy as np
import pytest

from fmrgb_stream.clips.count import scan_packets
from fmrgb_stream.clips.hidden import hides_frames, shows_one_frame
from fmrgb_stream.config import ClipConfig
from fmrgb_stream.pipelines.dali import prepare
from tests.support.dali import cpu_pipeline, dali_pipeline, tasks
from tests.support.encoded import VideoOptions, encoded_sample, packet_table
from tests.support.media import noisy, numbered_frames, read_numbers

pytest.importorskip("nvidia.dali")

pytestmark = pytest.mark.timeout(60)
CLIP = ClipConfig(num_frames=4, frame_stride=9, size=(48, 80), channels="rgb", window="start")
NUM_FRAMES = 60
LOOKING_AHEAD = {
    # One pass with a variable rate in real time: libvpx then decides on alt-ref frames by itself.
    "auto-alt-ref": "1", "lag-in-frames": "25", "deadline": "realtime", "cpu-used": "6", "g": "100",
}  # fmt: skip


def moving_frames():
    """Numbers above a pattern that moves, which makes a frame of the future worth keeping."""
    frames = numbered_frames(NUM_FRAMES, width=160, height=96)
    noise = np.random.default_rng(0).integers(60, 196, (12, 80, 1), np.uint8)
    wide = noise.repeat(5, 0).repeat(5, 1).repeat(3, 2)
    for k, frame in enumerate(frames):
        frame[36:] = wide[:60, 2 * k : 2 * k + 160]
    return frames


def vpx_file(codec, *, container, options, bit_rate=80_000):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.bit_rate = bit_rate
        for frame in moving_frames():
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def with_file(content, *, codec, has_table, num_frames=NUM_FRAMES):
    """A sample of this file, as a packer that copies would index it."""
    sample = encoded_sample(
        numbered_frames(2, width=160, height=96), options=VideoOptions(codec="libvpx-vp9")
    )
    table, extradata = packet_table(content) if has_table else (None, b"")
    info = replace(
        sample.info, codec=codec, num_frames=num_frames, packets=table, extradata=extradata,
        duration_seconds=num_frames / 30,
    )  # fmt: skip
    return replace(sample, info=info, video=memoryview(content))


@pytest.fixture(scope="module")
def vp9_with_alt_ref():
    return vpx_file("libvpx-vp9", container="mp4", options=LOOKING_AHEAD)


@pytest.fixture(scope="module")
def vp9_plain():
    options = {"auto-alt-ref": "0", "lag-in-frames": "0", "deadline": "realtime", "cpu-used": "6"}
    return vpx_file("libvpx-vp9", container="mp4", options=options)


def hidden_vp8():
    """A VP8 file of which the frame in packet 7 is not shown: bit 4 of its first byte (RFC 6386)."""
    content = bytearray(vpx_file("libvpx", container="webm", options={"deadline": "realtime"}))
    with av.open(io.BytesIO(content)) as container:
        packets = [bytes(p) for p in container.demux(container.streams.video[0]) if p.size]
    place = content.index(packets[7])
    content[place] &= 0xEF
    return bytes(content)


def decoded_on_host(sample, monkeypatch):
    """How many of the clips of an epoch the host decoded, and what they show."""
    graph_decoded = []
    real = prepare.feed_clip
    monkeypatch.setattr(
        prepare,
        "feed_clip",
        lambda *a, **k: graph_decoded.append(real(*a, **k)) or graph_decoded[-1],
    )
    pipe = dali_pipeline([sample], CLIP)
    (batch,) = pipe.batches(tasks((0,)))
    pipe.close()
    (expected,) = cpu_pipeline([sample], CLIP).batches(tasks((0,)))
    difference = (batch.clip.float() - expected.clip.float()).abs().mean()
    assert difference <= 2.0, "the pipelines agree"
    return not graph_decoded[0].is_encoded, batch


@pytest.mark.parametrize("has_table", [True, False])
def test_vp9_with_alt_ref_frames_is_decoded_on_the_host(
    vp9_with_alt_ref, monkeypatch, caplog, has_table
):
    num_packets, hides = scan_packets(vp9_with_alt_ref)
    assert (num_packets, hides) == (NUM_FRAMES, True), "superframes: as many packets as frames"
    sample = with_file(vp9_with_alt_ref, codec="vp9", has_table=has_table)
    on_host, batch = decoded_on_host(sample, monkeypatch)
    assert on_host
    # 9 frames apart; the strip of numbers is above the pattern.
    frames_THWC = batch.clip[0].permute(1, 2, 3, 0).numpy()[:, :18]
    assert read_numbers(frames_THWC) == [0, 9, 18, 27]
    assert "never shown (alt-ref)" in caplog.text


@pytest.mark.parametrize("has_table", [True, False])
def test_plain_vp9_is_decoded_by_the_graph(vp9_plain, monkeypatch, caplog, has_table):
    assert scan_packets(vp9_plain) == (NUM_FRAMES, False)
    sample = with_file(vp9_plain, codec="vp9", has_table=has_table)
    assert not decoded_on_host(sample, monkeypatch)[0]
    assert "decoded on the host" not in caplog.text


def test_vp8_with_hidden_frames_is_decoded_on_the_host_and_no_bad_sample(monkeypatch):
    content = hidden_vp8()
    assert scan_packets(content) == (NUM_FRAMES, True)
    sample = with_file(content, codec="vp8", has_table=False, num_frames=NUM_FRAMES - 1)
    on_host, batch = decoded_on_host(sample, monkeypatch)
    assert on_host
    assert not batch.is_substitute.any()


def test_packets_are_told_by_their_bits():
    key, shown, hidden, existing = 0b1000_0010, 0b1000_0110, 0b1000_0100, 0b1000_1000
    assert [shows_one_frame("vp9", bytes([x, 0])) for x in (key, shown, hidden, existing)] == [
        True, True, False, False,
    ]  # fmt: skip
    assert not shows_one_frame("vp9", bytes([shown, 0xC1])), "the end of a superframe"
    profile_3 = 0b1011_0001, 0b1011_0000
    assert [shows_one_frame("vp9", bytes([x, 0])) for x in profile_3] == [True, False]
    assert [shows_one_frame("vp8", bytes([x, 0xC1])) for x in (0x10, 0x11, 0x00)] == [
        True, True, False,
    ]  # fmt: skip
    assert shows_one_frame("h264", b"\x00")
    assert shows_one_frame("vp9", bytes(4)), "broken, which a decoder finds out"


def test_the_table_tells_the_same_as_the_file(vp9_with_alt_ref, vp9_plain):
    for content, expected in ((vp9_with_alt_ref, True), (vp9_plain, False)):
        assert hides_frames("vp9", memoryview(content), packet_table(content)[0]) is expected
    assert not hides_frames("h264", memoryview(vp9_plain), packet_table(vp9_plain)[0])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"color_matrix": "bt709"}, "its colours are bt709, limited range"),
        ({"color_range": "full"}, "its colours are bt601, full range"),
        ({"rotation_degrees": 90}, "it is stored turned by 90 degrees"),
        ({"codec": "h264"}, "DALI decodes no h264 on cpu"),
    ],
)
def test_what_dali_cannot_show_right_is_told_once_with_how_many(caplog, changes, why):
    codec = "libx264" if "codec" in changes else "libvpx-vp9"
    frames = noisy(numbered_frames(30, width=160, height=96))
    samples = [
        encoded_sample(frames, sample_id=i, options=VideoOptions(codec=codec)) for i in range(6)
    ]
    copied = [replace(s, info=replace(s.info, **changes)) for s in samples[:4]]
    mixed = [*copied, *(samples[4:] if codec != "libx264" else ())]
    pipe = dali_pipeline(mixed, CLIP)
    for _ in range(2):
        list(pipe.batches(tasks((0, 1, 2), tuple(range(3, len(mixed))))))
    pipe.close()
    told = [record.getMessage() for record in caplog.records if why in record.getMessage()]
    assert len(told) == 3, "the first one, and the number of each of the two epochs"
    assert "'sample-" in told[0]
    assert told[1] == told[2]
    assert told[1].startswith(f"4 of {len(mixed)} clips were decoded on the host, not by DALI: 4 ")


def test_what_the_user_sends_to_the_host_is_not_told(caplog):
    frames = numbered_frames(30, width=160, height=96)
    sample = encoded_sample(frames, options=VideoOptions(color_matrix="bt709"))
    list(dali_pipeline([sample], CLIP, host_share=1.0).batches(tasks((0,))))
    assert "decoded on the host" not in caplog.text
