"""The page holds what the loader makes: numbers in pictures, tones in sound, planes to the last bit."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from fmrgb_stream import ClipConfig, build_loader
from fmrgb_stream.config import FlowConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.shards import open_dataset
from fmrgb_stream.viewing.choose import Wanted, choose_samples
from fmrgb_stream.viewing.page import fill_page, make_page
from fmrgb_stream.viewing.page_sample import with_pictures
from fmrgb_stream.viewing.sample_card import read_sample_card
from fmrgb_stream.viewing.sprites import flow_colours
from tests.support.datasets import first_number
from tests.support.media import read_numbers
from tests.support.viewed import media_bytes, page_data, sprite_frames, view_of

CLIP = ClipConfig(num_frames=4, frame_stride=2, size=(64, 96), window="start")


@pytest.fixture(scope="module")
def page(numbered):
    return make_page(numbered, clip=CLIP)


@pytest.fixture(scope="module")
def samples(page):
    return {sample["key"]: sample for sample in page_data(page.html)["samples"]}


@pytest.fixture(scope="module")
def batches(numbered):
    """What the loader delivers, by key."""
    clip = ClipConfig(
        **{name: getattr(CLIP, name) for name in ("num_frames", "frame_stride", "size", "window")},
        extras=("mel_image", "waveform"),
    )
    with build_loader(
        numbered, batch_size=1, shuffle=False, clip=clip, worker_kind="thread", num_workers=1
    ) as loader:
        return {batch.keys[0]: batch for batch in loader}


def test_every_sample_is_there_once(page, samples):
    assert (page.num_shown, page.num_fitting, page.troubles) == (8, 8, [])
    assert sorted(samples) == [f"clip-{k:03d}" for k in range(8)]


def test_pictures_show_the_frames_they_say(samples):
    for k in range(8):
        sample = samples[f"clip-{k:03d}"]
        frames = sprite_frames(view_of(sample, "RGB"), num_frames=4)
        assert sample["frames"] == [0, 2, 4, 6]
        assert read_numbers(frames) == [first_number(k) + frame for frame in sample["frames"]]


@pytest.mark.parametrize(("name", "channel"), [("flow", 3), ("mel", 4)])
def test_planes_are_the_loaders_own(samples, batches, name, channel):
    for key, batch in batches.items():
        shown = sprite_frames(view_of(samples[key], name), num_frames=4)
        assert np.array_equal(shown, batch.clip[0, channel].numpy())


def test_the_clip_mel_is_the_loaders_own(samples, batches):
    for key, batch in batches.items():
        picture = Image.open(io.BytesIO(media_bytes(samples[key]["mel"]["picture"])))
        assert np.array_equal(np.asarray(picture), batch.mel_image[0, 0].numpy())


def test_the_sound_is_the_loaders_own_and_has_the_tone_of_its_clip(samples, batches):
    for k in range(8):
        key = f"clip-{k:03d}"
        wave, rate = soundfile.read(io.BytesIO(media_bytes(samples[key]["sound"]["file"])))
        expected = batches[key].waveform[0].numpy()
        assert np.array_equal(wave[: len(expected)].astype(np.float32), expected[: len(wave)])
        loudest = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))).argmax() * rate / len(wave)
        assert loudest == pytest.approx(200 + 50 * k, abs=3)


def test_sound_begins_with_the_first_frame_and_ends_with_the_last(samples):
    sample = samples["clip-000"]
    assert sample["times"] == pytest.approx([0.0, 0.2, 0.4, 0.6])
    assert (sample["sound"]["start"], sample["sound"]["seconds"]) == pytest.approx((0.0, 0.8))
    assert sample["end"] == pytest.approx(0.8)


def test_the_mel_picture_spans_from_the_first_window_to_the_last(samples):
    mel = samples["clip-000"]["mel"]
    assert (mel["start"], mel["seconds"]) == pytest.approx((-0.25, 0.6 + 0.5))


def test_labels_stand_beside_their_clips(samples):
    labels = {key: sample["label"] for key, sample in samples.items()}
    assert labels == {f"clip-{k:03d}": f"class-{k % 3}" for k in range(8)}


def test_equal_input_gives_the_same_page(numbered, page):
    assert make_page(numbered, clip=CLIP).html == page.html


def test_the_page_asks_the_network_for_nothing(page):
    assert "default-src 'none'" in page.html
    assert "http://" not in page.html.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page.html


def test_what_samples_say_cannot_end_the_script(page):
    text = fill_page("</title><b>", about="</script>", notes=[], entries=['{"key":"</script>"}'])
    assert text.count("</script>") == page.html.count("</script>")
    assert page_data(text)["samples"][0]["key"] == "</script>"
    assert "<b>" not in text


def test_a_limit_of_bytes_is_kept_and_told(numbered):
    page = make_page(numbered, clip=CLIP, max_megabytes=0.1)
    assert 0 < page.num_shown < 8
    assert page.num_shown + page.num_left_out == 8
    assert len(page.html) < 0.1e6 + 30_000
    assert "left out" in page_data(page.html)["notes"][0]


def test_a_stride_is_lowered_for_short_samples(numbered):
    clip = ClipConfig(num_frames=6, frame_stride=4, size=(16, 24), window="start")
    data = page_data(make_page(numbered, clip=clip, num_samples=1).html)
    assert data["samples"][0]["frames"] == [0, 2, 4, 6, 8, 10]
    assert "stride 2" in data["about"]


def test_a_stride_that_was_asked_for_is_kept(numbered):
    clip = ClipConfig(num_frames=6, frame_stride=4, size=(16, 24), window="start")
    data = page_data(make_page(numbered, clip=clip, fits_stride=False, num_samples=1).html)
    assert data["samples"][0]["frames"][:4] == [0, 4, 8, 8]
    assert data["samples"][0]["num_valid"] == 3


def test_any_set_of_channels_is_shown(numbered):
    clip = ClipConfig(
        num_frames=2, size=(16, 24), channels="gray3", flow=FlowConfig(mode="uv"), window="start"
    )
    sample = page_data(make_page(numbered, clip=clip, num_samples=1).html)["samples"][0]
    assert [view["name"] for view in sample["views"]] == [
        *("RGB", "flow, direction", "gray", "flow_u", "flow_v", "mel"),
    ]


@pytest.mark.parametrize(("estimator", "has_direction"), [("auto", True), ("member", False)])
def test_direction_is_added_where_flow_is_estimated(estimator, has_direction):
    clip = with_pictures(ClipConfig(channels="flow", flow=FlowConfig(estimator=estimator)))
    assert ("flow_u" in clip.planes) is has_direction
    assert set(clip.planes) >= {"flow", "red", "green", "blue"}


def test_odd_samples_show_what_they_have(odd):
    samples = {one["key"]: one for one in page_data(make_page(odd).html)["samples"]}
    names = {key: {view["name"] for view in one["views"]} for key, one in samples.items()}
    assert names["mute"] == {"RGB", "flow, direction", "flow"}
    assert names["heard"] == {"mel"}
    assert samples["mute"]["sound"] is None
    assert samples["silent"]["sound"]["note"] == "digital silence"
    assert view_of(samples["silent"], "mel")["note"] == "silence"


def test_copies_are_shown_upright_and_at_their_own_times(copied):
    clip = ClipConfig(num_frames=4, frame_stride=2, size=(96, 96), window="start")
    samples = {one["key"]: one for one in page_data(make_page(copied, clip=clip).html)["samples"]}
    assert samples["variable"]["times"] == pytest.approx([0.0, 0.15, 0.45, 1.0], abs=1e-3)
    frames = sprite_frames(view_of(samples["turned"], "RGB"), num_frames=4)
    # Turned by a quarter the bars lie on their side; the other turn mirrors them.
    on_side = frames.swapaxes(1, 2)
    assert [0, 2, 4, 6] in (read_numbers(on_side), read_numbers(on_side[:, :, ::-1]))


def test_a_broken_sample_is_named_and_the_others_are_shown(numbered, tmp_path):
    root = tmp_path / "broken"
    shutil.copytree(numbered, root)
    card = read_sample_card(root, "clip-002")
    (member,) = [member for member in card.members if member.extension == "mp4"]
    with Path(card.shard).open("r+b") as shard:
        shard.seek(member.offset + member.size // 2)
        shard.write(b"\xff\x00\xff\x00")
    page = make_page(root, clip=CLIP)
    assert [trouble.split(":")[0] for trouble in page.troubles] == ["clip-002"]
    assert page.num_shown == 7
    (bad,) = [one for one in page_data(page.html)["samples"] if one["trouble"]]
    assert (bad["key"], bad["label"]) == ("clip-002", "class-2")


def chosen_keys(root, *, num_samples=24, **wanted):
    store, manifest = open_dataset(root)
    chosen, _ = choose_samples(store, manifest, num_samples=num_samples, wanted=Wanted(**wanted))
    return [one.key for one in chosen]


def test_few_samples_are_of_all_classes(numbered):
    assert {int(key[-3:]) % 3 for key in chosen_keys(numbered, num_samples=3)} == {0, 1, 2}


def test_patterns_choose(numbered):
    assert sorted(chosen_keys(numbered, class_name="class-2")) == ["clip-002", "clip-005"]
    assert sorted(chosen_keys(numbered, key="clip-00[01]")) == ["clip-000", "clip-001"]
    assert len(chosen_keys(numbered, split="tr*")) == 8


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"class_name": "blue"}, "class 'blue' is none of"),
        ({"split": "test"}, "split 'test' is none of"),
        ({"key": "nobody"}, "no sample has key 'nobody'"),
    ],
)
def test_patterns_that_nothing_fits_say_what_there_is(numbered, wanted, message):
    with pytest.raises(ConfigError, match=message):
        chosen_keys(numbered, **wanted)


def test_a_class_of_an_unlabelled_dataset_is_refused(odd):
    with pytest.raises(ConfigError, match="has no classes"):
        chosen_keys(odd, class_name="x")


@pytest.mark.parametrize(
    ("u", "v", "hue"),
    [(10, 0, (1, 0, 0)), (0, 10, (0.5, 1, 0)), (-10, 0, (0, 1, 1)), (0, -10, (0.5, 0, 1))],
)
def test_the_hue_says_where_to(u, v, hue):
    shape = (1, 2, 2)
    colours, full = flow_colours(
        np.full(shape, 128 + u, np.uint8), np.full(shape, 128 + v, np.uint8), max_pixels=127.0
    )
    assert full == pytest.approx(10.0)
    assert np.allclose(colours / 255, hue, atol=0.02)


def test_no_motion_is_black():
    still = np.full((1, 2, 2), 128, np.uint8)
    colours, full = flow_colours(still, still, max_pixels=16.0)
    assert (colours.max(), full) == (0, 1.0)
