"""How batches pass through the graph: when they are handed out, and what becomes of the graph."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from fmrgb_stream.config import ClipConfig, FlowConfig
from fmrgb_stream.errors import DeviceError, FmrgbError
from fmrgb_stream.pipelines.dali import device, isolate, run, sound
from fmrgb_stream.pipelines.dali.crew import PrepareCrew
from fmrgb_stream.pipelines.dali.feed import wanted_frames
from fmrgb_stream.pipelines.dali.graph import build_graph, output_names
from fmrgb_stream.pipelines.dali.prepare import ClipPreparer, FailedClip
from tests.support.dali import dali_pipeline, tasks
from tests.support.encoded import (
    AUDIO_RATE,
    ListSource,
    VideoOptions,
    clip_plan,
    clip_task,
    encoded_sample,
)
from tests.support.media import numbered_frames, read_numbers, tone

pytest.importorskip("nvidia.dali")

pytestmark = pytest.mark.timeout(60)
CLIP = ClipConfig(num_frames=3, frame_stride=2, size=(32, 80), window="start", channels="rgb")
BATCHES = ((0, 1), (2, 3), (4, 5), (6, 7))


@pytest.fixture(scope="module")
def samples():
    options = VideoOptions(codec="libvpx-vp9", gop=6)
    return [
        encoded_sample(
            numbered_frames(12, width=160, height=64, first=12 * i),
            tone(300, 0.4, rate=AUDIO_RATE),
            sample_id=i,
            options=options,
        )
        for i in range(8)
    ]


class HeldSource(ListSource):
    """Does not give sample `held` before `release` is set."""

    def __init__(self, samples, clip, *, held):
        super().__init__(samples, clip)
        self.held, self.release, self.fetched = held, threading.Event(), []

    def fetch(self, task):
        self.fetched.append(task.sample_id)
        if task.sample_id == self.held:
            assert self.release.wait(30), "nobody let go of the sample"
        return super().fetch(task)


@pytest.mark.parametrize("prefetch", [1, 2, 4])
@pytest.mark.parametrize("held", [2, 4])
def test_a_ready_batch_does_not_wait_for_the_next_ones_preparation(samples, prefetch, held):
    source = HeldSource(samples, CLIP, held=held)
    pipe = dali_pipeline(
        samples, CLIP, source=source, prefetch_batches=prefetch, num_workers=2, batch_size=2
    )
    batches = pipe.batches(tasks(*BATCHES))
    # Would never come, were it to wait: the next batch is held until these are here.
    ids = [next(batches).sample_ids.tolist() for _ in range(held // 2)]
    source.release.set()
    ids += [batch.sample_ids.tolist() for batch in batches]
    assert ids == [list(batch) for batch in BATCHES]
    pipe.close()


def test_batches_are_prepared_while_the_consumer_works(samples):
    source = HeldSource(samples, CLIP, held=-1)
    pipe = dali_pipeline(samples, CLIP, source=source, prefetch_batches=2, batch_size=2)
    batches = pipe.batches(tasks(*BATCHES))
    next(batches)
    for _ in range(200):
        if len(source.fetched) >= 6:
            break
        threading.Event().wait(0.02)
    assert len(source.fetched) >= 6, "two batches ahead of the one in use"
    batches.close()


def test_the_graph_is_built_once_for_many_epochs(samples, monkeypatch):
    built = []
    real = run.build_graph
    monkeypatch.setattr(run, "build_graph", lambda *xs: built.append(1) or real(*xs))
    pipe = dali_pipeline(samples, CLIP, batch_size=2)
    for epoch in range(3):
        seen = [
            (batch.sample_ids.tolist(), read_numbers(batch.clip[1].permute(1, 2, 3, 0).numpy()))
            for batch in pipe.batches(tasks(*BATCHES[: 4 - epoch]))
        ]
        expected = [([a, b], [12 * b + k for k in (0, 2, 4)]) for a, b in BATCHES[: 4 - epoch]]
        assert seen == expected
    assert len(built) == 1
    pipe.close()


def test_a_run_that_is_broken_off_leaves_nothing_to_the_next_one(samples):
    pipe = dali_pipeline(samples, CLIP, batch_size=2, prefetch_batches=4)
    for _ in range(3):
        batches = pipe.batches(tasks(*BATCHES))
        assert next(batches).sample_ids.tolist() == [0, 1]
        batches.close()
    ids = [batch.sample_ids.tolist() for batch in pipe.batches(tasks(*BATCHES[2:]))]
    assert ids == [[4, 5], [6, 7]]


def test_two_runs_at_a_time_do_not_share_a_graph(samples):
    pipe = dali_pipeline(samples, CLIP, batch_size=2)
    first, second = pipe.batches(tasks(*BATCHES)), pipe.batches(tasks(*BATCHES[::-1]))
    ids = [(next(first).sample_ids.tolist(), next(second).sample_ids.tolist()) for _ in BATCHES]
    assert ids == [(list(a), list(b)) for a, b in zip(BATCHES, BATCHES[::-1], strict=True)]
    pipe.close()


def test_batches_in_another_order_are_an_error_and_no_assertion(samples, monkeypatch):
    monkeypatch.setattr(
        run.Graph, "_check_order", lambda self, x, real=run.Graph._check_order: real(self, x + 1)
    )
    with pytest.raises(FmrgbError, match=r"delivered batch \[1\] of this run where 0 was next"):
        list(dali_pipeline(samples, CLIP).batches(tasks((0, 1))))


def test_a_dead_gpu_is_told_and_no_sample_is_blamed(samples, monkeypatch):
    broken = [replace(s, video=memoryview(b"\x00" * len(s.video))) for s in samples]
    monkeypatch.setattr(device, "probe", lambda _device: "CUDA error: an illegal memory access")
    monkeypatch.setattr("fmrgb_stream.pipelines.dali.prepare.why_not_dali", never_objects)
    pipe = dali_pipeline(broken, CLIP)
    with pytest.raises(DeviceError) as caught:
        list(pipe.batches(tasks(*BATCHES)))
    for part in ("cpu cannot be used", "illegal memory access", "DALI said: Assert", "checkpoint"):
        assert part in str(caught.value)
    assert pipe.counts().num_bad_samples == 0


def never_objects(_sample, _wanted, _settings):
    from fmrgb_stream.pipelines.dali.precheck import HostReason

    return HostReason()


def test_a_device_that_answers_is_alive():
    assert device.probe("cpu") == ""
    if not torch.cuda.is_available():
        return
    assert device.probe("cuda:0") == ""


def test_sound_that_was_refused_once_is_bad_at_once(samples, monkeypatch):
    clip = replace(CLIP, channels=("red", "mel"))
    order = dali_pipeline(samples, clip, rule="raise").order
    preparer = ClipPreparer(order)
    decoded = preparer.prepare(clip_task(3), on_host=True)
    monkeypatch.setattr(isolate, "failures", lambda clips, _order: [""] * len(clips))
    first = isolate._replaced(decoded, "no spectrum", preparer, order)
    assert isinstance(first, FailedClip)
    again = preparer.prepare(clip_task(3), on_host=False)
    assert isinstance(again, FailedClip)
    assert "DALI refused it: no spectrum" in str(again.error)
    assert order.refused == set(), "its pictures are not to blame"


@pytest.mark.parametrize(("channels", "wanted"), [("rgb", [4, 6]), (("red", "flow"), [2, 4, 6])])
def test_the_frame_before_is_decoded_only_for_flow(samples, channels, wanted):
    clip = replace(CLIP, channels=channels, flow=FlowConfig(estimator="lucas_kanade"))
    settings = dali_pipeline(samples, clip).order.settings
    plan = clip_plan([4, 6], lead=2)
    plan.has_flow[0] = True
    assert wanted_frames(plan, settings)[0].tolist() == wanted
    assert len(wanted_frames(plan, settings)[1]) == 3, "its place is kept"


def test_a_crew_stops_twice_and_in_any_order(samples):
    order = dali_pipeline(samples, CLIP).order
    crew = PrepareCrew(order, num_workers=1, num_ahead=1, host_share=0.0)
    with crew:
        assert crew.batches(tasks((0, 1))).take() is not None
        crew.stop()
    crew.stop()
    assert not [t for t in threading.enumerate() if t.name.startswith("fmrgb-feed")]


def test_features_of_the_sound_are_made_by_the_threads_that_prepare(samples, monkeypatch):
    pytest.importorskip("librosa")
    threads = []

    def features(_waveform_S, *, sample_rate):
        # Librosa's own values are compared with the CPU pipeline's in test_parity.py.
        threads.append((threading.current_thread().name, sample_rate))
        return np.full(26, len(threads), np.float32)

    monkeypatch.setattr(sound, "audio_features", features)
    pipe = dali_pipeline(samples, replace(CLIP, extras=("audio_features",)))
    (batch,) = pipe.batches(tasks((0, 1)))
    assert batch.audio_features[:, 0].tolist() == [1.0, 2.0]
    assert len(threads) == 2
    assert all(name.startswith("fmrgb-feed") for name, _ in threads)


def test_the_gpus_graph_leaves_planes_there_and_tells_only_sizes_and_numbers(monkeypatch):
    """DALI checks a graph's devices when it is defined, which needs no GPU; building it does."""
    from nvidia.dali.pipeline import Pipeline

    clip = ClipConfig(size=(64, 64), extras=("mel_image",))
    settings = replace(
        dali_pipeline([None], clip).order.settings, device="cuda:0", estimator="nvof"
    )
    monkeypatch.setattr(Pipeline, "build", lambda _self: None)
    graph = build_graph(settings, lambda: ())
    devices = dict(
        zip(output_names(settings), [node.device for node in graph._graph_out], strict=True)
    )
    assert devices == {
        "pictures": "gpu", "flow": "gpu", "bands": "gpu", "mel": "gpu",
        "frame_size": "cpu", "serial": "cpu",
    }  # fmt: skip
