"""Tars that WebDataset's own writer made become datasets, without being touched."""

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import fmrgb_stream as fs
from fmrgb_stream.cli.main import main
from fmrgb_stream.config import IndexConfig
from fmrgb_stream.errors import ConfigError, DatasetError, PackError, SourceError
from fmrgb_stream.packing import index, verify
from fmrgb_stream.packing.index_dataset import split_of
from tests.indexing.conftest import NUM_FRAMES, beside, inside, sound_file, video, write_tar
from tests.support.media import Sound, chirps_at, find_chirps, read_numbers, tone, write_media
from tests.support.packed import all_bytes, packed_samples

ONE = IndexConfig(num_workers=1, stats_samples=2)


@pytest.fixture
def tars(foreign, tmp_path):
    return shutil.copytree(foreign, tmp_path / "tars")


def infos(root):
    return {key: sample.info for key, sample in packed_samples(root).items()}


def only(tmp_path, files, config=ONE):
    """Index one sample of these files in the train split."""
    write_tar(tmp_path / "one" / "train-0.tar", [("k", files)])
    report = index(tmp_path / "one", config=config)
    return report, infos(tmp_path / "one")["k"]


def test_tars_stay_as_they_are_and_get_sidecars(tars):
    before = all_bytes(tars)
    index(tars, config=ONE)
    after = all_bytes(tars)
    assert {name: after[name] for name in before} == before
    assert {name.rpartition(".")[2] for name in set(after) - set(before)} == {
        "parquet", "idx", "json", "jsonl",
    }  # fmt: skip


def test_splits_are_read_out_of_names_and_labels_out_of_cls(tars):
    report = index(tars, config=ONE)
    assert {n: s.num_samples for n, s in report.manifest.splits.items()} == {"train": 6, "val": 3}
    assert (report.label_source, report.manifest.classes) == ("cls", ("0", "1"))
    assert [info.label for _, info in sorted(infos(tars).items())] == [0, 1, 0, 1, 0, 1, 1, 1, 1]


def test_indexed_dataset_has_no_finding(tars):
    index(tars, config=ONE)
    assert verify(tars, num_workers=1).findings == ()


def test_read_only_source_gets_a_folder_of_its_own(foreign, tmp_path):
    before = all_bytes(foreign)
    index(foreign, tmp_path / "out", config=ONE)
    assert all_bytes(foreign) == before
    assert verify(tmp_path / "out", num_workers=1).findings == ()
    assert (tmp_path / "out" / "train-0000.tar").is_symlink()


def spoilt(files):
    """Packets in the middle of the mp4 are other bytes."""
    content = bytearray(files["mp4"])
    half, third = len(content) // 2, len(content) // 3
    content[half : half + third] = bytes((7 * i * i + 3) % 256 for i in range(third))
    return {**files, "mp4": bytes(content)}


def test_clip_that_cannot_be_decoded_costs_a_warning(tmp_path):
    good = inside(tmp_path, 1)
    samples = [("a", good), ("b", spoilt(good)), ("c", good)]
    write_tar(tmp_path / "tars" / "train-0.tar", samples)
    report = index(tmp_path / "tars", config=replace(ONE, stats_samples=8))
    assert report.manifest.stats_num_clips == 2
    assert [text for text in report.warnings if "statistics" in text and "'b'" in text]


def test_no_clip_that_can_be_decoded_is_an_error(tmp_path):
    write_tar(tmp_path / "tars" / "train-0.tar", [("b", spoilt(inside(tmp_path, 1)))])
    with pytest.raises(DatasetError, match="none of 1 train clips"):
        index(tmp_path / "tars", config=ONE)


def test_statistics_of_sorted_tars_are_of_all_classes(tmp_path):
    dark, light = (inside(tmp_path, number) for number in (0, 1023))
    for shard, files in enumerate((dark, light)):
        write_tar(
            tmp_path / "tars" / f"train-{shard}.tar", [(f"{shard}{n}", files) for n in range(4)]
        )
    means = []
    for count in (2, 8):
        config = replace(ONE, stats_samples=count)
        manifest = index(tmp_path / "tars", tmp_path / f"{count}", config=config).manifest
        means.append(manifest.channel_stats["red"].mean)
    assert means[0] == pytest.approx(means[1], rel=1e-6)


def test_dali_indexes_can_be_asked_for_later(tars):
    index(tars, config=replace(ONE, dali_idx=False))
    assert list(tars.rglob("*.idx")) == []
    assert index(tars, config=ONE).num_resumed == 9
    assert len(list(tars.rglob("*.idx"))) == 3


def test_folder_inside_the_source_is_refused(tars):
    with pytest.raises(PackError, match="apart"):
        index(tars, tars / "dataset", config=ONE)
    assert not (tars / "dataset").exists()


def test_bucket_is_no_place_for_sidecars(tars, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="copy it to the bucket"):
        index(tars, "s3://bucket/out", config=ONE)
    assert not (tmp_path / "s3:").exists()


def test_second_run_gives_the_same_files_and_probes_nothing(tars):
    index(tars, config=ONE)
    before = all_bytes(tars)
    (tars / "manifest.json").unlink()
    report = index(tars, config=ONE)
    assert report.num_resumed == 9
    assert all_bytes(tars) == before


def test_changed_tar_is_looked_into_again(tars, tmp_path):
    index(tars, config=ONE)
    write_tar(tars / "train-0000.tar", [("new", inside(tmp_path, 3))])
    report = index(tars, config=ONE)
    assert report.num_resumed == 6
    assert "new" in infos(tars)


def test_dali_index_is_what_its_own_tool_writes(tars, tmp_path):
    wds2idx = pytest.importorskip("wds2idx", reason="comes with DALI")
    index(tars, config=ONE)
    subprocess.run(
        [sys.executable, wds2idx.__file__, tars / "train-0000.tar", tmp_path / "own.idx"],
        check=True,
        capture_output=True,
    )
    assert (tars / "train-0000.idx").read_text() == (tmp_path / "own.idx").read_text()


def test_loader_delivers_both_kinds_of_sound(tars):
    index(tars, config=ONE)
    clip = fs.ClipConfig(num_frames=8, frame_stride=2, size=(48, 64), window="start")
    for split, numbers in (("train", range(6)), ("val", range(6, 9))):
        with fs.build_loader(
            tars, split=split, batch_size=3, clip=clip, shuffle=False, num_workers=1,
            on_bad_sample="raise", worker_kind="thread",
        ) as loader:  # fmt: skip
            batches = list(loader)
        clips_BCTHW = np.concatenate([batch.clip.numpy() for batch in batches])
        for number, planes_CTHW in zip(numbers, clips_BCTHW, strict=True):
            shown = read_numbers(planes_CTHW[:3].transpose(1, 2, 3, 0))
            assert shown == [(61 * number + k) % 1024 for k in range(0, 16, 2)]
            assert planes_CTHW[4].max() > 100


def test_model_trains_on_an_indexed_dataset(tars):
    index(tars, config=ONE)
    clip = fs.ClipConfig(num_frames=4, frame_stride=2, size=(32, 32))
    with fs.build_loader(tars, batch_size=3, clip=clip, num_workers=1) as loader:
        model = fs.create_model(
            "smallcnn",
            num_classes=len(loader.classes),
            channels=clip.channels,
            channel_stats=loader.manifest.channel_stats,
        )
        optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
        losses = []
        for _ in range(2):
            for batch in loader:
                logits = model(batch.clip, batch.num_valid_frames)
                loss = torch.nn.functional.cross_entropy(logits, batch.labels)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses.append(loss.item())
    assert len(losses) == 4
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("where", ["inside", "beside"])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_sound_is_on_the_clock_of_the_picture(tmp_path, where, container):
    """A chirp at 0.5 s and at 1.4 s; the picture starts 0.3 s into the file."""
    wave, start = chirps_at([0.5, 1.4], seconds=2.0), 0.3 if where == "inside" else 0.0
    sound = Sound(wave, codec="aac", start_seconds=start)
    content = video(
        tmp_path, f"v.{container}", 1, start_seconds=0.3, sound=sound if where == "inside" else None
    )
    files = {container: content}
    if where == "beside":
        files["flac"] = sound_file_of(tmp_path, Sound(wave, codec="flac"))
    only(tmp_path, files)
    clip = fs.ClipConfig(
        num_frames=20, frame_stride=1, size=(32, 32), window="start", extras=("waveform",)
    )
    with fs.build_loader(
        tmp_path / "one", batch_size=1, clip=clip, num_workers=1, tail="pad",
        on_bad_sample="raise", worker_kind="thread",
    ) as loader:  # fmt: skip
        waveform = next(iter(loader)).waveform[0].numpy()
    found = find_chirps(waveform, 16000)
    assert found == pytest.approx([0.5, 1.4], abs=0.003)


def sound_file_of(folder, sound):
    suffix = {"flac": "flac", "libmp3lame": "mp3", "aac": "m4a", "libopus": "ogg"}[sound.codec]
    return write_media(folder / f"s.{suffix}", sound=sound).read_bytes()


@pytest.mark.parametrize(
    ("extension", "codec", "rate"),
    [("wav", "pcm_s16le", 22050), ("flac", "flac", 48000), ("mp3", "libmp3lame", 44100),
     ("m4a", "aac", 48000), ("ogg", "libopus", 48000)],
)  # fmt: skip
def test_every_kind_of_sound_gives_the_tone_that_was_put_in(tmp_path, extension, codec, rate):
    wav = sound_file(tmp_path, f"s.{extension}", 5, codec, rate=rate)
    _, info = only(tmp_path, {extension: wav, "cls": b"0"})
    assert not info.has_video
    clip = fs.ClipConfig(
        num_frames=20, frame_stride=2, size=(8, 8), window="start", channels=("mel",),
        extras=("waveform",),
    )  # fmt: skip
    with fs.build_loader(
        tmp_path / "one",
        batch_size=1,
        clip=clip,
        num_workers=1,
        tail="pad",
        on_bad_sample="raise",
        worker_kind="thread",
    ) as loader:
        waveform = next(iter(loader)).waveform[0].numpy()[4000:16000]
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    assert spectrum.argmax() * 16000 / len(waveform) == pytest.approx(400, abs=2)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [("v.mp4", "libx264", "yuv420p"), ("v.mov", "libx264", "yuv420p"),
     ("v.avi", "mpeg4", "yuv420p"), ("v.mkv", "ffv1", "yuv420p"),
     ("v.webm", "libvpx-vp9", "yuv420p")],
)  # fmt: skip
def test_every_container_gives_the_frames_that_were_put_in(tmp_path, name, codec, pix_fmt):
    content = video(tmp_path, name, 2, codec=codec, pix_fmt=pix_fmt, bit_rate=2_000_000)
    _, info = only(tmp_path, {name.rpartition(".")[2]: content})
    assert info.num_frames == NUM_FRAMES
    clip = fs.ClipConfig(num_frames=20, frame_stride=1, size=(48, 64), channels="rgb")
    with fs.build_loader(
        tmp_path / "one",
        batch_size=1,
        clip=clip,
        num_workers=1,
        tail="pad",
        on_bad_sample="raise",
        worker_kind="thread",
    ) as loader:
        planes_CTHW = next(iter(loader)).clip[0].numpy()
    assert read_numbers(planes_CTHW.transpose(1, 2, 3, 0)) == [122 + k for k in range(20)]


def test_plain_flac_is_read_as_it_is(tmp_path):
    files = {
        "mp4": video(tmp_path, "v.mp4", 0),
        "flac": sound_file(tmp_path, "s.flac", 0, "flac", rate=16000),
    }
    _, info = only(tmp_path, files)
    assert info.sound_zero_seconds is None


def test_names_of_classes_come_from_json(tmp_path):
    samples = [
        (n, {**beside(tmp_path, 0), "json": json.dumps({"class": n}).encode()}) for n in "ba"
    ]
    write_tar(tmp_path / "t" / "train.tar", samples)
    report = index(tmp_path / "t", config=ONE)
    assert report.manifest.classes == ("a", "b")
    assert report.label_source == "json.class"


def test_captions_are_no_classes_and_repeated_words_are(tmp_path):
    for name, texts in (("captions", ["one", "two", "three"]), ("words", ["cat", "cat", "cat"])):
        files = [{"wav": sound_file(tmp_path, "s.wav", 0, "pcm_s16le")} for _ in texts]
        samples = [
            (str(n), {**f, "txt": text.encode()})
            for n, (f, text) in enumerate(zip(files, texts, strict=True))
        ]
        write_tar(tmp_path / name / "train.tar", samples)
    assert index(tmp_path / "captions", config=ONE).manifest.classes == ()
    assert index(tmp_path / "words", config=ONE).manifest.classes == ("cat",)


def test_targets_come_from_json_fields(tmp_path):
    files = {**beside(tmp_path, 0), "json": b'{"a": {"v": 0.5}, "w": [1, 2]}'}
    report, info = only(tmp_path, files, replace(ONE, label="none", targets=("json.a.v", "json.w")))
    assert info.targets == (0.5, 1.0, 2.0)
    assert report.manifest.classes == ()
    assert len(report.manifest.target_names) == 3


def test_numbers_that_are_no_classes_are_refused_with_the_cure(tmp_path):
    with pytest.raises(ConfigError, match="targets"):
        only(tmp_path, {**beside(tmp_path, 0), "json": b'{"label": 0.5}'})


def test_group_keeps_samples_together_in_the_index(tmp_path):
    _, info = only(tmp_path, {**beside(tmp_path, 0), "json": b'{"group": "ann", "label": 1}'})
    assert info.group == "ann"


def test_keys_that_repeat_in_other_shards_get_the_shard_in_front(tmp_path):
    for shard in range(2):
        write_tar(tmp_path / "t" / f"train-{shard}.tar", [("0", inside(tmp_path, shard))])
    index(tmp_path / "t", config=ONE)
    assert set(infos(tmp_path / "t")) == {"train-0/0", "train-1/0"}
    assert verify(tmp_path / "t", num_workers=1).findings == ()


def test_unusable_samples_are_listed_and_left_out(tars, tmp_path):
    write_tar(
        tars / "train-0002.tar",
        [("good", inside(tmp_path, 9)), ("noise", {"mp4": b"\0" * 999}), ("text", {"txt": b"x"})],
    )
    report = index(tars, config=ONE)
    assert [reject.path for reject in report.rejects] == [
        "train-0002.tar noise", "train-0002.tar text",
    ]  # fmt: skip
    assert verify(tars, num_workers=1).is_good


def test_broken_tar_is_named(tars):
    tar = tars / "train-0000.tar"
    tar.write_bytes(tar.read_bytes()[:3000])
    with pytest.raises(DatasetError, match="train-0000"):
        index(tars, config=ONE)


def test_packed_dataset_is_not_overwritten_by_accident(tars):
    (tars / "manifest.json").write_text('{"pack_config": {}}')
    with pytest.raises(DatasetError, match="--out"):
        index(tars, config=ONE)


def test_folder_without_tars_says_what_to_do(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    with pytest.raises(SourceError, match="decompress"):
        index(tmp_path, config=ONE)


def test_bucket_is_refused_with_the_cure():
    with pytest.raises(SourceError, match="--out"):
        index("s3://bucket/tars", config=ONE)


def test_packed_shards_in_the_layout_of_a_bucket_are_read_after_an_upload(tars, tmp_path):
    """What `--out` wrote, put beside copies of the tars, is the dataset: no link is needed."""
    index(tars, tmp_path / "out", config=ONE)
    for path in (tmp_path / "out").glob("*"):
        if not path.is_symlink():
            shutil.copy(path, tars / path.name)
    assert verify(tars, num_workers=1).findings == ()


@pytest.mark.parametrize(
    ("path", "split"),
    [("train-000.tar", "train"), ("test/0001.tar", "test"), ("my_valid_03.tar", "val"),
     ("shard-7.tar", "train"), ("dev/train-1.tar", "train")],
)  # fmt: skip
def test_split_of_a_shard(path, split):
    assert split_of(path) == split


def test_command_indexes_and_counts_as_json(tars, capsys):
    assert main(["index", str(tars), "--json", "--num-workers", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["splits"] == {"train": 6, "val": 3}


def test_packed_shards_without_their_sidecars_get_the_same_labels(tmp_path):
    from fmrgb_stream.config import PackConfig
    from fmrgb_stream.packing import pack

    rows = [("path", "label", "group", "split")]
    for number in range(3):
        name = f"{number}.mp4"
        video(tmp_path / "in", name, number, sound=Sound(tone(300, 2.0)))
        rows.append((name, f"class {number}", f"group {number}", "train"))
    with (tmp_path / "in" / "t.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    pack(tmp_path / "in" / "t.csv", tmp_path / "out", config=PackConfig(num_workers=1))
    packed = infos(tmp_path / "out")
    for name in ("manifest.json", "train/shard-000000.parquet"):
        (tmp_path / "out" / name).unlink()
    report = index(tmp_path / "out", config=ONE)
    assert report.manifest.classes == ("class 0", "class 1", "class 2")
    for key, info in infos(tmp_path / "out").items():
        before = packed[key]
        assert (info.label, info.group, info.num_frames) == (
            before.label, before.group, before.num_frames,
        )  # fmt: skip
        assert info.sound_zero_seconds is None


def test_dali_makes_the_same_clips_of_indexed_tars_as_the_cpu(tars, caplog):
    pytest.importorskip("nvidia.dali", reason="DALI is not installed")
    index(tars, config=ONE)
    clip = fs.ClipConfig(
        num_frames=4, frame_stride=2, size=(32, 32), window="start",
        flow=fs.FlowConfig(estimator="lucas_kanade"),
    )  # fmt: skip
    clips = []
    for backend in ("dali", "cpu"):
        with fs.build_loader(
            tars, split="val", batch_size=3, clip=clip, backend=backend, num_workers=1,
            shuffle=False, on_bad_sample="raise",
        ) as loader:  # fmt: skip
            clips.append(next(iter(loader)).clip.float())
    assert "decoded by the host" in caplog.text
    difference = (clips[0] - clips[1]).abs().mean(dim=(0, 2, 3, 4))
    assert difference[:3].max() < 2
    assert difference[4] < 1
