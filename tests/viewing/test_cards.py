"""Cards count what was packed, and say where a sample lies."""

import io
import json
import shutil

import av
import numpy as np
import pytest
import soundfile

from fmrgb_stream import open_sample
from fmrgb_stream.cli.main import main
from fmrgb_stream.errors import ManifestError
from fmrgb_stream.shards import ShardReader, open_dataset
from fmrgb_stream.viewing.dataset_card import Spread, read_dataset_card
from fmrgb_stream.viewing.sample_card import read_sample_card, sync_text
from tests.support.planted import first_record, rewrite
from tests.support.viewed import VARIABLE_TIMES


def test_a_dataset_is_counted_by_split_and_class(numbered):
    card = read_dataset_card(numbered)
    (split,) = card.splits
    assert (split.name, split.num_samples, split.num_groups, split.num_shards) == ("train", 8, 8, 2)
    assert split.samples_by_class == {"class-0": 3, "class-1": 3, "class-2": 2}
    assert split.shard_samples == Spread(least=3, median=4, most=5)


def test_media_are_counted_by_value(numbered):
    card = read_dataset_card(numbered)
    assert card.codecs == {"h264": 8}
    assert card.sizes == {"96x64": 8}
    assert card.frame_rates == {"10": 8}
    assert card.audio_rates == {"16000": 8}
    assert card.sample_frames == Spread(least=12, median=12, most=12)
    assert card.duration_seconds == pytest.approx(8 * 1.2)


def test_bytes_are_those_on_disk(numbered):
    sizes = [path.stat().st_size for path in numbered.glob("*/*.tar")]
    card = read_dataset_card(numbered)
    assert card.num_bytes == sum(sizes)
    assert (card.splits[0].shard_bytes.least, card.splits[0].shard_bytes.most) == (
        min(sizes),
        max(sizes),
    )


def test_what_is_missing_is_counted(odd):
    card = read_dataset_card(odd)
    assert (card.num_without_video, card.num_without_audio, card.num_unlabelled) == (1, 1, 3)


def test_what_is_odd_about_copies_is_counted(copied):
    card = read_dataset_card(copied)
    assert (card.num_variable_rate, card.num_rotated) == (1, 1)


def test_a_crop_is_told_by_its_rule(numbered, tmp_path, capsys):
    shutil.copytree(numbered, tmp_path / "data")
    rewrite(tmp_path / "data", first_record(crop="face"))
    store, manifest = open_dataset(tmp_path / "data")
    key = ShardReader(store, manifest.split("train")).info(0).key
    assert read_sample_card(tmp_path / "data", key).crop == "face"
    assert main(["inspect", str(tmp_path / "data"), key]) == 0
    assert "crop" in capsys.readouterr().out


def test_a_card_is_plain_json(numbered, copied):
    assert json.loads(json.dumps(read_dataset_card(numbered).as_json()))["num_samples"] == 8
    card = read_sample_card(copied, "variable").as_json()
    assert json.loads(json.dumps(card))["key"] == "variable"


def test_keyframes_are_where_the_packer_put_them(numbered):
    packets = read_sample_card(numbered, "clip-003").packets
    assert packets.keyframes == (0, 4, 8)
    assert packets.keyframe_seconds == pytest.approx((0.0, 0.4, 0.8))
    assert packets.is_in_index


def test_keyframes_of_a_container_without_table_are_read_from_it(copied):
    card = read_sample_card(copied, "turned")
    with av.open(io.BytesIO(bytes(open_sample(copied, "turned").video))) as container:
        stream = container.streams.video[0]
        packets = sorted((p.pts, p.is_keyframe) for p in container.demux(stream) if p.size)
    assert card.packets.num_packets == len(packets) == 12
    assert card.packets.keyframes == tuple(np.flatnonzero([key for _, key in packets]))


def test_offsets_lead_to_the_members(numbered):
    card = read_sample_card(numbered, "clip-006")
    content = (numbered / card.shard.removeprefix(f"{numbered}/")).read_bytes()
    starts = {m.extension: content[m.offset : m.offset + 8] for m in card.members}
    assert starts["flac"].startswith(b"fLaC")
    assert starts["mp4"][4:] == b"ftyp"
    assert starts["json"].startswith(b"{")


def test_the_sync_residual_is_the_difference_of_the_decoded_lengths(numbered):
    sample = open_sample(numbered, "clip-002")
    wave, rate = soundfile.read(io.BytesIO(bytes(sample.audio)))
    with av.open(io.BytesIO(bytes(sample.video))) as container:
        num_frames = sum(1 for _ in container.decode(video=0))
    card = read_sample_card(numbered, "clip-002")
    assert card.sync_residual_seconds == pytest.approx(len(wave) / rate - num_frames / 10)


def test_there_is_no_sync_without_both(odd):
    assert read_sample_card(odd, "mute").sync_residual_seconds is None
    assert read_sample_card(odd, "heard").sync_residual_seconds is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0125, "12.50 ms after"), (-0.0005, "0.50 ms before")]
)
def test_a_residual_says_which_ends_later(seconds, text):
    assert sync_text(seconds) == f"{text} the picture"


def test_times_of_a_variable_rate_are_listed(copied):
    times = read_sample_card(copied, "variable").times
    assert times.is_variable_rate
    assert times.frame_seconds == pytest.approx(VARIABLE_TIMES, abs=1e-4)
    assert times.gap_milliseconds.most == pytest.approx(450, abs=0.1)


def test_a_turned_picture_says_so(copied):
    card = read_sample_card(copied, "turned")
    assert card.rotation_degrees in (90, 270)
    assert any("turned by" in line for line in card.streams)


def test_a_card_names_label_group_and_source(numbered):
    card = read_sample_card(numbered, "clip-004")
    assert (card.label, card.label_name, card.group) == (1, "class-1", "clip-004")
    assert card.source["source"] == "clip-004.mp4"


@pytest.mark.parametrize(
    ("key", "hint"),
    [("clip-0O3", "clip-003"), ("CLIP-003", "clip-003"), ("003", "clip-003"), ("zzz", "look like")],
)
def test_an_unknown_key_names_the_nearest(numbered, key, hint):
    with pytest.raises(ManifestError, match=hint):
        read_sample_card(numbered, key)


def test_a_folder_without_manifest_says_how_to_make_one(tmp_path):
    with pytest.raises(ManifestError, match=r"manifest\.json\]: not a dataset; .*fmrgb pack"):
        read_dataset_card(tmp_path)
