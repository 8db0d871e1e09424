"""Damaged members in shards on disk: both pipelines say the same of every sample, and none hangs."""

from dataclasses import replace

import numpy as np
import pytest

import fmrgb_stream as fs
from fmrgb_stream.clips.flac import flac_layout
from tests.support.agree import DALI
from tests.support.damage import (
    VIDEO_DAMAGE,
    change_info,
    damage_sound,
    damage_video,
    damaged_copy,
    zeroed_packets,
)
from tests.support.datasets import pack_numbered

pytest.importorskip("nvidia.dali")

pytestmark = pytest.mark.timeout(60)
NUM_SAMPLES, BAD = 13, (2, 3, 9)
CLIP = fs.ClipConfig(
    num_frames=4,
    frame_stride=2,
    size=(32, 48),
    channels=("red", "green", "blue", "mel"),
    window="start",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return pack_numbered(tmp_path_factory.mktemp("vp9"), num_clips=NUM_SAMPLES, codec="vp9")


def played(root, *, clip=CLIP, num_epochs=1, **options):
    """(sample id, key, is substitute) of every clip of each epoch, and the keys in quarantine."""
    with fs.build_loader(
        root, batch_size=4, clip=clip, shuffle=False, tail="pad", **options
    ) as loader:
        epochs = [
            [
                place
                for batch in loader
                for place in zip(
                    batch.sample_ids.tolist(), batch.keys, batch.is_substitute.tolist(), strict=True
                )
            ][:NUM_SAMPLES]
            for _ in range(num_epochs)
        ]
        return epochs, {bad["key"]: bad["reason"] for bad in loader.stats()["quarantined"]}


def both(root, **options):
    """What DALI plays and lists, after a look that the CPU pipeline agrees."""
    epochs, bad = played(root, **options | DALI)
    expected = played(root, **options | {"num_workers": 1, "worker_kind": "thread"})
    assert epochs == expected[0]
    assert set(bad) == set(expected[1])
    return epochs, bad


def substituted(epoch):
    assert [sample_id for sample_id, _, _ in epoch] == list(range(NUM_SAMPLES))
    return {sample_id for sample_id, _, is_substitute in epoch if is_substitute}


@pytest.mark.parametrize("has_right_checksums", [True, False], ids=["right crc", "wrong crc"])
@pytest.mark.parametrize("kind", VIDEO_DAMAGE)
def test_bad_members_are_substituted_and_all_others_come_once(
    root, tmp_path, kind, has_right_checksums
):
    damage = dict.fromkeys(BAD, damage_video(VIDEO_DAMAGE[kind]))
    copy = damaged_copy(root, tmp_path / "bad", damage, has_right_checksums=has_right_checksums)
    epochs, bad = both(copy, num_epochs=2)
    for epoch in epochs:
        assert substituted(epoch) == set(BAD)
    assert len(bad) == len(BAD)
    assert all(("checksum" in reason) != has_right_checksums for reason in bad.values())


def test_zeroed_packets_with_the_right_checksum_reach_dali(root, tmp_path, monkeypatch):
    refused = []
    real = fs.pipelines.dali.pipeline.isolate
    monkeypatch.setattr(
        "fmrgb_stream.pipelines.dali.pipeline.isolate",
        lambda batch, *rest: refused.append(batch) or real(batch, *rest),
    )
    damage = dict.fromkeys(BAD, damage_video(zeroed_packets))
    copy = damaged_copy(root, tmp_path / "bad", damage)
    epochs, _ = played(copy, num_epochs=2, **DALI)
    assert [substituted(epoch) for epoch in epochs] == [set(BAD)] * 2
    assert refused, "nothing got as far as DALI's decoder"
    assert len(refused) <= len(BAD), "what DALI refused once goes to the host at once"


def test_shards_that_lost_half_their_samples_lose_no_other(root, tmp_path):
    kinds = list(VIDEO_DAMAGE.values())
    bad = tuple(range(1, NUM_SAMPLES, 2))
    damage = {i: damage_video(kinds[i // 2 % len(kinds)]) for i in bad}
    epochs, named = both(damaged_copy(root, tmp_path / "bad", damage), max_bad_fraction=1.0)
    assert substituted(epochs[0]) == set(bad)
    assert len(named) == len(bad)


def with_broken_block(place):
    """The byte in the middle of a block, counted from the first or the last, is another one."""

    def change(content):
        layout = flac_layout(memoryview(content))
        number = range(layout.num_blocks)[place]
        start, stop = (layout.find_block(memoryview(content), n) for n in (number, number + 1))
        middle = (start + stop) // 2
        return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]

    return change


SOUND_DAMAGE = {
    "empty": lambda _content: b"",
    "garbage": lambda _content: b"garbage!" * 200,
    "truncated": lambda content: content[: len(content) // 2],
    "first block": with_broken_block(0),
    "last block": with_broken_block(-1),
}


@pytest.mark.parametrize("has_right_checksums", [True, False], ids=["right crc", "wrong crc"])
@pytest.mark.parametrize("kind", SOUND_DAMAGE)
def test_the_pipelines_agree_whose_sound_is_bad(root, tmp_path, kind, has_right_checksums):
    damage = dict.fromkeys(BAD, damage_sound(SOUND_DAMAGE[kind]))
    copy = damaged_copy(root, tmp_path / "bad", damage, has_right_checksums=has_right_checksums)
    epochs, bad = both(copy)
    # Nothing of the last block is heard in a clip of the first 0.7 of 1.2 seconds.
    is_harmless = kind == "last block" and has_right_checksums
    assert substituted(epochs[0]) == (set() if is_harmless else set(BAD))
    assert len(bad) == (0 if is_harmless else len(BAD))


def test_damage_between_far_windows_of_sound_does_not_count(root, tmp_path):
    clip = replace(CLIP, num_frames=2, frame_stride=10, mel=fs.MelConfig(window_seconds=0.05))

    def change(content):
        layout = flac_layout(memoryview(content))
        middle = int(0.5 * layout.sample_rate) // layout.block_samples
        return with_broken_block(middle)(content)

    copy = damaged_copy(root, tmp_path / "bad", {3: damage_sound(change)})
    epochs, bad = both(copy, clip=clip)
    assert substituted(epochs[0]) == set()
    assert not bad


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"width": 98}, "is 96x64 pixels, the index says 98x64"),
        ({"num_audio_samples": 18000}, "the index says"),
        ({"num_frames": 11, "packets": None}, ""),
    ],
    ids=["picture size", "length of sound", "frame count"],
)
def test_what_the_index_says_otherwise_is_found(root, tmp_path, changes, told):
    copy = damaged_copy(root, tmp_path / "bad", {5: change_info(**changes)})
    epochs, bad = both(copy)
    assert substituted(epochs[0]) == ({5} if told else set())
    assert all(told in reason for reason in bad.values())


def test_sound_of_another_rate_than_the_index_says_is_bad(root, tmp_path):
    import io

    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(19200, np.int16), 8000, format="FLAC", subtype="PCM_16")
    copy = damaged_copy(
        root, tmp_path / "bad", {5: damage_sound(lambda _content: buffer.getvalue())}
    )
    epochs, bad = both(copy)
    assert substituted(epochs[0]) == {5}
    assert "(8000, 1, 19200), the index says (16000" in next(iter(bad.values()))
