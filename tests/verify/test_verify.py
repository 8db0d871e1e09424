"""Whatever is wrong with a dataset is found, and nothing is found in a good one."""

import hashlib
import shutil
from dataclasses import replace

import numpy as np
import pytest

from fmrgb_stream.config import PackConfig
from fmrgb_stream.errors import ConfigError, ShardNotFound
from fmrgb_stream.packing import pack, verify
from fmrgb_stream.shards.manifest import Manifest
from fmrgb_stream.storage import Store
from tests.support.media import Picture, Sound, numbered_frames, tone, write_media
from tests.support.packed import packed_samples
from tests.support.planted import rewrite

SHARD = "train/shard-000000.tar"


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    for number in range(4):
        write_media(
            folder / "in" / f"{number}.mp4",
            picture=Picture(numbered_frames(20, first=number)),
            sound=Sound(tone(300, 0.7)),
        )
    config = PackConfig(num_workers=1, samples_per_shard=2, splits={"train": 0.5, "test": 0.5})
    pack(folder / "in", folder / "out", config=config)
    return folder / "out"


@pytest.fixture
def root(clean, tmp_path):
    return shutil.copytree(clean, tmp_path / "out")


def messages(root, **options):
    report = verify(root, num_workers=1, **options)
    assert report.is_good == (not any(f.severity == "error" for f in report.findings))
    return [str(finding) for finding in report.findings]


def test_clean_dataset_has_no_findings(root):
    report = verify(root, num_workers=2)
    assert report.findings == ()
    assert report.num_decoded == report.num_samples == 4


def test_flipped_byte_is_found_in_its_member(root):
    shard = root / SHARD
    content = bytearray(shard.read_bytes())
    place = content.index(b"mdat") + 300
    content[place] ^= 4
    shard.write_bytes(content)
    found = messages(root)
    assert any("sha256" in message for message in found)
    assert any(".mp4: its crc32c" in message for message in found)


def test_truncated_tar_is_found(root):
    shard = root / SHARD
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    found = messages(root)
    assert any("bytes, the manifest says" in message for message in found)
    assert any("crc32c" in message or "lacks the member" in message for message in found)


@pytest.mark.parametrize("suffix", [".tar", ".parquet"])
def test_missing_file_is_found(root, suffix):
    (root / SHARD).with_suffix(suffix).unlink()
    assert any(f"shard-000000{suffix}: cannot be read" in message for message in messages(root))


def test_changed_sidecar_is_found(root):
    sidecar = (root / SHARD).with_suffix(".parquet")
    sidecar.write_bytes(sidecar.read_bytes() + b"x")
    assert any("shard-000000.parquet" in message for message in messages(root))


def test_group_in_two_splits_is_found(root):
    other = next(s for s in packed_samples(root).values() if s.split == "test").info.group

    def change(row, record):
        return replace(record, info=replace(record.info, group=other)) if row == 0 else record

    rewrite(root, change)
    assert any(f"group {other!r} stands in the splits" in message for message in messages(root))


def test_key_that_stands_twice_is_found(root):
    other = next(s for s in packed_samples(root).values() if s.split == "test").info.key

    def change(row, record):
        return replace(record, info=replace(record.info, key=other)) if row == 0 else record

    rewrite(root, change)
    assert any("the same key stands in" in message for message in messages(root))


def test_undecodable_video_with_right_checksums_is_found(root):
    def change(row, record):
        video = bytearray(record.files["mp4"])
        start = video.index(b"mdat") + 4
        video[start:] = np.random.default_rng(0).bytes(len(video) - start)
        files = {**record.files, "mp4": bytes(video)}
        return replace(record, files=files) if row == 0 else record

    rewrite(root, change)
    found = messages(root)
    assert len(found) == 1
    assert "cannot be decoded" in found[0] or "decodes to" in found[0]
    assert messages(root, decode=0) == []


def test_wrong_frame_count_is_found(root):
    def change(_, record):
        info = replace(record.info, num_frames=21, packets=None)
        return replace(record, info=info)

    rewrite(root, change)
    assert any("decodes to 20 frames, the index says 21" in message for message in messages(root))


def test_sound_of_another_length_is_found(root):
    def change(_, record):
        return replace(record, info=replace(record.info, num_audio_samples=16000))

    rewrite(root, change)
    found = messages(root)
    assert any("s of sound beside" in message for message in found)
    assert any("the index says (16000, 1, 16000)" in message for message in found)


def test_label_without_a_class_is_found(root):
    rewrite(root, lambda _, record: replace(record, info=replace(record.info, label=3)))
    assert any("label 3, but there are 0 classes" in message for message in messages(root))


def test_decode_limit_counts_samples(root):
    assert verify(root, decode=3, num_workers=1).num_decoded == 3


def test_root_without_manifest_is_an_error(tmp_path):
    with pytest.raises(ShardNotFound):
        verify(tmp_path)


@pytest.mark.parametrize("options", [{"num_workers": 0}, {"num_workers": -1}, {"decode": -1}])
def test_counts_that_cannot_be_are_refused(clean, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        verify(clean, **options)


def shuffled_times(table):
    return replace(table, pts=table.pts[[1, 0, *range(2, len(table.pts))]])


def shifted_offsets(table):
    return replace(table, offsets=table.offsets + 1)


def all_keys(table):
    return replace(table, is_key=np.ones_like(table.is_key))


@pytest.mark.parametrize("spoil", [shuffled_times, shifted_offsets, all_keys])
def test_packet_table_that_would_mislead_the_loader_is_found(root, spoil):
    def change(row, record):
        info = replace(record.info, packets=spoil(record.info.packets))
        return replace(record, info=info) if row == 0 else record

    rewrite(root, change)
    assert any("packet table" in message for message in messages(root))
    assert messages(root, decode=0) == []


def test_decoder_configuration_that_is_not_the_video_s_is_found(root):
    def change(row, record):
        extradata = record.info.extradata
        info = replace(record.info, extradata=extradata[:-1] + bytes([extradata[-1] ^ 1]))
        return replace(record, info=info) if row == 0 else record

    rewrite(root, change)
    assert any("packet table" in message for message in messages(root))


def test_manifest_hash_is_that_of_the_file(clean):
    entry = Manifest.load(Store(clean)).splits["train"].shards[0]
    assert entry.sha256 == hashlib.sha256((clean / entry.path).read_bytes()).hexdigest()
