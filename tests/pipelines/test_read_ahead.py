"""Bytes fetched while other clips are decoded: bounded, in order, cancelled, and the same clips."""

import os
import threading
import time
from types import SimpleNamespace

import pytest

import fmrgb_stream as fs
from fmrgb_stream.errors import DecodeError, LoaderClosed
from fmrgb_stream.pipelines.cpu.pipeline import CpuPipeline
from fmrgb_stream.pipelines.dali.crew import PrepareCrew
from fmrgb_stream.pipelines.dali.prepare import PrepareOrder
from fmrgb_stream.pipelines.quarantine import Quarantine
from fmrgb_stream.pipelines.read_ahead import ReadAhead
from fmrgb_stream.sample import ClipTask
from fmrgb_stream.shards import Manifest, ShardReader
from fmrgb_stream.storage import Store
from fmrgb_stream.storage.retry import RetryPolicy
from tests.support.datasets import pack_numbered
from tests.support.origin import Origin
from tests.support.packed import all_bytes
from tests.support.processes import are_gone, crew_of
from tests.support.sources import SampleSource, SlowSource, StuckSource

NUM_CLIPS = 16
CLIP = fs.ClipConfig(num_frames=2, frame_stride=1, size=(16, 16), channels="rgb")


def task(sample_id):
    return ClipTask(sample_id=sample_id, window_index=0, epoch=0, is_padding=False)


class GatedSource:
    """Fetches when told to; knows what was begun."""

    def __init__(self, num_bytes=10, *, is_open=True, member="video"):
        self.begun = []
        self.member = member
        self.gate = threading.Event()
        self.num_bytes = num_bytes
        if is_open:
            self.gate.set()

    def fetch(self, task):
        self.begun.append(task.sample_id)
        assert self.gate.wait(10)
        if task.sample_id == 99:
            raise DecodeError("bad", shard="s", key="k")
        members = {"video": None, "audio": None, "flow": None, "matte": None}
        members[self.member] = bytes(self.num_bytes)
        sample = SimpleNamespace(**members)
        return SimpleNamespace(task=task, sample=sample)


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def ahead():
    made = []

    def make(source, *, num_ahead=3, max_bytes=1 << 20):
        made.append(ReadAhead(source, num_ahead=num_ahead, max_bytes=max_bytes))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_no_more_clips_than_allowed_are_fetched_before_they_are_asked_for(ahead):
    source = GatedSource()
    reads = ahead(source, num_ahead=3)
    reads.expect(map(task, range(8)))
    until(lambda: len(source.begun) == 3)
    time.sleep(0.05)
    assert sorted(source.begun) == [0, 1, 2]
    assert reads.fetch(task(0)).task == task(0)
    until(lambda: len(source.begun) == 4)


@pytest.mark.parametrize("member", ["video", "audio", "flow", "matte"])
def test_no_more_bytes_than_allowed_are_held(ahead, member):
    source = GatedSource(num_bytes=100, member=member)
    reads = ahead(source, num_ahead=8, max_bytes=250)
    reads.expect([task(0)])
    reads.fetch(task(0))  # now a clip is known to take 100 bytes
    reads.expect(map(task, range(1, 9)))
    until(lambda: len(source.begun) == 3)
    time.sleep(0.05)
    assert len(source.begun) == 3


def test_one_clip_is_fetched_ahead_however_large_it_is(ahead):
    source = GatedSource(num_bytes=100)
    reads = ahead(source, max_bytes=1)
    reads.expect(map(task, range(3)))
    for sample in range(3):
        reads.fetch(task(sample))
    assert sorted(source.begun) == [0, 1, 2]


def test_clips_may_be_asked_for_unexpectedly_out_of_order_and_twice(ahead):
    source = GatedSource()
    reads = ahead(source, num_ahead=2)
    reads.expect([task(0), task(1), task(1), task(2)])
    for sample in (2, 1, 7, 1, 0):
        assert reads.fetch(task(sample)).task == task(sample)


def test_an_error_comes_to_the_one_who_asks(ahead):
    reads = ahead(GatedSource())
    reads.expect([task(99), task(1)])
    assert reads.fetch(task(1)).task == task(1)
    with pytest.raises(DecodeError, match="bad"):
        reads.fetch(task(99))


def test_what_is_forgotten_makes_room_and_is_not_fetched(ahead):
    source = GatedSource(is_open=False)
    reads = ahead(source, num_ahead=1)
    reads.expect(map(task, range(5)))
    until(lambda: source.begun == [0])
    for sample in (1, 2, 3):
        reads.forget(task(sample))
    source.gate.set()
    reads.fetch(task(0))
    until(lambda: source.begun == [0, 4])


def test_closing_ends_a_wait_for_what_was_not_begun(ahead):
    source = GatedSource(is_open=False)
    reads = ahead(source, num_ahead=2)
    reads.expect([task(0), task(1)])
    until(lambda: len(source.begun) == 2)
    reads.close(wait=False)
    source.gate.set()
    reads.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("fmrgb-read")]


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    return pack_numbered(tmp_path_factory.mktemp("ahead"), num_clips=NUM_CLIPS)


def pipeline(root, source, worker_kind, *, reads_ahead, num_workers=1):
    store = Store(root)
    reader = ShardReader(store, Manifest.load(store).split("train"))
    return CpuPipeline(
        source(reader, clip=CLIP, seed=0),
        clip=CLIP,
        num_workers=num_workers,
        prefetch_batches=2,
        batch_size=8,
        worker_kind=worker_kind,
        quarantine=Quarantine("raise", max_bad_fraction=0, num_samples=NUM_CLIPS),
        reads_ahead=reads_ahead,
        read_ahead_bytes=1 << 26,
    )


def batches_of(pipe):
    tasks = [[task(sample) for sample in range(start, start + 8)] for start in (0, 8)]
    return pipe.batches(iter(tasks))


@pytest.mark.parametrize("worker_kind", ["process", "thread"])
def test_waits_for_storage_pass_side_by_side(root, worker_kind):
    pipe = pipeline(root, SlowSource, worker_kind, reads_ahead=8)
    batches = batches_of(pipe)
    began = time.monotonic()
    assert len(list(batches)) == 2
    spent = time.monotonic() - began
    counts = pipe.counts()
    pipe.close()
    # One after the other, 16 fetches of 0.2 s would take 3.2 s.
    assert counts.read_seconds < 1.6
    assert spent < 3.2 + 1.5  # the start of the processes included


@pytest.mark.parametrize("worker_kind", ["process", "thread"])
def test_the_clips_are_those_of_reading_one_after_the_other(root, worker_kind):
    made = []
    for reads_ahead in (0, 5):
        pipe = pipeline(root, SampleSource, worker_kind, reads_ahead=reads_ahead, num_workers=2)
        made.append([(batch.keys, batch.clip.numpy().tobytes()) for batch in batches_of(pipe)])
        assert pipe.counts().reads.num_requests >= NUM_CLIPS
        pipe.close()
    assert made[0] == made[1]


@pytest.mark.parametrize("worker_kind", ["process", "thread"])
def test_an_iteration_that_is_left_drops_what_was_to_be_fetched(root, worker_kind):
    pipe = pipeline(root, SlowSource, worker_kind, reads_ahead=2)
    batches = batches_of(pipe)
    next(batches)
    began = time.monotonic()
    batches.close()
    assert time.monotonic() - began < 1.5
    assert [len(batch) for batch in batches_of(pipe)] == [8, 8]
    pipe.close()


def test_a_stuck_read_holds_up_no_close(root):
    pipe = pipeline(root, StuckSource, "process", reads_ahead=8)
    batches = batches_of(pipe)
    closer = threading.Timer(1.0, pipe.close)
    closer.start()
    began = time.monotonic()
    with pytest.raises(LoaderClosed):
        next(batches)
    closer.join()
    assert time.monotonic() - began < 8
    assert are_gone(crew_of(os.getpid()))


@pytest.fixture
def failing(root):
    """A store whose server answers every shard with 500."""
    with Origin(all_bytes(root)) as origin:
        store = Store(origin.url(), policy=RetryPolicy(first_pause_seconds=20.0))
        reader = ShardReader(store, Manifest.load(store).split("train"))
        for name in origin.objects:
            origin.script(name, "500", forever=True)
        yield SampleSource(reader, clip=CLIP, seed=0), origin


@pytest.mark.parametrize("reads_ahead", [0, 4])
def test_closing_does_not_wait_for_a_server_that_fails(failing, reads_ahead):
    source, _ = failing
    pipe = CpuPipeline(
        source, clip=CLIP, num_workers=2, prefetch_batches=2, batch_size=8, worker_kind="thread",
        quarantine=Quarantine("raise", max_bad_fraction=0, num_samples=NUM_CLIPS),
        reads_ahead=reads_ahead, read_ahead_bytes=1 << 26,
    )  # fmt: skip
    closer = threading.Timer(1.0, pipe.close)
    closer.start()
    began = time.monotonic()
    with pytest.raises(LoaderClosed):
        next(batches_of(pipe))
    closer.join()
    assert time.monotonic() - began < 5.0


@pytest.mark.parametrize("reads_ahead", [0, 4])
def test_dalis_threads_have_clips_fetched_before_their_turn(reads_ahead):
    source = GatedSource(is_open=False)
    order = PrepareOrder(
        source=source, settings=None, make_decoder=None, make_sound=None, substitutes=False,
        reads_ahead=reads_ahead, read_ahead_bytes=1 << 20,
    )  # fmt: skip
    with PrepareCrew(order, num_workers=1, num_ahead=1, host_share=0.0) as crew:
        crew._submit([task(sample) for sample in range(8)])
        until(lambda: len(source.begun) == max(reads_ahead, 1))
        time.sleep(0.05)
        assert len(source.begun) == max(reads_ahead, 1)
        source.gate.set()


def test_closing_dalis_threads_does_not_wait_for_a_server_that_fails(failing):
    source, origin = failing
    order = PrepareOrder(
        source=source, settings=None, make_decoder=None, make_sound=None, substitutes=False
    )
    crew = PrepareCrew(order, num_workers=2, num_ahead=1, host_share=0.0)
    crew._submit([task(sample) for sample in range(4)])
    time.sleep(1.0)
    assert origin.gets()
    began = time.monotonic()
    crew.stop()
    assert time.monotonic() - began < 3.0
