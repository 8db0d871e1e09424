"""Making planes of a batch asks nothing of the device and sends it one block of bytes.

The planes are made on torch's `meta` device: it computes nothing, so whatever needs a value on the
host (`.item()`, `.cpu()`, a boolean index) fails there as it would wait for a GPU.
"""

from dataclasses import replace

import pytest
import torch

from fmrgb_stream.config import ClipConfig, FlowConfig, MelConfig
from fmrgb_stream.pipelines import audio_planes
from fmrgb_stream.pipelines.dali.planes import BatchMaker
from fmrgb_stream.pipelines.dali.run import Graph
from tests.pipelines.test_staging import Copies
from tests.support.dali import dali_pipeline, tasks
from tests.support.encoded import AUDIO_RATE, VideoOptions, encoded_sample
from tests.support.media import numbered_frames, tone

pytest.importorskip("nvidia.dali")

CLIP = ClipConfig(
    num_frames=4, frame_stride=2, size=(32, 48), flow=FlowConfig(estimator="lucas_kanade")
)
CHANGES = {
    "fmrgb": {},
    "gray3, float32": {"channels": "gray3", "dtype": "float32"},
    "flow by direction": {"flow": FlowConfig(estimator="lucas_kanade", mode="uv")},
    "blends": {"length_rule": "zoom"},
    "padding": {"num_frames": 30, "length_rule": "subsample_pad"},
    "stft": {"mel": MelConfig(method="stft")},
    "logmel": {"mel": MelConfig(method="logmel")},
    "simple": {"mel": MelConfig(method="simple", simple_scale="clip")},
    "extras": {"extras": ("mel_image", "waveform")},
}


@pytest.fixture(scope="module")
def samples():
    frames = numbered_frames(30, width=96, height=64)
    sound = tone(440, 1.0, rate=AUDIO_RATE)
    options = VideoOptions(codec="libvpx-vp9")
    return [
        encoded_sample(frames, sound if i else None, sample_id=i, options=options) for i in range(3)
    ]


def made_by_the_graph(samples, clip):
    """A prepared batch, what the graph gave for it, and the settings."""
    pipe = dali_pipeline(samples, clip)
    found = []
    original = Graph.outputs

    def outputs(self, queue):
        for batch, values in original(self, queue):
            found.append((batch, values))
            yield batch, values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Graph, "outputs", outputs)
        list(pipe.batches(tasks((0, 1, 2))))
    pipe.close()
    return *found[0], pipe.order.settings


# Blends are made behind the engine, so it is never used for them.
@pytest.mark.parametrize(
    ("change", "estimator"),
    [(x, "lucas_kanade") for x in CHANGES] + [(x, "nvof") for x in CHANGES if x != "blends"],
)
def test_planes_are_made_without_asking_the_device(samples, change, estimator):
    clip = replace(CLIP, **CHANGES[change])
    batch, values, settings = made_by_the_graph(samples, clip)
    there = {name: value.to("meta") for name, value in values.items()}
    if estimator == "nvof":
        height, width = (-(-side // 4) for side in clip.size)
        there["flow"] = torch.empty(3, clip.num_frames, height, width, 2, device="meta")
    settings = replace(settings, device="meta", estimator=estimator)
    maker = BatchMaker(settings, has_labels=True, num_targets=0, engine_sign=1)
    maker.make(batch, there)  # makes the constants
    with Copies() as copies:
        made = maker.make(batch, there)
    assert len(copies.sizes) == 1, "one block of small tables a batch"
    assert made.clip.device.type == "meta"
    assert made.clip.shape == (3, len(clip.planes), clip.num_frames, *clip.size)
    assert {x.device.type for x in (made.labels, made.times_seconds, made.sample_ids)} == {"meta"}


def test_a_host_value_would_have_been_found():
    tensor = torch.ones(3, device="meta")
    for ask in (torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.cpu):
        with pytest.raises((RuntimeError, NotImplementedError)):
            ask(tensor[:1])
    with pytest.raises((RuntimeError, NotImplementedError)):
        tensor[tensor > 0]


def test_constants_are_made_once_for_a_device(monkeypatch):
    made = []
    real = audio_planes.resize_weights

    def counted(*arguments):
        made.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(audio_planes, "resize_weights", counted)
    for _ in range(3):
        audio_planes.rows_to_pixels(torch.zeros(64, 5), 112)
    assert made == [(64, 112)]
