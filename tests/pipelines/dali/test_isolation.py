"""Whatever is wrong with a sample, every other one is delivered once, and the bad one is named."""

import ctypes
import gc
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fmrgb_stream.config import ClipConfig
from fmrgb_stream.errors import ConfigError, DecodeError, FmrgbError, TooManyBadSamples
from fmrgb_stream.pipelines.dali import isolate as isolation
from fmrgb_stream.pipelines.dali import precheck
from tests.support.dali import dali_pipeline, tasks
from tests.support.encoded import AUDIO_RATE, VideoOptions, encoded_sample
from tests.support.media import noisy, numbered_frames, read_numbers, tone

pytest.importorskip("nvidia.dali")

pytestmark = pytest.mark.timeout(60)
NUM_SAMPLES = 12
VP9 = VideoOptions(codec="libvpx-vp9", gop=6)
CLIP = ClipConfig(
    num_frames=3,
    frame_stride=3,
    size=(32, 80),
    window="start",
    channels=("red", "green", "blue", "mel"),
)
BATCHES = tuple(tuple(range(start, start + 4)) for start in range(0, NUM_SAMPLES, 4))


@pytest.fixture(scope="module")
def samples():
    return [
        encoded_sample(
            noisy(numbered_frames(20, width=160, height=64, first=20 * i)),
            tone(300 + 100 * i, 20 / 30, rate=AUDIO_RATE),
            sample_id=i,
            options=VP9,
        )
        for i in range(NUM_SAMPLES)
    ]


def zeroed_packets(sample):
    table, video = sample.info.packets, bytearray(sample.video)
    for offset, size in zip(table.offsets, table.sizes, strict=True):
        video[offset : offset + size] = bytes(size)
    return bytes(video)


def damaged_head(sample):
    video = bytearray(sample.video)
    start = video.index(b"moov")
    video[start : start + 400] = b"\xa5" * 400
    return bytes(video)


VIDEO_DAMAGE = {
    "empty": lambda _sample: b"",
    "one byte": lambda _sample: b"x",
    "garbage": lambda _sample: b"garbage!" * 200,
    "truncated": lambda sample: bytes(sample.video)[: len(sample.video) // 2],
    "zeroed packets": zeroed_packets,
    "damaged head": damaged_head,
}
AUDIO_DAMAGE = {
    "empty": b"",
    "garbage": b"garbage!" * 200,
}


def with_video(sample, content):
    return replace(sample, video=memoryview(content))


def with_audio(sample, content):
    return replace(sample, audio=memoryview(content))


def delivered(pipe, *batches):
    return list(pipe.batches(tasks(*(batches or BATCHES))))


def assert_only_bad_ones_are_substituted(batches, bad):
    """Sample i shows the numbers from 20 i on; a bad one's place shows the next good one's."""
    ids = [i for batch in batches for i in batch.sample_ids.tolist()]
    assert ids == list(range(NUM_SAMPLES))
    flags = [flag for batch in batches for flag in batch.is_substitute.tolist()]
    assert flags == [i in bad for i in range(NUM_SAMPLES)]
    clips = torch.cat([batch.clip for batch in batches])
    keys = [key for batch in batches for key in batch.keys]
    for i, clip_CTHW in enumerate(clips):
        shown = next(
            k % NUM_SAMPLES for k in range(i, i + NUM_SAMPLES) if k % NUM_SAMPLES not in bad
        )
        assert keys[i] == f"sample-{shown}"
        frames_THWC = clip_CTHW[:3].permute(1, 2, 3, 0).numpy()
        assert read_numbers(frames_THWC) == [20 * shown + k for k in (0, 3, 6)]


@pytest.mark.parametrize("damage", VIDEO_DAMAGE)
@pytest.mark.parametrize("with_table", [True, False])
def test_a_damaged_video_is_substituted_and_listed(samples, damage, with_table):
    mixed = list(samples)
    bad = (1, 6, 7)
    for i in bad:
        mixed[i] = with_video(samples[i], VIDEO_DAMAGE[damage](samples[i]))
        if not with_table:
            mixed[i] = replace(mixed[i], info=replace(mixed[i].info, packets=None))
    pipe = dali_pipeline(mixed, CLIP)
    assert_only_bad_ones_are_substituted(delivered(pipe), bad)
    counts = pipe.counts()
    assert (counts.num_substitutes, counts.num_bad_samples) == (3, 3)
    assert counts.num_clips == NUM_SAMPLES


@pytest.mark.parametrize("damage", AUDIO_DAMAGE)
def test_damaged_sound_is_substituted_and_listed(samples, damage):
    mixed = list(samples)
    mixed[5] = with_audio(samples[5], AUDIO_DAMAGE[damage])
    pipe = dali_pipeline(mixed, CLIP)
    assert_only_bad_ones_are_substituted(delivered(pipe), (5,))
    assert pipe.counts().num_bad_samples == 1


@pytest.mark.parametrize("prefetch", [1, 2, 4] * 3)
def test_nothing_is_lost_or_doubled_whatever_was_inside_the_graph(samples, prefetch):
    mixed = list(samples)
    bad = (0, 3, 4, 11)
    for i in bad:
        mixed[i] = with_video(samples[i], zeroed_packets(samples[i]))
    pipe = dali_pipeline(mixed, CLIP, prefetch_batches=prefetch)
    assert_only_bad_ones_are_substituted(delivered(pipe), bad)


def test_what_dali_refuses_and_the_host_can_decode_is_kept(samples, monkeypatch):
    # H.264, which this graph has not, under the name of VP9.
    disguised = encoded_sample(
        numbered_frames(20, width=160, height=64, first=40), sample_id=2, options=VideoOptions()
    )
    mixed = list(samples)
    mixed[2] = replace(disguised, info=replace(disguised.info, codec="vp9", packets=None))
    tried = []
    monkeypatch.setattr(
        "fmrgb_stream.pipelines.dali.pipeline.isolate",
        lambda batch, *rest: tried.append(batch) or isolation.isolate(batch, *rest),
    )
    pipe = dali_pipeline(mixed, CLIP)
    for _ in range(2):
        assert_only_bad_ones_are_substituted(delivered(pipe), ())
    assert pipe.counts().num_bad_samples == 0
    assert len(tried) == 1, "the second time it is known"


def test_rule_raise_raises_what_is_wrong_with_the_sample(samples):
    mixed = list(samples)
    mixed[6] = with_video(samples[6], zeroed_packets(samples[6]))
    batches = dali_pipeline(mixed, CLIP, rule="raise").batches(tasks(*BATCHES))
    assert next(batches).keys[0] == "sample-0"
    with pytest.raises(DecodeError, match="sample-6"):
        next(batches)


def test_rule_raise_names_a_sample_whose_sound_is_broken(samples):
    mixed = list(samples)
    mixed[2] = with_audio(samples[2], AUDIO_DAMAGE["garbage"])
    with pytest.raises(DecodeError, match=r"the audio member cannot be read.*sample-2"):
        delivered(dali_pipeline(mixed, CLIP, rule="raise"))


def test_too_many_bad_samples_stop_the_run(samples):
    mixed = [with_video(s, zeroed_packets(s)) for s in samples]
    with pytest.raises(TooManyBadSamples):
        delivered(dali_pipeline(mixed, CLIP))


def test_a_sample_whose_neighbours_are_all_silent_garbage_stops_any_run(samples):
    mixed = [with_audio(s, b"garbage!" * 50) for s in samples]
    with pytest.raises(TooManyBadSamples, match="sample 0 is bad and so are all 8"):
        delivered(dali_pipeline(mixed, CLIP, max_bad_fraction=1.0), (0,))


def test_an_error_that_no_clip_causes_is_told(samples, monkeypatch):
    monkeypatch.setattr(isolation, "failures", lambda clips, _order: [""] * len(clips))
    mixed = list(samples)
    mixed[1] = with_video(samples[1], zeroed_packets(samples[1]))
    with pytest.raises(FmrgbError, match="every clip is good alone"):
        delivered(dali_pipeline(mixed, CLIP))


def test_sound_of_another_rate_is_a_wrong_setting_and_no_bad_sample(samples):
    other = encoded_sample(
        numbered_frames(20, width=160, height=64),
        tone(300, 20 / 30, rate=8000),
        sample_id=1,
        rate=8000,
        options=VP9,
    )
    with pytest.raises(ConfigError, match=r"8000 Hz.*16000 Hz.*backend='cpu'"):
        delivered(dali_pipeline([samples[0], other, *samples[2:]], CLIP))


def resident_bytes():
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


class MallocInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and later."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost",
    )]  # fmt: skip


def allocated_bytes():
    """What is allocated and not freed, in all arenas and mapped blocks, of Python, DALI and FFmpeg."""
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = MallocInfo
    info = library.mallinfo2()
    return info.uordblks + info.hblkhd


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_memory_stays_flat_over_two_hundred_failures(samples, monkeypatch):
    mixed = list(samples)
    for i in range(0, NUM_SAMPLES, 4):
        mixed[i] = with_video(samples[i], zeroed_packets(samples[i]))
    pipe = dali_pipeline(mixed, CLIP)
    failures = []
    monkeypatch.setattr(
        "fmrgb_stream.pipelines.dali.pipeline.isolate",
        lambda *xs: failures.append(1) or isolation.isolate(*xs),
    )

    def memory_after(number):
        failures.clear()
        while len(failures) < number:
            pipe.order.refused.clear()
            delivered(pipe)
        gc.collect()
        return np.array([allocated_bytes(), resident_bytes()])

    before = memory_after(30)
    allocated, resident = memory_after(200) - before
    # One batch of bytes kept would be 8 kB a failure, a graph some 100 kB. What is resident also
    # counts the holes that the allocator keeps for each thread there ever was: only a lot of it tells.
    assert allocated < 200 * 1_000, f"{allocated / 200:.0f} bytes a failure are never freed"
    assert resident < 200 * 50_000, f"{resident / 200:.0f} bytes a failure"


def test_a_decoder_that_decodes_nothing_is_given_up_and_told_once(monkeypatch, caplog):
    # DALI's CPU decoder takes no H.264, as a GPU without its video library takes nothing.
    monkeypatch.setattr(precheck, "cannot_decode", lambda _info, _settings: "")
    frames = numbered_frames(20, width=160, height=64)
    h264 = [encoded_sample(frames, sample_id=i) for i in range(NUM_SAMPLES)]
    pipe = dali_pipeline(h264, replace(CLIP, channels="rgb"))
    batches = delivered(pipe)
    assert [i for batch in batches for i in batch.sample_ids.tolist()] == list(range(NUM_SAMPLES))
    assert not any(batch.is_substitute.any() for batch in batches)
    assert caplog.text.count("DALI refused every video of a batch") == 1
    assert pipe.host_share == 1.0


def test_closing_lets_go_of_the_graph_of_an_iterator_that_is_held(samples):
    pipe = dali_pipeline(samples, CLIP)
    batches = pipe.batches(tasks(*BATCHES))
    next(batches)
    pipe.close()
    assert batches.gi_frame is None


def test_ctrl_c_does_not_wait_for_the_batches_before_it(samples):
    def interrupted():
        yield from tasks(*BATCHES[:2])
        raise KeyboardInterrupt

    pipe = dali_pipeline(samples, CLIP, prefetch_batches=1)
    seen = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(pipe.batches(interrupted()))
    assert len(seen) < 2
    pipe.close()


def test_waiting_counts_what_is_made_after_the_graph(samples, monkeypatch):
    pipe = dali_pipeline(samples, CLIP)
    make = pipe._maker.make

    def slow(*arguments):
        time.sleep(0.2)
        return make(*arguments)

    monkeypatch.setattr(pipe._maker, "make", slow)
    delivered(pipe)
    assert pipe.counts().wait_seconds > 0.2 * len(BATCHES)
