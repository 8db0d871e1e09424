"""Decode processes: the same clips as threads, and gone with their consumer, whatever happens."""

import errno
import gc
import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch

import fmrgb_stream as fs
from fmrgb_stream.errors import ConfigError, DecodeError, LoaderClosed, WorkerDied
from fmrgb_stream.pipelines.cpu import processes
from fmrgb_stream.pipelines.cpu.messages import Reply, pack_reply
from fmrgb_stream.pipelines.cpu.pipeline import CpuPipeline
from fmrgb_stream.pipelines.cpu.processes import processes_are_possible
from fmrgb_stream.pipelines.cpu.results import MadeClip
from fmrgb_stream.pipelines.quarantine import Quarantine
from fmrgb_stream.sample import ClipTask
from fmrgb_stream.shards import Manifest, ShardReader
from fmrgb_stream.storage import Store
from tests.support import sources
from tests.support.datasets import pack_numbered
from tests.support.processes import are_gone, crew_of, workers_of

NUM_SAMPLES = 13
CLIP = fs.ClipConfig(num_frames=4, frame_stride=2, size=(32, 48))
pytestmark = pytest.mark.skipif(not processes_are_possible(), reason="decode processes need Linux")


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    return pack_numbered(tmp_path_factory.mktemp("processes"), num_clips=NUM_SAMPLES)


@pytest.fixture(autouse=True)
def no_process_survives():
    yield
    gc.collect()
    assert are_gone(crew_of(os.getpid()))


def build(root, **options):
    settings = {"split": "train", "batch_size": 3, "clip": CLIP, "num_workers": 2}
    return fs.build_loader(root, **(settings | {"worker_kind": "process"} | options))


def pipeline(root, source=sources.SampleSource, *, rule="substitute", **options):
    store = Store(root)
    reader = ShardReader(store, Manifest.load(store).split("train"))
    settings = {"num_workers": 2, "prefetch_batches": 2, "worker_kind": "process"}
    return CpuPipeline(
        source(reader, clip=CLIP, seed=0),
        clip=CLIP,
        quarantine=Quarantine(rule, max_bad_fraction=0.0, num_samples=NUM_SAMPLES),
        **(settings | options),
    )


def tasks(*batches):
    return iter([[task(sample_id) for sample_id in batch] for batch in batches])


def task(sample_id):
    return ClipTask(sample_id=sample_id, window_index=0, epoch=0, is_padding=False)


def content(loader):
    return [
        {
            name: value.numpy().tobytes() if isinstance(value, torch.Tensor) else value
            for name, value in ((name, getattr(batch, name)) for name in type(batch).__slots__)
        }
        for batch in loader
    ]


def damage(root, copy, sample_id):
    """A copy of the dataset with a flipped byte in one sample's video."""
    subprocess.run(["cp", "-r", root, copy], check=True)
    store = Store(copy)
    split = Manifest.load(store).split("train")
    shard = split.shards[sample_id // 5]
    member = ShardReader(store, split).info(sample_id).member("mp4")
    tar = copy / shard.path
    changed = bytearray(tar.read_bytes())
    changed[member.offset + member.size // 2] ^= 0x10
    tar.write_bytes(changed)
    return copy


@pytest.mark.parametrize("num_workers", [1, 3])
def test_processes_and_threads_make_the_same_batches(root, num_workers):
    clip = fs.ClipConfig(
        num_frames=4, frame_stride=2, size=(32, 48), extras=("mel_image", "waveform")
    )
    with build(root, clip=clip, worker_kind="thread") as threads:
        expected = content(threads)
    with build(root, clip=clip, num_workers=num_workers) as processes:
        assert content(processes) == expected
        assert len(workers_of(os.getpid())) == num_workers


def test_processes_stay_for_the_next_epoch_and_end_with_close(root):
    loader = build(root)
    assert not crew_of(os.getpid())
    list(loader)
    first = workers_of(os.getpid())
    list(loader)
    assert workers_of(os.getpid()) == first
    loader.close()
    loader.close()
    assert are_gone(first, timeout_seconds=0)


@pytest.mark.parametrize("extras", [(), ("mel_image", "waveform", "audio_features")])
def test_the_host_has_one_thread_as_what_is_forked_must(root, extras):
    clip = fs.ClipConfig(num_frames=4, frame_stride=2, size=(32, 48), extras=extras)
    with build(root, clip=clip) as loader:
        next(iter(loader))
        (host,) = (p for p, name in crew_of(os.getpid()).items() if name == "fmrgb-host")
        threads = [path.read_text() for path in Path(f"/proc/{host}/task").glob("*/comm")]
    assert threads == ["fmrgb-host\n"]


def test_leaving_the_loop_early_leaves_nothing_behind_in_the_next_epoch(root):
    with build(root, prefetch_batches=4) as loader, build(root) as other:
        next(iter(loader))
        loader.set_epoch(0)
        assert content(loader) == content(other)


def test_a_forgotten_loader_ends_its_processes(root):
    loader = build(root)
    batches = iter(loader)
    next(batches)
    started = list(crew_of(os.getpid()))
    del loader, batches
    gc.collect()
    assert are_gone(started)


def test_a_batch_that_is_held_never_changes(root):
    with build(root, prefetch_batches=1) as loader:
        held, copies = [], []
        for _ in range(3):
            for batch in loader:
                held.append(batch.clip[1:, 2])
                copies.append(held[-1].clone())
                del batch
        assert all(torch.equal(a, b) for a, b in zip(held, copies, strict=True))


def test_small_columns_do_not_keep_the_planes_in_memory(root):
    with build(root, prefetch_batches=1) as loader:
        addresses, times = set(), []
        for _ in range(4):
            for batch in loader:
                addresses.add(batch.clip.data_ptr())
                times.append(batch.times_seconds)
                del batch
    assert len(addresses) <= 4 < len(times)


def test_more_clips_than_the_sockets_hold_go_through(root):
    pipe = pipeline(root, prefetch_batches=3, batch_size=1)
    wide = [i % NUM_SAMPLES for i in range(400)]
    try:
        sizes = [len(batch) for batch in pipe.batches(tasks(*[wide] * 5))]
    finally:
        pipe.close()
    assert sizes == [400] * 5


def test_a_bad_sample_is_replaced_counted_and_logged_here(root, tmp_path, caplog):
    with build(damage(root, tmp_path / "copy", 3), shuffle=False, tail="pad") as loader:
        substitutes = [i for b in loader for i in b.sample_ids[b.is_substitute].tolist()]
        assert substitutes == [3]
        (quarantined,) = loader.stats()["quarantined"]
    assert "differs from its checksum" in quarantined["reason"]
    assert len(caplog.records) == 1


def test_rule_raise_raises_the_error_of_the_process(root):
    pipe = pipeline(root, sources.BrokenSource, rule="raise")
    with pytest.raises(DecodeError, match="broken on purpose") as caught:
        next(pipe.batches(tasks((3,))))
    assert (caught.value.key, caught.value.shard) == ("sample-3", "s.tar")
    pipe.close()


def test_a_bug_is_raised_with_its_traceback(root):
    pipe = pipeline(root, sources.FaultySource)
    with pytest.raises(ZeroDivisionError) as caught:
        next(pipe.batches(tasks((0, 1))))
    assert "in a decode process" in caught.value.__notes__[0]
    assert "1 // (task.sample_id - task.sample_id)" in caught.value.__notes__[0]
    pipe.close()


def test_an_error_that_cannot_be_sent_is_told_in_words(root):
    pipe = pipeline(root, sources.UnpicklableErrorSource)
    with pytest.raises(RuntimeError, match="UnpicklableError: about sample 1"):
        next(pipe.batches(tasks((1,))))
    pipe.close()


def test_a_crash_names_the_sample_and_ends_everything(root):
    pipe = pipeline(root, sources.CrashingSource)
    with pytest.raises(WorkerDied, match=r"crashed \(SIGSEGV\), making sample 3"):
        list(pipe.batches(tasks(range(6))))
    assert are_gone(crew_of(os.getpid()))
    with pytest.raises(WorkerDied, match="making sample 3"):
        next(pipe.batches(tasks((0,))))


@pytest.mark.parametrize("prefix", ["fmrgb-clip", "fmrgb-host"])
def test_a_killed_process_is_an_error_not_a_hang(root, prefix):
    with build(root) as loader:
        batches = iter(loader)
        next(batches)
        victim = next(p for p, n in crew_of(os.getpid()).items() if n.startswith(prefix))
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(WorkerDied, match=r"killed|without a word"):
            list(chain(batches, chain.from_iterable(loader for _ in range(20))))


def test_close_from_another_thread_wakes_the_consumer(root):
    pipe = pipeline(root, sources.SlowSource)
    batches = pipe.batches(tasks(*[range(8)] * 9))
    next(batches)
    closer = threading.Timer(0.1, pipe.close)
    closer.start()
    with pytest.raises(LoaderClosed):
        list(batches)
    closer.join()


def test_queued_work_is_dropped_when_the_loop_is_left(root):
    pipe = pipeline(root, sources.SlowSource, prefetch_batches=6)
    batches = pipe.batches(tasks((0,), *[range(10)] * 6))
    next(batches)
    start = time.perf_counter()
    batches.close()
    assert time.perf_counter() - start < 2
    pipe.close()


def test_a_fork_of_the_consumer_is_told_to_build_its_own_loader(root):
    with build(root) as loader:
        next(iter(loader))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                next(iter(loader))
            except ConfigError as error:
                code = 0 if "build the loader in the child" in str(error) else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(list(loader)) == 4


class Broken:
    """`socket.send_fds` that fails once, at the given call."""

    def __init__(self, error, call):
        self.error, self.calls_left, self.real = error, call, socket.send_fds

    def __call__(self, *arguments):
        self.calls_left -= 1
        if self.calls_left == 0:
            raise self.error
        return self.real(*arguments)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOBUFS, "no memory")])
@pytest.mark.parametrize("call", [1, 2, 6])
def test_a_batch_that_was_half_submitted_blocks_nobody(root, monkeypatch, error, call):
    with build(root, batch_size=8) as loader, build(root, batch_size=8) as other:
        expected = content(other)
        next(iter(loader))
        loader.set_epoch(0)
        with monkeypatch.context() as patch:
            patch.setattr(socket, "send_fds", Broken(error, call))
            with pytest.raises(type(error)):
                list(chain.from_iterable(loader for _ in range(9)))
        loader.set_epoch(0)
        assert content(loader) == expected


def test_too_many_descriptors_on_their_way_are_waited_for(root, monkeypatch):
    error = OSError(errno.ETOOMANYREFS, "Too many references: cannot splice")
    with build(root) as loader, build(root) as other:
        monkeypatch.setattr(socket, "send_fds", Broken(error, 3))
        assert content(loader) == content(other)


def test_a_death_is_told_to_the_iterator_that_comes_next(root):
    with build(root) as loader:
        batches = iter(loader)
        next(batches)
        os.kill(workers_of(os.getpid())[0], signal.SIGSEGV)
        time.sleep(0.3)
        with pytest.raises(WorkerDied, match="SIGSEGV"):
            list(chain.from_iterable(loader for _ in range(20)))


def test_a_stuck_process_does_not_hold_who_leaves_the_loop(root, monkeypatch):
    monkeypatch.setattr(processes, "MAX_CLIP_SECONDS", 0.2)
    pipe = pipeline(root, sources.StuckSource)
    batches = pipe.batches(tasks((0, 1), (2, 3)))
    next(batches)
    batches.close()
    assert [len(batch) for batch in pipe.batches(tasks((4, 5), (6,)))] == [2, 1]
    pipe.close()


def test_a_long_silence_is_told(root, monkeypatch, caplog):
    monkeypatch.setattr(processes, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(processes, "MAX_CLIP_SECONDS", 0.2)
    pipe = pipeline(root, sources.StuckSource)
    closer = threading.Timer(3, pipe.close)
    closer.start()
    with pytest.raises(LoaderClosed):
        list(pipe.batches(tasks((3, 1))))
    closer.join()
    assert "the decode processes are at sample 3 " in caplog.text


def test_batches_that_were_given_up_are_unmapped_everywhere(root):
    with build(root, prefetch_batches=2) as loader:
        held = list(chain.from_iterable(loader for _ in range(6)))
        assert len(held) > 20
        held.clear()
        list(loader)
        for worker in workers_of(os.getpid()):
            assert Path(f"/proc/{worker}/maps").read_text().count("fmrgb-batch") <= 5


def test_an_answer_too_long_to_send_is_an_error_with_a_cure():
    made = MadeClip(
        key="k",
        label=None,
        targets=(0.5,) * 9000,
        num_valid_frames=1,
        is_substitute=False,
        bad_samples=(),
        seconds={},
    )
    short = replace(made, targets=(0.5,))
    messages = pack_reply(Reply(batch=1, clips=((0, short), (1, made))))
    (first, *_), (second, *_) = (pickle.loads(message).clips for message in messages)
    assert first == (0, short)
    assert "set worker_kind='thread'" in str(second[1].error)


def test_a_running_iterator_is_not_for_a_fork(root):
    with build(root) as loader:
        batches = iter(loader)
        next(batches)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                list(batches)
            except ConfigError:
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(list(batches)) == 3


CONSUMER = """
import os, signal, sys
import fmrgb_stream as fs
from tests.support.processes import crew_of
clip = fs.ClipConfig(num_frames=4, frame_stride=2, size=(32, 48))
loader = fs.build_loader({root!r}, batch_size=3, clip=clip, num_workers=2, worker_kind="process")
batches = iter(loader)
next(batches)
print(*crew_of(os.getpid()), flush=True)
{then}
"""


def consume(root, pytestconfig, then):
    """A script without a main guard: builds a loader, prints its processes' ids, goes on."""
    code = CONSUMER.format(root=str(root), then=textwrap.dedent(then))
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=pytestconfig.rootpath,
        start_new_session=True,
    )


def started_by(consumer):
    pids = [int(pid) for pid in consumer.stdout.readline().split()]
    assert len(pids) == 3, consumer.stderr.read()
    return pids


@pytest.mark.parametrize("then", ["", "loader.close()", "sys.exit(3)", "raise ValueError('x')"])
def test_a_script_that_ends_takes_its_processes_along(root, pytestconfig, then):
    with consume(root, pytestconfig, then) as consumer:
        pids = started_by(consumer)
        _, errors = consumer.communicate(timeout=20)
    assert are_gone(pids)
    assert errors.count("Traceback") == then.count("raise")
    assert "ignored" not in errors


IGNORES_ITS_CHILDREN = """
from fmrgb_stream import errors
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
first = set(crew_of(os.getpid()))
other = fs.build_loader({root!r}, batch_size=3, clip=clip, num_workers=1, worker_kind="process")
next(iter(other))
(victim,) = (p for p, name in crew_of(os.getpid()).items() if "clip" in name and p not in first)
os.kill(victim, signal.SIGKILL)
try:
    for _ in range(50):
        list(other)
except errors.WorkerDied as error:
    sys.exit(7 if "SIGKILL" in str(error) else 8)
"""


def test_a_consumer_that_ignores_its_children_hears_of_a_death(root, pytestconfig):
    then = IGNORES_ITS_CHILDREN.format(root=str(root))
    with consume(root, pytestconfig, then) as consumer:
        started_by(consumer)
        _, errors = consumer.communicate(timeout=30)
    assert consumer.returncode == 7, errors


def test_modules_in_the_current_folder_are_not_run(root, tmp_path, pytestconfig):
    for name in ("types", "pickle", "json", "re"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not for you')")
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(CONSUMER.format(root=str(root), then=""))
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(pytestconfig.rootpath)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_consumer_takes_its_processes_along(root, pytestconfig, signal_number):
    with consume(root, pytestconfig, "for batch in [*batches, *loader] * 99: list(loader)") as it:
        pids = started_by(it)
        time.sleep(0.2)
        it.send_signal(signal_number)
        it.wait(20)
        assert are_gone(pids)


def test_ctrl_c_reaches_the_consumer_alone_and_it_ends_its_processes(root, pytestconfig):
    with consume(root, pytestconfig, "while True: list(loader)") as consumer:
        pids = started_by(consumer)
        time.sleep(0.3)
        os.killpg(consumer.pid, signal.SIGINT)
        _, errors = consumer.communicate(timeout=20)
        assert errors.count("KeyboardInterrupt") == 1
        assert errors.count("Traceback") == 1
    assert are_gone(pids)
