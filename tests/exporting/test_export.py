"""What leaves a dataset is what was in it, and comes back when it is packed again."""

import csv
import io
import json
import shutil
import sys
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

import fmrgb_stream as fs
from fmrgb_stream.cli.main import main
from fmrgb_stream.config import ExportConfig, IndexConfig, PackConfig
from fmrgb_stream.errors import ConfigError, DatasetError, MissingExtraError, PackError
from fmrgb_stream.packing import export, index, pack
from fmrgb_stream.packing.export_tables import safe_name
from fmrgb_stream.viewing.sample_card import read_sample_card
from tests.indexing.conftest import beside, write_tar
from tests.support.media import (
    Picture,
    Sound,
    chirps_at,
    find_chirps,
    numbered_frames,
    tone,
    write_media,
)
from tests.support.packed import all_bytes, packed_samples
from tests.support.planted import first_record, rewrite

FPS = Fraction(10)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Five videos with sound, two of them for tests, one without sound, and a sound alone."""
    folder = tmp_path_factory.mktemp("media")
    rows = [("path", "label", "group", "split")]
    for number in range(5):
        frames = numbered_frames(20, width=96, height=64, first=16 * number)
        sound = Sound(tone(200 + 50 * number, 2.0)) if number != 4 else None
        write_media(folder / f"{number}.mp4", picture=Picture(frames, fps=FPS), sound=sound)
        split = "train" if number < 3 else "val"
        rows.append((f"{number}.mp4", "ab"[number % 2], f"g{number}", split))
    write_media(folder / "song.wav", sound=Sound(tone(700, 2.0), codec="pcm_s16le"))
    rows.append(("song.wav", "a", "g9", "train"))
    with (folder / "t.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    config = PackConfig(num_workers=1, short_side=64, samples_per_shard=3)
    pack(folder / "t.csv", folder / "out", config=config)
    return folder / "out"


def write(root, out, to, **options):
    return export(root, out, config=ExportConfig(to=to, num_workers=1, **options))


def table(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def decoded(content):
    with av.open(io.BytesIO(content)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def test_folder_comes_back_as_the_same_dataset(root, tmp_path):
    write(root, tmp_path / "media", "folder")
    config = PackConfig(num_workers=1, copy=True)
    pack(tmp_path / "media" / "labels.csv", tmp_path / "again", config=config)
    before, after = packed_samples(root), packed_samples(tmp_path / "again")
    assert len(after) == 6
    for sample in after.values():
        source = json.loads(sample.files["json"])["source"]
        was = before[source.rpartition("/")[2].partition(".")[0]]
        assert (sample.split, sample.info.group, sample.info.label) == (
            was.split, was.info.group, was.info.label,
        )  # fmt: skip
        if was.info.has_video:
            assert np.array_equal(sample.pictures(), was.pictures())
            assert np.allclose(sample.info.times_seconds(), was.info.times_seconds())
        if was.info.has_audio:
            assert np.abs(sample.wave() - was.wave()).max() <= 2 / 32768


def test_sound_and_picture_of_an_exported_file_are_in_sync(tmp_path):
    wave = chirps_at([0.5, 1.4], seconds=2.0)
    picture = Picture(numbered_frames(60, width=96, height=64), fps=Fraction(30))
    write_media(tmp_path / "in" / "a.mp4", picture=picture, sound=Sound(wave))
    pack(tmp_path / "in", tmp_path / "out", config=PackConfig(num_workers=1))
    write(tmp_path / "out", tmp_path / "files", "folder")
    (exported,) = (tmp_path / "files" / "train").iterdir()
    with av.open(str(exported)) as container:
        start = min(f.time for f in container.decode(video=0))
    with av.open(str(exported)) as container:
        frames = list(container.decode(audio=0))
    samples = np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(float)
    found = np.array(find_chirps(samples, 16000)) + frames[0].time - start
    assert found.tolist() == pytest.approx([0.5, 1.4], abs=0.002)


def find_heard(path):
    """When the chirps of a file are heard, counted from its first frame."""
    with av.open(str(path)) as container:
        start = min(f.time for f in container.decode(video=0))
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    samples = np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(float)
    return [t + frames[0].time - start for t in find_chirps(samples, frames[0].sample_rate)]


@pytest.mark.parametrize("late", [0.0, 0.7])
def test_sound_of_others_is_in_sync_beside_its_picture(tmp_path, late):
    """MP3, AAC and Opus begin with samples that only start the codec."""
    picture = Picture(numbered_frames(20, width=96, height=64), fps=FPS, start_seconds=late)
    video = write_media(tmp_path / "v.mp4", picture=picture).read_bytes()
    samples = []
    for extension, codec, rate in (
        ("mp3", "libmp3lame", 44100), ("m4a", "aac", 48000), ("opus", "libopus", 48000),
        ("wav", "pcm_s16le", 48000),
    ):  # fmt: skip
        sound = Sound(chirps_at([0.5, 1.4], seconds=2.0, rate=rate), rate=rate, codec=codec)
        container = "ogg" if extension == "opus" else None
        heard = write_media(tmp_path / f"s.{extension}", sound=sound, container=container)
        samples.append((extension, {"mp4": video, extension: heard.read_bytes()}))
    write_tar(tmp_path / "tars" / "train-0.tar", samples)
    index(tmp_path / "tars", config=IndexConfig(num_workers=1, stats_samples=1))
    write(tmp_path / "tars", tmp_path / "out", "folder")
    for path in (tmp_path / "out" / "train").iterdir():
        assert find_heard(path) == pytest.approx([0.5, 1.4], abs=0.003), path.name


@pytest.mark.parametrize(
    ("extension", "options"),
    [("h264", {"container": "h264"}), ("flv", {"codec": "flv1"}), ("gif", {"codec": "gif"})],
)
def test_picture_and_sound_that_do_not_go_into_one_file_are_told(tmp_path, extension, options):
    container = options.pop("container", None)
    if "gif" in options.values():
        options["pix_fmt"] = "rgb8"
    picture = Picture(numbered_frames(10, width=96, height=64), fps=FPS, **options)
    video = write_media(tmp_path / f"v.{extension}", picture=picture, container=container)
    wave = Sound(tone(300, 1.0), codec="pcm_s16le")
    sound = write_media(tmp_path / "s.wav", sound=wave).read_bytes()
    files = {extension: video.read_bytes(), "wav": sound}
    write_tar(tmp_path / "tars" / "train-0.tar", [("odd", files)])
    index(tmp_path / "tars", config=IndexConfig(num_workers=1, stats_samples=1))
    with pytest.raises(DatasetError, match=r"'odd'.*--to pt"):
        write(tmp_path / "tars", tmp_path / "out", "folder")


def test_key_that_begins_like_another_is_exported_too(tmp_path):
    long, short = beside(tmp_path, 1), beside(tmp_path, 2)
    write_tar(tmp_path / "tars" / "train-0.tar", [("v1.0/clip", long), ("v1", short)])
    index(tmp_path / "tars", config=IndexConfig(num_workers=1, stats_samples=1))
    report = write(tmp_path / "tars", tmp_path / "out", "folder")
    assert report.num_resumed == 0
    assert len(list((tmp_path / "out" / "train").iterdir())) == 2


@pytest.fixture(scope="module")
def matted(tmp_path_factory):
    """One video with a matte, white on the right, and a flow video of value 100."""
    folder = tmp_path_factory.mktemp("matted")
    frames = np.full((8, 96, 128, 3), 120, np.uint8)
    right = np.zeros_like(frames)
    right[:, :, 64:] = 255
    for name, shown in (("in", frames), ("matte", right), ("flow", frames - 20)):
        picture = Picture(shown, fps=FPS, options=(("qp", "4"),))
        write_media(folder / name / "a.mp4", picture=picture)
    config = PackConfig(
        num_workers=1, splits={"train": 1.0}, stats_samples=1, short_side=96,
        matte=str(folder / "matte"), flow_video=str(folder / "flow"),
    )  # fmt: skip
    pack(folder / "in", folder / "out", config=config)
    return folder / "out"


def test_tensors_show_matte_and_packed_flow(matted, tmp_path):
    write(matted, tmp_path / "pt", "pt", channels=("red", "flow"))
    (path,) = (tmp_path / "pt" / "train").iterdir()
    planes = torch.load(path, weights_only=True).float()
    assert planes[:, :, :56, 0].mean() < 5
    assert planes[:, :, 72:, 0].mean() > 100
    assert planes[..., 1].mean() == pytest.approx(100, abs=4)


def test_mattes_and_flow_videos_of_a_folder_can_be_packed_again(matted, tmp_path):
    write(matted, tmp_path / "media", "folder")
    config = PackConfig(
        num_workers=1, stats_samples=1, short_side=96,
        matte=str(tmp_path / "media/matte"), flow_video=str(tmp_path / "media/flow"),
    )  # fmt: skip
    pack(tmp_path / "media" / "labels.csv", tmp_path / "again", config=config)
    (sample,) = packed_samples(tmp_path / "again").values()
    assert {"matte.mp4", "flow.mp4"} <= set(sample.files)


def test_form_without_mattes_says_so(matted, root, tmp_path):
    warnings = write(matted, tmp_path / "hf", "hf").warnings
    assert [text.split()[0] for text in warnings] == ["flow.mp4", "matte.mp4"]
    assert write(root, tmp_path / "other", "hf").warnings == ()


def test_hugging_face_folder_has_a_metadata_table_a_split(root, tmp_path):
    write(root, tmp_path / "hf", "hf")
    assert {row["split"] for row in rows_of(tmp_path / "hf" / "samples.jsonl")} == {"train", "val"}
    for split, count in (("train", 4), ("validation", 2)):
        rows = table(tmp_path / "hf" / "data" / split / "metadata.csv")
        assert len(rows) == count
        assert all((tmp_path / "hf/data" / split / row["file_name"]).is_file() for row in rows)
    assert "split: validation" in (tmp_path / "hf" / "README.md").read_text()


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_hugging_face_library_opens_it(root, tmp_path):
    datasets = pytest.importorskip("datasets", reason="not installed")
    write(root, tmp_path / "hf", "hf")
    loaded = datasets.load_dataset("videofolder", data_dir=str(tmp_path / "hf" / "data"))
    assert loaded["train"].num_rows == 4


def test_tensors_are_the_planes_of_the_loader(root, tmp_path):
    write(root, tmp_path / "pt", "pt")
    clip = fs.ClipConfig(num_frames=20, frame_stride=1, size=(64, 96), window="start")
    with fs.build_loader(
        root, split="val", batch_size=2, clip=clip, num_workers=1, worker_kind="thread"
    ) as loader:
        batch = next(iter(loader))
    rows = {row["key"]: row for row in rows_of(tmp_path / "pt" / "samples.jsonl")}
    for key, planes_CTHW in zip(batch.keys, batch.clip, strict=True):
        planes_THWC = torch.load(tmp_path / "pt" / rows[key]["path"], weights_only=True)
        assert planes_THWC.shape == (20, 64, 96, 5)
        assert torch.equal(planes_THWC.permute(3, 0, 1, 2), planes_CTHW)


def test_tensors_take_size_stride_and_planes(root, tmp_path):
    write(
        root, tmp_path / "pt", "pt",
        size=(32, 48), frame_stride=3, channels=("red", "mel"), splits=("val",),
    )  # fmt: skip
    files = list((tmp_path / "pt").glob("*/*.pt"))
    assert len(files) == 2
    planes = torch.load(files[0], weights_only=True)
    assert (planes.shape, planes.dtype) == ((7, 32, 48, 2), torch.uint8)


def test_stopped_export_goes_on_and_ends_in_the_same_bytes(root, tmp_path):
    write(root, tmp_path / "out", "folder")
    whole = all_bytes(tmp_path / "out")
    (tmp_path / "out" / "labels.csv").unlink()
    lost = sorted((tmp_path / "out" / "train").iterdir())[0]
    lost.unlink()
    (lost.parent / f"{lost.name}.partial").write_bytes(b"half")
    report = write(root, tmp_path / "out", "folder")
    assert report.num_resumed == 5
    assert all_bytes(tmp_path / "out") == whole


@pytest.mark.parametrize("change", [{"to": "pt"}, {"splits": ("val",)}])
def test_another_export_is_not_mixed_in(root, tmp_path, change):
    write(root, tmp_path / "out", "folder")
    with pytest.raises(PackError, match="differ"):
        export(root, tmp_path / "out", config=ExportConfig(**{"num_workers": 1, **change}))


def test_folder_with_something_else_is_refused(root, tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(PackError, match="not empty"):
        write(root, tmp_path, "folder")


def test_unknown_split_is_refused(root, tmp_path):
    with pytest.raises(ConfigError, match="no \\['dev'\\]"):
        write(root, tmp_path / "out", "folder", splits=("dev",))


def test_bucket_is_refused_and_no_folder_of_its_name_made(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="copy it to the bucket"):
        write(root, "s3://bucket/out", "folder")
    assert list(tmp_path.iterdir()) == []


def test_source_is_only_read(root, tmp_path):
    before = all_bytes(root)
    write(root, tmp_path / "out", "hf")
    assert all_bytes(root) == before


def test_indexed_sound_is_handed_on_beside_its_picture(tmp_path):
    write_tar(tmp_path / "tars" / "train-0.tar", [("k", beside(tmp_path, 3))])
    index(tmp_path / "tars", config=IndexConfig(num_workers=1, stats_samples=1))
    write(tmp_path / "tars", tmp_path / "out", "folder")
    with av.open(str(tmp_path / "out" / "train" / "k.mkv")) as container:
        streams = [(stream.type, stream.codec.name) for stream in container.streams]
        rate = container.streams.audio[0].rate
    assert streams == [("video", "vp9"), ("audio", "pcm_s16le")]
    assert rate == 44100


@pytest.mark.parametrize("key", ["../../etc/passwd", "/abs", ".hidden", "a b", "x" * 300, "é"])
def test_keys_become_safe_names(key):
    name = safe_name(key)
    assert name != key
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789_-ABCDEF.")
    assert not name.startswith(".")
    assert len(name) < 120


def test_two_keys_never_share_a_name():
    assert len({safe_name(key) for key in ("a b", "a_b", "a/b", "a  b")}) == 4


def test_targets_stand_in_the_table_by_name(root, tmp_path):

    shutil.copytree(root, tmp_path / "data")

    def change(row, record):
        return replace(record, info=replace(record.info, targets=(0.5 + row,), label=None))

    rewrite(tmp_path / "data", change, split="val")
    content = json.loads((tmp_path / "data" / "manifest.json").read_text())
    content |= {"classes": [], "target_names": ["valence"]}
    content["splits"].pop("train")
    (tmp_path / "data" / "manifest.json").write_text(json.dumps(content))
    write(tmp_path / "data", tmp_path / "out", "folder")
    assert table(tmp_path / "out" / "labels.csv")[0]["valence"] == "0.5"


def test_label_without_a_class_is_told_in_words(root, tmp_path):
    shutil.copytree(root, tmp_path / "data")
    rewrite(tmp_path / "data", first_record(label=7), split="val")
    with pytest.raises(DatasetError, match="label 7"):
        write(tmp_path / "data", tmp_path / "out", "folder")


def test_target_without_a_name_is_told_in_words(root, tmp_path):
    shutil.copytree(root, tmp_path / "data")
    rewrite(tmp_path / "data", first_record(targets=(0.5,)), split="val")
    with pytest.raises(DatasetError, match="1 targets, but there are 0 names"):
        write(tmp_path / "data", tmp_path / "out", "folder")


def test_inspect_tells_mattes_and_flow_videos(matted, capsys):
    assert main(["inspect", str(matted), "a"]) == 0
    assert "flow.mp4, matte.mp4" in capsys.readouterr().out
    lines = read_sample_card(matted, "a").streams
    assert [line.split()[0] for line in lines] == ["picture", "flow", "matte"]


def test_litdata_chunks_hold_every_sample(root, tmp_path):
    litdata = pytest.importorskip("litdata", reason="LitData is not installed")
    write(root, tmp_path / "out", "litdata")
    samples = list(litdata.StreamingDataset(str(tmp_path / "out" / "train")))
    assert {sample["key"] for sample in samples} == {"0", "1", "2", "song"}
    before = packed_samples(root)["1"].pictures()
    media = next(sample["media"] for sample in samples if sample["key"] == "1")
    assert np.array_equal(decoded(media), before)


def test_litdata_that_is_not_there_names_its_extra(root, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "litdata", None)
    with pytest.raises(MissingExtraError, match=r"fmrgb_stream\[litdata\]"):
        write(root, tmp_path / "out", "litdata")


def test_command_exports_and_says_how_much(root, tmp_path, capsys):
    words = ["export", str(root), "--out", str(tmp_path / "o"), "--num-workers", "1", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["num_samples"], told["num_resumed"]) == (6, 0)


def test_command_takes_size_and_splits(root, tmp_path, capsys):
    code = main([
        "export", str(root), "--out", str(tmp_path / "o"), "--to", "pt", "--size", "[16, 24]",
        "--splits", '["val"]', "--num-workers", "1", "--json",
    ])  # fmt: skip
    assert code == 0
    assert json.loads(capsys.readouterr().out)["num_samples"] == 2
    planes = torch.load(next((tmp_path / "o" / "val").glob("*.pt")), weights_only=True)
    assert planes.shape == (20, 16, 24, 5)
