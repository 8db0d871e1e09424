"""The thread pool: order, independence, bad samples, and a clean end whatever happens."""

import gc
import subprocess
import sys
import threading
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from fmrgb_stream.config import ClipConfig, FlowConfig, MelConfig
from fmrgb_stream.errors import (
    ConfigError,
    DecodeError,
    LoaderClosed,
    MissingExtraError,
    ShardNotFound,
    TooManyBadSamples,
)
from fmrgb_stream.pipelines.cpu.pipeline import CpuPipeline
from fmrgb_stream.pipelines.cpu.threads import THREAD_NAME
from fmrgb_stream.pipelines.quarantine import Quarantine
from tests.support.encoded import (
    AUDIO_RATE,
    ListSource,
    VideoOptions,
    clip_task,
    encoded_sample,
)
from tests.support.media import numbered_frames, tone

NUM_SAMPLES = 12
CLIP = ClipConfig(num_frames=4, frame_stride=3, size=(48, 80))


@pytest.fixture(scope="module")
def samples():
    made = []
    for i in range(NUM_SAMPLES):
        rng = np.random.default_rng(i)
        frames = numbered_frames(24, first=i)
        frames[:, 30:60, 40:90] = rng.integers(0, 255, (24, 3, 5, 3)).repeat(10, 1).repeat(10, 2)
        sound = tone(200 * (i + 1), 0.8, rate=AUDIO_RATE) if i % 4 else None
        options = VideoOptions(b_frames=2 * (i % 2), crf=20)
        made.append(encoded_sample(frames, sound, sample_id=i, options=options))
    return made


def pipeline(samples, *, clip=CLIP, threads=2, rule="substitute", broken=None, **changes):
    quarantine = Quarantine(rule, max_bad_fraction=0.0, num_samples=len(samples))
    source = changes.pop("source", None) or ListSource(samples, clip, broken=broken)
    settings = {
        "num_workers": threads,
        "worker_kind": "thread",
        "prefetch_batches": 2,
        "quarantine": quarantine,
    }
    return CpuPipeline(source, clip=clip, **(settings | changes))


def tasks(*batches):
    return iter([[clip_task(sample_id) for sample_id in batch] for batch in batches])


ALL = tuple(tuple(range(start, start + 4)) for start in range(0, NUM_SAMPLES, 4))


def clip_threads():
    return [t for t in threading.enumerate() if t.name.startswith(THREAD_NAME)]


def clips_by_key(pipe, batches):
    return {
        key: (clip.numpy().tobytes(), extra.numpy().tobytes())
        for batch in pipe.batches(tasks(*batches))
        for key, clip, extra in zip(batch.keys, batch.clip, batch.waveform, strict=True)
    }


def broken(sample_id):
    return DecodeError("broken on purpose", shard="s.tar", key=f"sample-{sample_id}")


def test_batches_come_in_the_order_of_the_tasks(samples):
    batches = list(pipeline(samples).batches(tasks(*ALL)))
    assert [batch.keys for batch in batches] == [tuple(f"sample-{i}" for i in ids) for ids in ALL]
    assert [batch.sample_ids.tolist() for batch in batches] == [list(ids) for ids in ALL]


def test_batch_has_the_shapes_of_the_contract(samples):
    batch = next(pipeline(samples).batches(tasks((0, 1, 2))))
    assert batch.clip.shape == (3, 5, 4, 48, 80)
    assert batch.clip.dtype == torch.uint8
    assert batch.times_seconds.dtype == torch.float64
    assert batch.labels.tolist() == [0, 1, 2]
    assert batch.flow_estimator == "dis"
    assert batch.is_substitute.tolist() == [False, False, False]


def test_targets_stand_beside_the_clips(samples):
    labelled = [
        replace(s, info=replace(s.info, targets=(float(i), 0.5), label=None))
        for i, s in enumerate(samples)
    ]
    pipe = pipeline(labelled, has_labels=False, num_targets=2)
    batch = next(pipe.batches(tasks((3, 4))))
    assert batch.labels is None
    assert batch.targets.tolist() == [[3.0, 0.5], [4.0, 0.5]]


def test_clip_without_motion_names_no_estimator(samples):
    clip = replace(CLIP, channels="rgb")
    assert next(pipeline(samples, clip=clip).batches(tasks((0,)))).flow_estimator == ""


@pytest.mark.parametrize("estimator", ["dis", "lucas_kanade"])
def test_a_clip_depends_on_neither_threads_nor_batch_mates(samples, estimator):
    clip = replace(
        CLIP, flow=FlowConfig(estimator=estimator), extras=("waveform",), dtype="float32"
    )
    expected = clips_by_key(pipeline(samples, clip=clip, threads=1), ALL)
    permuted = np.random.default_rng(0).permutation(NUM_SAMPLES).reshape(2, 6).tolist()
    for threads, batches in ((2, ALL), (4, permuted), (3, [[i] for i in range(NUM_SAMPLES)])):
        assert clips_by_key(pipeline(samples, clip=clip, threads=threads), batches) == expected


def test_two_passes_give_the_same_bytes(samples):
    pipe = pipeline(samples)
    first = [batch.clip.clone() for batch in pipe.batches(tasks(*ALL))]
    second = [batch.clip.clone() for batch in pipe.batches(tasks(*ALL))]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_batch_that_is_held_never_changes(samples):
    pipe = pipeline(samples)
    held, copies = [], []
    for batch in pipe.batches(tasks(*ALL, *ALL)):
        # What keeps memory alive is the storage, whatever view of it is left.
        views = (
            batch.clip[0, 1:3],
            batch.clip.numpy()[1:2, 2],
            torch.utils.dlpack.from_dlpack(batch.clip)[2],
        )
        held.append(views)
        copies.append([torch.as_tensor(view).clone() for view in views])
        del batch, views
        gc.collect()
    for views, copied in zip(held, copies, strict=True):
        for view, copy in zip(views, copied, strict=True):
            assert torch.equal(torch.as_tensor(view), copy)


def test_memory_of_a_batch_let_go_is_used_again_and_rewritten(samples):
    pipe = pipeline(samples, prefetch_batches=1)
    addresses, clips = [], []
    for batch in pipe.batches(tasks(*ALL, *ALL)):
        addresses.append(batch.clip.data_ptr())
        clips.append(batch.clip.clone())
        del batch
    assert len(set(addresses)) < len(addresses)
    assert all(torch.equal(clips[k], clips[k + 3]) for k in range(3))


def test_tasks_are_taken_late(samples):
    taken = []

    def watched():
        for ids in ALL * 3:
            taken.append(ids)
            yield [clip_task(i) for i in ids]

    batches = pipeline(samples).batches(watched())
    assert taken == []
    next(batches)
    assert len(taken) == 3
    batches.close()


def test_tasks_are_taken_in_the_consumers_thread(samples):
    names = set()

    def watched():
        for ids in ALL:
            names.add(threading.current_thread().name)
            yield [clip_task(i) for i in ids]

    list(pipeline(samples).batches(watched()))
    assert names == {threading.current_thread().name}


def test_a_neighbour_stands_in_for_a_bad_sample(samples):
    pipe = pipeline(samples, broken={5: broken(5), 6: broken(6)})
    batch = next(pipe.batches(tasks((4, 5, 6, 7))))
    assert batch.keys == ("sample-4", "sample-7", "sample-7", "sample-7")
    assert batch.is_substitute.tolist() == [False, True, True, False]
    assert batch.sample_ids.tolist() == [4, 5, 6, 7]
    assert batch.labels.tolist() == [1, 1, 1, 1]
    assert torch.equal(batch.clip[1], batch.clip[3])
    assert pipe.counts().num_bad_samples == 2
    assert pipe.counts().num_substitutes == 2


def test_a_sample_with_a_broken_packet_is_replaced(samples):
    table = samples[4].info.packets
    video = bytearray(samples[4].video)
    for offset in table.offsets:
        video[offset : offset + 4] = b"\xff\xff\xff\xff"
    damaged = list(samples)
    damaged[4] = replace(samples[4], video=memoryview(bytes(video)))
    batch = next(pipeline(damaged).batches(tasks((4, 5))))
    assert batch.keys == ("sample-5", "sample-5")


def test_unreadable_storage_counts_as_a_bad_sample(samples):
    pipe = pipeline(samples, broken={2: ShardNotFound("gone", url="file:///x.tar")})
    assert next(pipe.batches(tasks((2,)))).keys == ("sample-3",)


def test_rule_raise_raises_the_bad_samples_error(samples):
    pipe = pipeline(samples, rule="raise", broken={5: broken(5)})
    batches = pipe.batches(tasks(*ALL))
    assert next(batches).keys[0] == "sample-0"
    with pytest.raises(DecodeError, match="broken on purpose"):
        next(batches)
    assert not clip_threads()


def test_too_many_bad_samples_stop_the_run(samples):
    pipe = pipeline(samples, broken={i: broken(i) for i in range(NUM_SAMPLES)})
    with pytest.raises(TooManyBadSamples, match="broken on purpose"):
        list(pipe.batches(tasks(*ALL)))
    assert not clip_threads()


def test_a_sample_whose_neighbours_are_all_bad_stops_a_run_that_tolerates_any_number(samples):
    pipe = pipeline(
        samples,
        broken={i: broken(i) for i in range(NUM_SAMPLES)},
        quarantine=Quarantine("substitute", max_bad_fraction=1.0, num_samples=NUM_SAMPLES),
    )
    with pytest.raises(TooManyBadSamples, match="sample 1 is bad and so are all 8"):
        list(pipe.batches(tasks((1,))))


class FaultySource(ListSource):
    def fetch(self, _task):
        raise ZeroDivisionError("a bug")


def test_a_bug_is_raised_with_its_traceback_and_ends_the_threads(samples):
    pipe = pipeline(samples, source=FaultySource(samples, CLIP))
    with pytest.raises(ZeroDivisionError) as caught:
        next(pipe.batches(tasks(*ALL)))
    assert "fetch" in [entry.name for entry in caught.traceback]
    assert not clip_threads()


def test_a_wrong_setting_is_not_taken_for_a_bad_sample(samples):
    bare = [replace(s, info=replace(s.info, packets=None)) for s in samples]
    with pytest.raises(ConfigError, match="packets"):
        next(pipeline(bare, video_decoder="packets").batches(tasks((0,))))


def test_missing_decord_is_told_when_the_pipeline_is_built(samples, monkeypatch):
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(MissingExtraError, match=r"fmrgb_stream\[decord\]"):
        pipeline(samples, video_decoder="decord")


def test_missing_librosa_is_told_when_the_pipeline_is_built(samples, monkeypatch):
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(MissingExtraError, match=r"fmrgb_stream\[features\]"):
        pipeline(samples, clip=replace(CLIP, extras=("audio_features",)))


def test_estimators_of_other_pipelines_are_refused_when_the_pipeline_is_built(samples):
    with pytest.raises(ConfigError, match="nvof"):
        pipeline(samples, clip=replace(CLIP, flow=FlowConfig(estimator="nvof")))


@pytest.mark.parametrize(
    "mel", [MelConfig(f_min_hz=9000.0), MelConfig(f_max_hz=8001.0), MelConfig(f_min_hz=8000.0)]
)
def test_mel_filters_beyond_the_sound_are_refused_when_the_pipeline_is_built(samples, mel):
    with pytest.raises(ConfigError, match="16000 Hz"):
        pipeline(samples, clip=replace(CLIP, mel=mel), audio_sample_rate=16000)


def test_mel_filters_up_to_half_the_sample_rate_are_good(samples):
    clip = replace(CLIP, mel=MelConfig(f_min_hz=100.0, f_max_hz=8000.0))
    next(pipeline(samples, clip=clip, audio_sample_rate=16000).batches(tasks((1,))))


def test_mel_filters_do_not_matter_to_clips_without_sound(samples):
    clip = replace(CLIP, channels="rgb", mel=MelConfig(f_min_hz=9000.0))
    next(pipeline(samples, clip=clip, audio_sample_rate=16000).batches(tasks((1,))))


def test_an_error_of_the_task_iterator_ends_the_threads(samples):
    def failing():
        yield [clip_task(0)]
        raise RuntimeError("no more plan")

    with pytest.raises(RuntimeError, match="no more plan"):
        list(pipeline(samples).batches(failing()))
    assert not clip_threads()


def test_threads_end_with_the_last_batch(samples):
    batches = pipeline(samples).batches(tasks(*ALL))
    next(batches)
    assert len(clip_threads()) == 2
    list(batches)
    assert not clip_threads()


def test_leaving_the_loop_early_ends_the_threads(samples):
    batches = pipeline(samples).batches(tasks(*ALL))
    next(batches)
    batches.close()
    assert not clip_threads()


def test_forgetting_the_iterator_ends_the_threads(samples):
    batches = pipeline(samples).batches(tasks(*ALL))
    next(batches)
    del batches
    gc.collect()
    assert not clip_threads()


class CollectingSource(ListSource):
    """From sample 8 on: waits until told, then collects garbage in the worker."""

    def __init__(self, samples, clip):
        super().__init__(samples, clip)
        self.forgotten, self.collected = threading.Event(), threading.Event()

    def fetch(self, task):
        if task.sample_id >= 8 and self.forgotten.wait(10):
            gc.collect()
            self.collected.set()
        return super().fetch(task)


def test_an_iterator_freed_in_its_own_worker_ends_the_threads(samples):
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    gc.disable()
    try:
        source = CollectingSource(samples, CLIP)
        pipe = pipeline(samples, source=source, prefetch_batches=1)
        batches = pipe.batches(tasks((0, 1), (8, 9)))
        next(batches)
        workers = clip_threads()
        cycle = [batches]
        cycle.append(cycle)
        del batches, cycle
        source.forgotten.set()
        assert source.collected.wait(10)
        for worker in workers:
            worker.join(10)
        assert not clip_threads()
        assert cv2.getNumThreads() == 2
        pipe.close()
    finally:
        gc.enable()
        cv2.setNumThreads(before)


def test_close_ends_the_threads_and_can_be_called_twice(samples):
    pipe = pipeline(samples)
    batches = pipe.batches(tasks(*ALL))
    next(batches)
    pipe.close()
    pipe.close()
    assert not clip_threads()


def test_use_after_close_is_an_error(samples):
    pipe = pipeline(samples)
    batches = pipe.batches(tasks(*ALL))
    next(batches)
    pipe.close()
    with pytest.raises(LoaderClosed):
        next(batches)
    with pytest.raises(LoaderClosed):
        pipe.batches(tasks(*ALL))


class SlowSource(ListSource):
    def fetch(self, task):
        time.sleep(0.2)
        return super().fetch(task)


def test_close_from_another_thread_wakes_the_consumer(samples):
    pipe = pipeline(samples, source=SlowSource(samples, CLIP))
    closer = threading.Timer(0.1, pipe.close)
    closer.start()
    with pytest.raises(LoaderClosed):
        list(pipe.batches(tasks(*ALL)))
    closer.join()
    assert not clip_threads()


def test_queued_work_is_dropped_at_close(samples):
    pipe = pipeline(samples, source=SlowSource(samples, CLIP), threads=1, prefetch_batches=3)
    batches = pipe.batches(tasks((0,), *ALL))
    next(batches)
    start = time.perf_counter()
    batches.close()
    assert time.perf_counter() - start < 1.0
    assert pipe.counts().num_clips <= 3


def test_libraries_keep_their_threads_outside_the_pool(samples):
    opencv_before, torch_before = cv2.getNumThreads(), torch.get_num_threads()
    torch.set_num_threads(3)
    cv2.setNumThreads(2)
    seen = {}

    class Looking(ListSource):
        def fetch(self, task):
            seen["worker"] = (torch.get_num_threads(), cv2.getNumThreads())
            return super().fetch(task)

    try:
        batches = pipeline(samples, source=Looking(samples, CLIP)).batches(tasks(*ALL))
        next(batches)
        late = threading.Thread(target=lambda: seen.update(late=torch.get_num_threads()))
        late.start()
        late.join()
        assert seen["worker"] == (1, 1)
        assert torch.get_num_threads() == seen["late"] == 3
        batches.close()
        assert cv2.getNumThreads() == 2
    finally:
        torch.set_num_threads(torch_before)
        cv2.setNumThreads(opencv_before)


def test_two_pipelines_restore_opencv_when_the_last_one_ends(samples):
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        first, second = (pipeline(samples).batches(tasks(*ALL)) for _ in range(2))
        next(first), next(second)
        first.close()
        assert cv2.getNumThreads() == 1
        second.close()
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_counts_say_what_was_done_and_where_time_went(samples):
    pipe = pipeline(samples)
    list(pipe.batches(tasks(*ALL)))
    counts = pipe.counts()
    assert (counts.num_clips, counts.num_batches) == (NUM_SAMPLES, 3)
    for stage in ("read", "decode", "flow", "audio", "wait"):
        assert getattr(counts, f"{stage}_seconds") > 0


INTERRUPTED = """
import _thread, sys, threading, time
sys.path.insert(0, {root!r})
from tests.pipelines.test_cpu_pipeline import *

class Interrupting(SlowSource):
    def fetch(self, task):
        threading.Timer(0.1, _thread.interrupt_main).start()
        return super().fetch(task)

frames = numbered_frames(12)
samples = [encoded_sample(frames, sample_id=i) for i in range(4)]
try:
    list(pipeline(samples, source=Interrupting(samples, CLIP)).batches(tasks(*[range(4)] * 9)))
except KeyboardInterrupt:
    print("interrupted", len(clip_threads()))
"""


def test_ctrl_c_ends_the_threads(pytestconfig):
    code = INTERRUPTED.format(root=str(pytestconfig.rootpath))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["interrupted", "0"], done.stderr
