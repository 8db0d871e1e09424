import json
import shutil
import signal
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models import create_model
from fmrgb_stream.training.embedder import EmbedderSettings, open_embedder
from fmrgb_stream.training.experiment import train_run
from fmrgb_stream.training.feature_files import UNREADABLE, file_name
from tests.support.packed import all_bytes
from tests.support.runs import finished, launch, tiny_config


@pytest.fixture(scope="module")
def run(classes_root, tmp_path_factory):
    out = tmp_path_factory.mktemp("embedded") / "run"
    train_run(tiny_config(classes_root, epochs=1), out)
    return out


def embedder(run, **settings):
    given = {"num_frames": 4, "batch_size": 6, "num_workers": 1} | settings
    return open_embedder(EmbedderSettings(model=str(run), **given))


def test_there_is_a_window_about_every_frame(run, tmp_path):
    report = embedder(run).extract("test", out=tmp_path)

    files = sorted((tmp_path / "test").glob("*.npy"))
    assert len(files) == report.num_samples == 8
    assert report.num_windows == 8 * 12
    for file in files:
        features = np.load(file)
        assert features.shape == (12, report.num_features)
        assert features.dtype == np.float32


def test_features_are_the_models_embedding_of_the_windows(run, tmp_path):
    shown = embedder(run)
    shown.extract("val", out=tmp_path)

    with shown.shown.open("val") as loader, torch.inference_mode():
        batches = list(loader)
        wanted = torch.cat([shown.model.embed(b.clip, b.num_valid_frames) for b in batches])

    keys = [key for batch in batches for key in dict.fromkeys(batch.keys)]
    found = [np.load(tmp_path / "val" / f"{key}.npy") for key in dict.fromkeys(keys)]
    np.testing.assert_allclose(np.concatenate(found), wanted.numpy(), atol=1e-5)


def test_parquet_holds_the_same_with_times(run, tmp_path):
    embedder(run).extract("val", out=tmp_path / "npy")
    embedder(run).extract("val", out=tmp_path / "parquet", file_format="parquet")

    for file in sorted((tmp_path / "npy" / "val").glob("*.npy")):
        table = pq.read_table(tmp_path / "parquet" / "val" / f"{file.stem}.parquet")
        np.testing.assert_array_equal(np.stack(table["feature"].to_numpy()), np.load(file))
        np.testing.assert_allclose(table["time_seconds"].to_numpy(), np.arange(12) / 10)


def test_the_index_names_each_file_with_its_label_and_times(run, tmp_path):
    embedder(run, hop_seconds=0.5).extract("val", out=tmp_path)

    rows = pq.read_table(tmp_path / "val.parquet").to_pylist()
    assert len(rows) == 6
    for row in rows:
        assert np.load(tmp_path / row["file"]).shape[0] == row["num_windows"] == 3
        assert row["times_seconds"] == pytest.approx([0.0, 0.5, 1.0])
        assert row["label"].startswith("class-")


@pytest.mark.slow
def test_a_killed_extraction_goes_on_to_the_same_bytes(run, tmp_path):
    embedder(run).extract("train", out=tmp_path / "whole")
    words = ["features", run, "--split", "train", "--num-frames", 4, "--batch-size", 6]
    words += ["--num-workers", 1, "--device", "cpu", "--out", tmp_path / "killed"]
    process = launch(words)
    try:
        end = time.monotonic() + 90
        while len(list((tmp_path / "killed").glob("train/*.npy"))) < 3:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    left = sorted(path.name for path in (tmp_path / "killed" / "train").glob("*.npy"))

    report = embedder(run).extract("train", out=tmp_path / "killed")

    assert 3 <= len(left) <= report.num_kept + 1
    assert report.num_kept < 24
    killed, whole = all_bytes(tmp_path / "killed"), all_bytes(tmp_path / "whole")
    assert {n: c for n, c in killed.items() if not n.endswith(".partial")} == whole


def test_a_finished_extraction_makes_nothing_anew(run, tmp_path):
    embedder(run).extract("val", out=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("val/*.npy")}

    report = embedder(run).extract("val", out=tmp_path)

    assert report.num_kept == 6
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("val/*.npy")} == before


def test_a_file_that_was_removed_comes_back_as_it_was(run, tmp_path):
    embedder(run).extract("val", out=tmp_path)
    victim = sorted(tmp_path.glob("val/*.npy"))[3]
    before = victim.read_bytes()
    victim.unlink()

    embedder(run).extract("val", out=tmp_path)

    assert victim.read_bytes() == before


@pytest.mark.slow
def test_two_processes_write_the_same_features(run, tmp_path):
    embedder(run, hop_seconds=0.3).extract("val", out=tmp_path / "one")
    words = ["features", run, "--split", "val", "--num-frames", 4, "--hop", 0.3, "--batch-size", 6]
    words += ["--device", "cpu", "--out", tmp_path / "two", "--json"]
    (told,) = json.loads(finished(launch(words, num_processes=2)).splitlines()[-1])

    assert told["num_windows"] == 6 * 4
    for file in sorted((tmp_path / "one" / "val").glob("*.npy")):
        found = np.load(tmp_path / "two" / "val" / file.name)
        np.testing.assert_allclose(found, np.load(file), atol=1e-5)


def test_other_settings_are_not_mixed_into_a_folder(run, tmp_path):
    embedder(run).extract("val", out=tmp_path)

    with pytest.raises(ConfigError, match=r"other settings \(clip=.*another --out"):
        embedder(run, num_frames=5).extract("val", out=tmp_path)


def test_a_sample_that_cannot_be_read_is_told_and_kept_out(run, classes_root, tmp_path):
    root = tmp_path / "damaged"
    shutil.copytree(classes_root, root)
    tar = root / "val" / "shard-000000.tar"
    content = bytearray(tar.read_bytes())
    first = pq.read_table(tar.with_suffix(".parquet")).to_pylist()[0]
    member = next(m for m in first["members"] if m["extension"] == "mp4")
    content[member["offset"] + member["size"] // 2] ^= 0xFF
    tar.write_bytes(bytes(content))

    report = embedder(run, root=str(root)).extract("val", out=tmp_path / "out")

    assert report.unreadable == (first["key"],)
    assert not (tmp_path / "out" / "val" / f"{first['key']}.npy").exists()
    assert len(list((tmp_path / "out" / "val").glob("*.npy"))) == 5
    again = embedder(run, root=str(root)).extract("val", out=tmp_path / "out")
    assert (again.num_kept, again.unreadable) == (6, (first["key"],))


def test_a_model_by_name_brings_its_weights_or_is_refused(classes_root):
    settings = EmbedderSettings(model="slowfast_r18", root=str(classes_root))

    with pytest.raises(ConfigError, match="--pretrained"):
        open_embedder(settings)


def test_a_model_by_name_takes_a_file_with_weights(classes_root, tmp_path):
    torch.manual_seed(0)
    model = create_model("smallcnn", num_classes=9, channels="rgb")
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    settings = EmbedderSettings(
        model="smallcnn",
        root=str(classes_root),
        checkpoint=str(tmp_path / "weights.safetensors"),
        num_frames=2,
        hop_seconds=1.0,
        size=(16, 16),
        device="cpu",
    )

    report = open_embedder(settings).extract("val", out=tmp_path / "out")

    assert report.num_features == model.num_features


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("clip-1", "clip-1.npy"),
        ("../../etc/passwd", "..%2F..%2Fetc%2Fpasswd.npy"),
        ("a b%2F", "a b%252F.npy"),
        ("..", "...npy"),
    ],
)
def test_no_key_leads_out_of_the_folder(key, name):
    assert file_name(key, "npy") == name
    assert "/" not in name
    assert UNREADABLE not in name
