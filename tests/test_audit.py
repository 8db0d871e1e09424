"""The audit: what loaders log as they deliver, and what it proves; killed ranks and restarts too."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import pytest

import fmrgb_stream as fs
from fmrgb_stream.cli.main import main as fmrgb
from fmrgb_stream.errors import ConfigError, DatasetError, StorageError
from fmrgb_stream.shards import Manifest, ShardReader
from fmrgb_stream.shards.audit import audit_stretches
from fmrgb_stream.shards.audit_records import read_logs
from fmrgb_stream.storage import Store
from tests.support.consume_ranks import CLIP
from tests.support.datasets import pack_numbered
from tests.support.origin import Origin
from tests.support.packed import all_bytes

NUM_CLIPS = 26
NUM_OTHERS = 7


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    return pack_numbered(tmp_path_factory.mktemp("audited"), num_clips=NUM_CLIPS)


@pytest.fixture(scope="session")
def other(tmp_path_factory):
    return pack_numbered(tmp_path_factory.mktemp("other"), num_clips=NUM_OTHERS)


def build(root, folder, *, rank=0, world_size=1, batch_size=4, **options):
    world = fs.WorldInfo(rank=rank, world_size=world_size)
    source = {"sources": root} if isinstance(root, list) else {"root": root}
    return fs.build_loader(
        **source, batch_size=batch_size, clip=CLIP, world=world, audit_log=folder,
        worker_kind="thread", num_workers=1, **options,
    )  # fmt: skip


def play(root, folder, *, world_size=1, num_epochs=1, **options):
    for rank in range(world_size):
        with build(root, folder, rank=rank, world_size=world_size, **options) as loader:
            for _ in range(num_epochs):
                list(loader)


def audit(folder):
    (order,) = audit_stretches(read_logs(folder))
    return order


def epochs(folder, *names):
    return [tuple(getattr(epoch, name) for name in names) for epoch in audit(folder).epochs]


@pytest.mark.parametrize(
    ("tail", "expected", "padding", "dropped"),
    [("drop", 24, 0, 2), ("pad", 26, 4, 0), ("wrap", 26, 4, 0)],
)
def test_whole_epochs_of_all_ranks_are_proved(root, tmp_path, tail, expected, padding, dropped):
    play(root, tmp_path, world_size=2, batch_size=3, num_epochs=2, tail=tail)
    names = ("epoch", "num_expected", "num_delivered", "num_padding", "num_dropped")
    assert epochs(tmp_path, *names) == [
        (epoch, expected, expected, padding, dropped) for epoch in (0, 1)
    ]
    assert audit(tmp_path).is_good()


@pytest.mark.parametrize("tail", ["drop", "pad", "wrap"])
def test_a_mixture_is_proved_by_passes(root, other, tmp_path, tail):
    sources = [(root, 1), (other, 2)]
    play(sources, tmp_path, world_size=2, batch_size=2, num_epochs=5, tail=tail)
    found = audit(tmp_path)
    assert found.is_good()
    shares = [source.clips_per_epoch for source in found.sources]
    assert shares == [11, 22]
    whole = [one.number for one in found.passes if one.source == 1 and not one.is_open]
    assert len(whole) >= 13
    assert all(one.num_delivered == one.num_clips for one in found.passes if not one.is_open)


def test_a_missing_rank_shows_as_missing_clips_with_their_keys(root, tmp_path, capsys):
    play(root, tmp_path, world_size=2, batch_size=3, num_epochs=2, tail="pad")
    (gone,) = tmp_path.glob("rank-00001-*")
    ids = set()
    for line in gone.read_text().splitlines():
        batch = json.loads(line)
        if batch["what"] == "batch" and batch["epoch"] == 0:
            ids |= {s for at, s in enumerate(batch["samples"]) if at not in batch["padding"]}
    gone.unlink()
    assert not audit(tmp_path).is_good()
    assert fmrgb(["audit", str(tmp_path), "--json", "--show", "100"]) == 1
    (order,) = json.loads(capsys.readouterr().out)["orders"]
    reader = ShardReader(Store(root), Manifest.load(Store(root)).split("train"))
    expected = {(sample, reader.info(sample).key) for sample in ids}
    named = {(n["sample_id"], n["key"]) for n in order["missing"] if n["number"] == 0}
    assert named == expected
    assert order["epochs"][0]["num_missing"] == len(ids)


def test_two_processes_that_take_themselves_for_one_rank_show_as_duplicates(root, tmp_path):
    with build(root, tmp_path) as one, build(root, tmp_path) as two:
        list(chain.from_iterable(zip(one, two, strict=True)))
    assert epochs(tmp_path, "num_duplicates") == [(24,)]
    assert not audit(tmp_path).is_good()


def test_an_epoch_that_one_process_plays_again_counts_by_itself(root, tmp_path):
    with build(root, tmp_path, tail="pad") as loader:
        list(loader)
        loader.set_epoch(0)
        list(loader)
    assert epochs(tmp_path, "playing", "coverage", "num_duplicates") == [(0, 1.0, 0), (1, 1.0, 0)]


def test_what_was_delivered_after_the_saved_state_is_rolled_back_by_a_resume(root, tmp_path):
    with build(root, tmp_path, tail="pad") as loader:
        batches = iter(loader)
        next(batches)
        state = loader.state_dict()
        next(batches)
        next(batches)
    play_from(state, root, tmp_path, world_size=2, batch_size=3, tail="pad")
    names = ("coverage", "num_rolled_back", "num_duplicates")
    assert epochs(tmp_path, *names) == [(1.0, 8, 0)]


def play_from(state, root, folder, *, world_size, **options):
    for rank in range(world_size):
        with build(root, folder, rank=rank, world_size=world_size, **options) as loader:
            loader.load_state_dict(state)
            list(loader)


def test_clips_left_out_between_two_runs_are_missing(root, tmp_path):
    with build(root, tmp_path, tail="pad") as loader:
        next(iter(loader))
        state = loader.state_dict()
    play_from(state | {"position": 12}, root, tmp_path, world_size=1, tail="pad")
    assert epochs(tmp_path, "num_missing", "num_to_come") == [(8, 0)]


def test_an_epoch_that_was_broken_off_is_to_come_unless_another_followed(root, tmp_path):
    with build(root, tmp_path, tail="pad") as loader:
        next(iter(loader))
        assert epochs(tmp_path, "num_missing", "num_to_come") == [(0, 22)]
        assert not audit(tmp_path).is_good()
        assert audit(tmp_path).is_good(may_be_running=True)
        loader.set_epoch(1)
        list(loader)
    assert epochs(tmp_path, "num_missing", "num_to_come") == [(22, 0), (0, 0)]


def test_a_log_that_begins_with_a_resume_is_judged_from_there(root, tmp_path):
    with build(root, tmp_path / "lost", tail="pad") as loader:
        next(iter(loader))
        state = loader.state_dict()
    play_from(state, root, tmp_path / "kept", world_size=1, tail="pad")
    assert epochs(tmp_path / "kept", "num_expected", "num_delivered") == [(22, 22)]


def test_substitutes_are_counted_and_named(root, tmp_path):
    copy = tmp_path / "damaged"
    subprocess.run(["cp", "-r", root, copy], check=True)
    split = Manifest.load(Store(copy)).split("train")
    reader = ShardReader(Store(copy), split)
    member = reader.info(2).member("mp4")
    tar = copy / split.shards[0].path
    content = bytearray(tar.read_bytes())
    content[member.offset + member.size // 2] ^= 0x10
    tar.write_bytes(content)
    play(copy, tmp_path / "log", tail="pad")
    found = audit(tmp_path / "log")
    assert found.is_good()
    assert [epoch.num_substitutes for epoch in found.epochs] == [1]
    assert [(name.sample_id, name.key) for name in found.substituted] == [(2, reader.info(3).key)]


def test_a_line_cut_off_by_a_kill_was_not_delivered(root, tmp_path):
    play(root, tmp_path, tail="pad")
    (file,) = tmp_path.glob("rank-*")
    file.write_bytes(file.read_bytes()[:-9])
    assert epochs(tmp_path, "num_to_come") == [(2,)]


def test_sliding_windows_are_audited_each(root, tmp_path):
    clip = fs.ClipConfig(
        num_frames=2, frame_stride=1, size=(16, 16), channels="rgb",
        window="sliding", window_seconds=0.5, hop_seconds=0.25,
    )  # fmt: skip
    with fs.build_loader(root, batch_size=8, clip=clip, audit_log=tmp_path, tail="pad") as loader:
        list(loader)
        assert epochs(tmp_path, "num_delivered", "coverage") == [(loader.num_clips, 1.0)]


def test_the_splits_of_a_training_are_audited_apart(root, other, tmp_path):
    play(root, tmp_path, tail="pad")
    play(other, tmp_path, tail="pad")
    assert sorted(one.epochs[0].num_expected for one in audit_stretches(read_logs(tmp_path))) == [
        NUM_OTHERS,
        NUM_CLIPS,
    ]


def test_a_folder_without_logs_and_files_of_others_are_refused(tmp_path, capsys):
    with pytest.raises(StorageError, match="no audit logs"):
        read_logs(tmp_path)
    (tmp_path / "rank-00000-x.jsonl").write_text('{"what": "loader", "version": 7}\n')
    with pytest.raises(DatasetError, match="version 7"):
        read_logs(tmp_path)
    assert fmrgb(["audit", str(tmp_path)]) == 2
    assert "version 7" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_to_is_told_at_once(root, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="audit log"):
        build(root, tmp_path / "file")


def test_the_command_prints_a_table_and_its_verdict(root, tmp_path, capsys):
    play(root, tmp_path, num_epochs=2, tail="pad")
    assert fmrgb(["audit", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "26/26" in shown
    assert "100.0 %" in shown
    assert "every clip came exactly once" in shown


def start_ranks(sources, folder, *, world_size, **options):
    """Processes of one training, with the rendezvous of their own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"tail": "pad", "num_epochs": 2, "step_seconds": 0.05, "commit_every": 2} | options
    words = [json.dumps(sources), str(folder / "state.json"), str(folder / "log")]
    environment = os.environ | {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world_size),
        "OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": str(world_size),
    }  # fmt: skip
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.consume_ranks", *words, json.dumps(settings)],
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        for rank in range(world_size)
    ]


def kill_one_then_end_all(processes, *, num_commits):
    """SIGKILL for the last rank once enough was committed; what the others do then is up to them."""
    for _ in range(num_commits):
        assert processes[0].stdout.readline() == "committed\n", "the training died by itself"
    processes[-1].send_signal(signal.SIGKILL)
    end = time.monotonic() + 100
    codes = [process.wait(max(end - time.monotonic(), 0.1)) for process in processes]
    processes[0].stdout.close()
    assert all(codes), "a rank went on although another was killed"


def end_well(processes):
    for process in processes:
        if process.stdout:
            process.stdout.read()
            process.stdout.close()
        assert process.wait(100) == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("first", "second"), [(2, 1), pytest.param(4, 2, marks=pytest.mark.slow)])
def test_a_killed_rank_and_a_restart_on_fewer_processes_lose_and_double_nothing(
    root, tmp_path, first, second, capsys
):
    sources = [str(root)]
    ranks = start_ranks(sources, tmp_path, world_size=first, batch_size=2)
    kill_one_then_end_all(ranks, num_commits=2)
    end_well(start_ranks(sources, tmp_path, world_size=second, batch_size=2, step_seconds=0))
    assert fmrgb(["audit", str(tmp_path / "log"), "--json"]) == 0
    (order,) = json.loads(capsys.readouterr().out)["orders"]
    assert order["world_sizes"] == [second, first]
    assert [(e["coverage"], e["num_duplicates"]) for e in order["epochs"]] == [(1.0, 0)] * 2


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_a_mixture_survives_a_killed_rank_and_another_world_with_a_dropped_tail(
    root, other, tmp_path, capsys
):
    sources = [[str(root), 1], [str(other), 1]]
    options = {"tail": "drop", "batch_size": 2, "num_epochs": 4}
    ranks = start_ranks(sources, tmp_path, world_size=4, **options)
    kill_one_then_end_all(ranks, num_commits=3)
    options |= {"batch_size": 3, "step_seconds": 0}
    end_well(start_ranks(sources, tmp_path, world_size=2, **options))
    assert fmrgb(["audit", str(tmp_path / "log"), "--json"]) == 0
    (order,) = json.loads(capsys.readouterr().out)["orders"]
    assert all(
        one["is_open"] or one["num_delivered"] == one["num_clips"] for one in order["passes"]
    )


def test_the_keys_of_missing_samples_come_from_the_server_they_were_read_from(
    root, tmp_path, capsys
):
    with Origin(all_bytes(root)) as origin:
        with build(origin.url(), tmp_path, rank=1, world_size=2) as loader:
            for _ in range(2):
                list(loader)
        assert fmrgb(["audit", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert re.search(r"missing: sample \d+ clip-\d+", shown.out)
    assert shown.err == ""


def test_an_audit_does_not_wait_for_a_server_that_is_gone(root, tmp_path, capsys):
    with Origin(all_bytes(root)) as origin:
        with build(origin.url(), tmp_path, rank=1, world_size=2) as loader:
            for _ in range(2):
                list(loader)
        for name in origin.objects:
            origin.script(name, "500", forever=True)
        began = time.monotonic()
        assert fmrgb(["audit", str(tmp_path)]) == 1
    assert time.monotonic() - began < 5.0
    assert "no keys for the missing samples" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        (0, "sources", 3),
        (0, "sources", []),
        (0, "rank", "first"),
        (1, "epoch", None),
        (1, "time", "noon"),
        (2, "samples", None),
        (2, "samples", ["a", "b", "c", "d"]),
        (2, "padding", [99]),
        (2, "position", "x"),
        (2, "substitutes", 5),
    ],
)
def test_a_damaged_log_is_told_without_a_traceback(root, tmp_path, capsys, line, name, value):
    play(root, tmp_path)
    (file,) = tmp_path.iterdir()
    lines = [json.loads(text) for text in file.read_text().splitlines()]
    lines[line][name] = value
    file.write_text("".join(json.dumps(one) + "\n" for one in lines))
    assert fmrgb(["audit", str(tmp_path)]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_an_audit_log_in_a_bucket_is_refused(root):
    with pytest.raises(ConfigError, match="folder of this machine"):
        build(root, "s3://bucket/audit")
