"""How much of a batch the host decodes, as asked or as measured."""

import time
from functools import partial

import pytest
import torch.distributed as dist

from fmrgb_stream.config import ClipConfig, FlowConfig
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.errors import DecodeError, FmrgbError, StorageError
from fmrgb_stream.pipelines.dali import calibrate
from fmrgb_stream.pipelines.dali.calibrate import DecodeRates, choose_share, host_share
from tests.support.dali import dali_pipeline, tasks
from tests.support.encoded import VideoOptions, encoded_sample
from tests.support.media import numbered_frames

pytest.importorskip("nvidia.dali")

ALONE = WorldInfo()
CLIP = ClipConfig(
    num_frames=3, size=(48, 80), channels="rgb", flow=FlowConfig(estimator="lucas_kanade")
)
choose = partial(choose_share, shares_cores=False)


def order_of(codec, clip=CLIP):
    options = VideoOptions(codec=codec)
    frames = numbered_frames(30)
    samples = [encoded_sample(frames, sample_id=i, options=options) for i in range(4)]
    return dali_pipeline(samples, clip).order


def trial():
    return next(tasks((0, 1, 2, 3)))


def no_trial():
    raise AssertionError("nothing was left open")


@pytest.mark.parametrize(("decode", "share"), [("nvdec", 0.0), ("host", 1.0)])
def test_what_is_asked_for_by_name_is_not_measured(decode, share):
    assert host_share(order_of("libvpx-vp9"), decode, no_trial, world=ALONE) == share


def test_clips_without_pictures_are_not_measured():
    order = order_of("libvpx-vp9", ClipConfig(channels=("mel",)))
    assert host_share(order, "auto", no_trial, world=ALONE) == 0.0


def test_both_rates_are_measured(caplog):
    caplog.set_level("INFO")
    rates = calibrate.measure(order_of("libvpx-vp9"), trial)
    assert rates.graph > 1
    assert rates.host > 1
    assert 0 < host_share(order_of("libvpx-vp9"), "hybrid", trial, world=ALONE) < 1
    assert "of each batch is decoded on the host" in caplog.text


def test_reading_counts_for_neither_side():
    order = order_of("libvpx-vp9")
    fetch, fetched = order.source.fetch, []

    def slow_fetch(task):
        fetched.append(task.sample_id)
        time.sleep(0.5)
        return fetch(task)

    order.source.fetch = slow_fetch
    rates = calibrate.measure(order, trial)
    assert sorted(fetched) == [0, 1, 2, 3], "each clip is read once, before the clock starts"
    assert rates.host > 4, "half a second of reading would allow two clips a second"
    assert rates.graph > 4


def test_clips_that_cannot_be_had_are_left_out_of_the_trial():
    order = order_of("libvpx-vp9")
    order.source.broken[2] = DecodeError("bad", shard="s", key="k")
    rates = calibrate.measure(order, trial)
    assert rates.graph > 1
    assert rates.host > 1


def test_a_rank_that_cannot_measure_raises_and_so_do_all_others(monkeypatch):
    def failing():
        raise StorageError("gone", url="s3://x")

    everyone = [DecodeRates(graph=1.0, host=1.0), StorageError("gone", url="s3://x")]
    monkeypatch.setattr(calibrate, "of_all_ranks", lambda _found, _world: everyone)
    monkeypatch.setattr(calibrate, "can_agree", lambda _world: True)
    world = WorldInfo(rank=0, world_size=2)
    with pytest.raises(FmrgbError, match=r"the trial of rank 1 failed: gone"):
        host_share(order_of("libvpx-vp9"), "auto", trial, world=world)
    with pytest.raises(StorageError, match="gone"):
        host_share(order_of("libvpx-vp9"), "auto", failing, world=ALONE)


def test_a_loader_of_one_rank_waits_for_no_other(tmp_path, monkeypatch):
    def gather(*_):
        raise AssertionError("the other ranks build no loader")

    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'g'}", rank=0, world_size=1)
    try:
        monkeypatch.setattr(dist, "all_gather_object", gather)
        share = host_share(order_of("libvpx-vp9"), "hybrid", trial, world=ALONE)
    finally:
        dist.destroy_process_group()
    assert 0 < share < 1


def test_on_the_cpu_auto_takes_one_or_the_other():
    assert host_share(order_of("libvpx-vp9"), "auto", trial, world=ALONE) in (0.0, 1.0)


@pytest.mark.parametrize("decode", ["auto", "hybrid"])
def test_what_the_graph_cannot_decode_goes_to_the_host(decode):
    assert host_share(order_of("libx264"), decode, trial, world=ALONE) == 1.0


@pytest.mark.parametrize(("decode", "share"), [("auto", 0.0), ("hybrid", 0.5)])
def test_ranks_that_cannot_agree_do_not_measure(decode, share, caplog):
    caplog.set_level("INFO")
    world = WorldInfo(rank=0, world_size=2)
    assert host_share(order_of("libvpx-vp9"), decode, no_trial, world=world) == share
    assert "no process group" in caplog.text


def test_the_share_makes_both_decoders_end_together():
    assert choose(DecodeRates(graph=300.0, host=100.0), "auto") == pytest.approx(0.25)
    assert choose(DecodeRates(graph=100.0, host=100.0), "hybrid") == pytest.approx(0.5)


def test_auto_leaves_out_a_decoder_that_hardly_helps():
    assert choose(DecodeRates(graph=1000.0, host=100.0), "auto") == 0.0
    assert choose(DecodeRates(graph=100.0, host=1000.0), "auto") == 1.0


def test_hybrid_leaves_out_none():
    assert choose(DecodeRates(graph=1000.0, host=1.0), "hybrid") == 0.05
    assert choose(DecodeRates(graph=1.0, host=1000.0), "hybrid") == 0.95


def test_cores_that_are_shared_are_not_counted_twice():
    rates = DecodeRates(graph=100.0, host=120.0)
    assert choose_share(rates, "auto", shares_cores=True) == 1.0
