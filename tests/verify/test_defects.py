"""Each defect of the table in README.md, planted in a clean dataset: verify finds it, by name."""

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fmrgb_stream.packing import verify
from tests.support.packed import packed_samples
from tests.support.planted import first_file, first_record, put_in, record_of, rewrite

TRAIN, TEST = "train/shard-000000.tar", "test/shard-000000.tar"


def flip_byte(root, _odd):
    shard = root / TRAIN
    content = bytearray(shard.read_bytes())
    content[content.index(b"mdat") + 300] ^= 4
    shard.write_bytes(content)


def truncate_tar(root, _odd):
    shard = root / TRAIN
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])


def lose_tar(root, _odd):
    (root / TRAIN).unlink()


def lose_sidecar(root, _odd):
    (root / TRAIN).with_suffix(".parquet").unlink()


def change_sidecar(root, _odd):
    other = (root / TEST).with_suffix(".parquet").read_bytes()
    (root / TRAIN).with_suffix(".parquet").write_bytes(other)


def miscount_samples(root, _odd):
    edit_manifest(root, lambda m: m["splits"]["train"]["shards"][0].update(num_samples=9))


def add_member(root, _odd):
    append(root, tarfile.TarInfo("stray.mp4"), b"x" * 100)


def add_member_that_leaves(root, _odd):
    append(root, tarfile.TarInfo("../../outside.mp4"), b"x")


def add_link(root, _odd):
    entry = tarfile.TarInfo("link.mp4")
    entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/hostname"
    append(root, entry, b"")


def repeat_member(root, _odd):
    name = next(iter(packed_samples(root))) + ".mp4"
    append(root, tarfile.TarInfo(name), b"another content")


def break_video(root, _odd):
    def noise(video):
        start = video.index(b"mdat") + 4
        return video[:start] + np.random.default_rng(0).bytes(len(video) - start)

    rewrite(root, first_file("mp4", noise))


def break_sound(root, _odd):
    def noise(flac):
        return flac[:400] + np.random.default_rng(0).bytes(len(flac) - 400)

    rewrite(root, first_file("flac", noise))


def miscount_frames(root, _odd):
    rewrite(root, first_record(num_frames=21, packets=None))


def missize_frames(root, _odd):
    rewrite(root, first_record(width=112))


def mislead_packets(root, _odd):
    def change(row, record):
        packets = record.info.packets
        spoiled = replace(packets, is_key=np.ones_like(packets.is_key))
        return record if row else replace(record, info=replace(record.info, packets=spoiled))

    rewrite(root, change)


def misstate_rate(root, _odd):
    """The index says 12 frames a second where 10 are shown: lips and sound drift apart."""
    rewrite(root, first_record(fps=12.0))


def stop_the_clock(root, _odd):
    rewrite(root, first_record(fps=0.0))


def shorten_sound(root, _odd):
    rewrite(root, first_record(num_audio_samples=16000))


def mislabel(root, _odd):
    rewrite(root, first_record(label=7))


def add_targets(root, _odd):
    rewrite(root, first_record(targets=(1.0,)))


def disagree_with_json(root, _odd):
    def other_group(content):
        return json.dumps({**json.loads(content), "group": "someone else"}).encode()

    rewrite(root, first_file("json", other_group))


def repeat_key(root, _odd):
    rewrite(root, first_record(key=sample_of(root, "test").info.key))


def leak_group(root, _odd):
    rewrite(root, first_record(group=sample_of(root, "test").info.group), split="train")


def leak_bytes(root, _odd):
    twin = record_of(root, sample_of(root, "train").info.key)
    rewrite(root, put_in(twin), split="test")


def leak_look(root, odd):
    rewrite(root, put_in(record_of(odd, "again")), split="test")


def go_black(root, odd):
    rewrite(root, put_in(record_of(odd, "black")))


def freeze(root, odd):
    rewrite(root, put_in(record_of(odd, "frozen")))


def silence(root, odd):
    rewrite(root, put_in(record_of(odd, "silent")))


def halve_sound(root, odd):
    rewrite(root, put_in(record_of(odd, "halved")))


def whisper(root, odd):
    rewrite(root, put_in(record_of(odd, "quiet")))


def add_pickle(root, _odd):
    def change(row, record):
        return record if row else replace(record, files={**record.files, "pkl": b"cos\nsystem"})

    rewrite(root, change)


def drop_statistics(root, _odd):
    edit_manifest(root, lambda m: m.update(channel_stats={}))


DEFECTS = [
    (flip_byte, "error", "crc32c"),
    (truncate_tar, "error", "tar"),
    (lose_tar, "error", "shard"),
    (lose_sidecar, "error", "sidecar"),
    (change_sidecar, "error", "sidecar"),
    (miscount_samples, "error", "sample-count"),
    (add_member, "error", "tar"),
    (add_member_that_leaves, "error", "member-name"),
    (add_link, "error", "member-type"),
    (repeat_member, "error", "tar"),
    (break_video, "error", "video-decode"),
    (break_sound, "error", "sound-decode"),
    (miscount_frames, "error", "frame-count"),
    (missize_frames, "error", "frame-size"),
    (mislead_packets, "error", "packet-table"),
    (misstate_rate, "error", "frame-times"),
    (stop_the_clock, "error", "index"),
    (shorten_sound, "error", "av-length"),
    (mislabel, "error", "label"),
    (add_targets, "error", "targets"),
    (disagree_with_json, "error", "json"),
    (repeat_key, "error", "key"),
    (leak_group, "error", "group-leak"),
    (leak_bytes, "error", "duplicate"),
    (leak_look, "warning", "look-alike"),
    (go_black, "warning", "black"),
    (freeze, "warning", "frozen"),
    (silence, "warning", "silent"),
    (halve_sound, "warning", "sound-gap"),
    (whisper, "warning", "loudness"),
    (add_pickle, "warning", "pickle"),
    (drop_statistics, "info", "statistics"),
]


def sample_of(root, split):
    return next(s for s in packed_samples(root).values() if s.split == split)


def edit_manifest(root, change):
    content = json.loads((root / "manifest.json").read_text())
    change(content)
    (root / "manifest.json").write_text(json.dumps(content))


def append(root, entry, content):
    """Add a member to the tar, and let manifest and sidecar agree on everything else."""
    shard = root / TRAIN
    entry.size = len(content)
    with tarfile.open(shard, "a") as tar:
        tar.addfile(entry, io.BytesIO(content))
    changed = {
        "num_bytes": shard.stat().st_size,
        "sha256": hashlib.sha256(shard.read_bytes()).hexdigest(),
    }
    edit_manifest(root, lambda m: m["splits"]["train"]["shards"][0].update(changed))


@pytest.mark.parametrize(
    ("plant", "severity", "check"), DEFECTS, ids=[plant.__name__ for plant, _, _ in DEFECTS]
)
def test_planted_defect_is_found(root, odd, plant, severity, check):
    plant(root, odd)
    report = verify(root, num_workers=1)
    assert (severity, check) in {(f.severity, f.check) for f in report.findings}
    assert report.is_good == (severity != "error")


@pytest.mark.parametrize(
    "change",
    [
        {"fps": float("nan")},
        {"audio_sample_rate": 0},
        {"num_frames": 0},
        {"num_audio_samples": 10**11},
        {"duration_seconds": -1.0},
        {"rotation_degrees": 45},
        {"frame_times_seconds": np.arange(3.0)},
        {"frame_times_seconds": np.arange(20.0)[::-1]},
        {"frame_times_seconds": np.full(20, np.nan)},
    ],
)
def test_number_that_cannot_be_is_found(root, change):
    rewrite(root, first_record(**change))
    report = verify(root, num_workers=1)
    assert [f.check for f in report.findings if f.severity == "error"] == ["index"]
    assert (report.num_samples, report.num_decoded) == (10, 9)


def test_clean_dataset_has_no_finding(root):
    assert verify(root, num_workers=2).findings == ()


def test_samples_of_the_odd_dataset_are_each_reported_for_one_reason(odd):
    found = sorted((f.key, f.check) for f in verify(odd, num_workers=1).findings)
    assert found == [
        ("black", "black"), ("frozen", "frozen"), ("halved", "sound-gap"), ("silent", "silent"),
    ]  # fmt: skip


def test_table_of_the_readme_names_every_defect():
    readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in readme.splitlines() if line.startswith("| `")]
    named = {(row[1].strip(" `"), row[3].strip(), row[4].strip(" `")) for row in rows}
    assert named == {(plant.__name__, severity, check) for plant, severity, check in DEFECTS}
