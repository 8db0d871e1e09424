import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from benchmarks.throughput import corpus
from benchmarks.throughput.child import Job, Window, measure
from benchmarks.throughput.content import compare
from benchmarks.throughput.contract import BenchBatch, BenchClip
from benchmarks.throughput.corpus import CorpusSettings, make_corpus, num_frames_of
from benchmarks.throughput.entrants import FLOOR, LIMIT, OURS, SPARSE_LIMIT, all_entrants
from benchmarks.throughput.goals import goals
from benchmarks.throughput.harness import Memory, Plan, run_variant
from benchmarks.throughput.limit import jobs_of
from benchmarks.throughput.media_files import write_mp4
from benchmarks.throughput.process_tree import kill_session, tree_cpu_seconds, tree_usage
from benchmarks.throughput.reference import References, make_references
from benchmarks.throughput.report import write
from benchmarks.throughput.results import Report, Variant
from benchmarks.throughput.run_child import run_child
from fmrgb_stream.config import PackConfig

CLIP = BenchClip(num_frames=4, size=(96, 112), batch_size=3)
SETTINGS = CorpusSettings(num_samples=3, width=320, height=192, first_start=8)
SHORT = Window(warmup_clips=3, min_clips=3, min_seconds=0.05, max_seconds=5.0)


class Silent:
    """Tells nobody."""

    def begin(self, stage, total):
        pass

    def step(self, what):
        pass

    def tell(self, what, done, total):
        pass


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    made = make_corpus(SETTINGS, tmp_path_factory.mktemp("corpus"), Silent().tell)
    assert made is not None
    return made


@pytest.fixture(scope="module")
def reference(data):
    return make_references(data, CLIP, form="packed", told=Silent().tell)


@pytest.fixture(scope="module")
def variant(data) -> Variant:
    return run_variant(
        [OURS, LIMIT, SPARSE_LIMIT],
        data,
        CLIP,
        form="packed",
        plan=Plan(rounds=1, window=SHORT),
        memory=Memory(),
        progress=Silent(),
    )


def reference_batch(reference, change) -> BenchBatch:
    """All reference clips as one batch, each changed by a function of the reference."""
    references = References(reference)
    keys = tuple(sorted(references.keys))
    clips = [change(references[key]) for key in keys]
    return BenchBatch(keys=keys, clip_BCTHW=np.stack(clips))


def shifted(reference):
    return np.concatenate([reference.late_CTHW, reference.clip_CTHW[3:]])


def without_mel(reference):
    clip_CTHW = reference.clip_CTHW.copy()
    clip_CTHW[4] = 0
    return clip_CTHW


def without_flow(reference):
    clip_CTHW = reference.clip_CTHW.copy()
    clip_CTHW[3] = 0
    return clip_CTHW


def job_for(data, entrant, **changes) -> Job:
    job = Job(
        task="measure",
        module=entrant.module,
        attribute=entrant.attribute,
        role=entrant.role,
        data=data,
        clip=CLIP,
        num_workers=1,
        window=SHORT,
    )
    return replace(job, **changes)


def test_centre_windows_start_evenly_and_at_every_place_of_a_gop():
    settings, clip = CorpusSettings(), BenchClip()
    clip_frames = (clip.num_frames - 1) * clip.frame_stride + 1
    starts = np.array([num_frames_of(k, settings, clip) - clip_frames for k in range(96)]) // 2
    assert np.bincount(starts % 32).tolist() == [3] * 32
    gop_frames = PackConfig().gop_frames
    assert set(starts % gop_frames) == set(range(gop_frames))


def test_corpus_that_is_there_is_not_made_again(data):
    before = {path: path.stat().st_mtime_ns for path in data.sources.iterdir()}
    again = make_corpus(SETTINGS, data.sources.parents[1], Silent().tell)
    assert again == data
    assert {path: path.stat().st_mtime_ns for path in data.sources.iterdir()} == before


def test_real_clips_that_are_fewer_than_asked_for_are_counted(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    rng = np.random.default_rng(0)
    write_mp4(
        tmp_path / "real" / "one.mp4",
        [np.full((64, 96, 3), k % 256, np.uint8) for k in range(320)],
        0.1 * rng.standard_normal((2, 16000 * 320 // 25)).astype(np.float32),
        fps=Fraction(25),
        sample_rate=16000,
    )
    monkeypatch.setattr(corpus, "CLIPS_FOLDER", tmp_path / "real")
    made = make_corpus(CorpusSettings(name="clips"), tmp_path / "made", Silent().tell)
    assert made is not None
    assert made.num_samples == len(list(made.sources.iterdir())) == 8


def test_ours_and_the_limits_make_the_reference_clips(variant):
    assert [entry.content and entry.content.problem for entry in variant.entries] == [""] * 3
    assert [entry.content and entry.content.num_clips for entry in variant.entries] == [3] * 3


def test_the_sparse_limit_decodes_fewer_packets_of_the_same_clips(data):
    every, sparse = (
        jobs_of(data, CLIP, slice(None), leaves_out=leaves_out) for leaves_out in (False, True)
    )
    assert [job.place_of for job in sparse] == [job.place_of for job in every]
    counts = [sum(len(job.packets) for job in jobs) for jobs in (sparse, every)]
    assert counts[0] < 0.8 * counts[1]


def test_every_contestant_has_a_figure_for_each_round(variant):
    assert [entry.failure for entry in variant.entries] == [""] * 3
    rounds = [each for entry in variant.entries for each in entry.rounds]
    assert len(rounds) == 3
    for each in rounds:
        assert each is not None
        assert each.clips_per_second == pytest.approx(each.num_clips / each.window_seconds)
        assert each.cpu_ms_per_clip > 0
        assert each.peak_pss_mib > 20
        assert each.first_batch_seconds > 0


def test_every_other_round_runs_backwards(data):
    steps = []
    told = Silent()
    told.step = steps.append
    run_variant(
        [LIMIT, FLOOR],
        data,
        CLIP,
        form="packed",
        plan=Plan(rounds=2, window=SHORT),
        memory=Memory(),
        progress=told,
    )
    rounds = [step for step in steps if step.startswith("round")]
    assert rounds == ["round 1: limit", "round 1: floor", "round 2: floor", "round 2: limit"]


def test_limit_runs_a_process_a_core_beside_its_reader(variant):
    limit = variant.find("limit")
    cores = len(os.sched_getaffinity(0))
    assert limit.rounds[0].num_processes == 1 + min(cores, SETTINGS.num_samples)


def test_report_files_hold_every_round_and_the_verdicts(variant, tmp_path):
    bars = goals([variant])
    environment = {"date": "2026-01-01", "processor": "p", "usable cores": "2"}
    report = Report(environment=environment, variants=(variant,), bars=bars)
    path = write(report, tmp_path, stem="run")
    content = json.loads(path.read_text())
    entries = content["variants"][0]["entries"]
    assert [len(entry["rounds"]) for entry in entries] == [1, 1, 1]
    speeds = [[each["clips_per_second"] for each in entry["rounds"]] for entry in entries[:2]]
    of_limit = float(np.median(np.divide(*speeds)))
    assert content["bars"][0]["value"] == pytest.approx(of_limit)
    assert content["bars"][0]["is_met"] is (of_limit >= 0.65)
    assert "| fmrgb_stream |" in path.with_suffix(".md").read_text()
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_reference_itself_passes_the_content_check(reference):
    batch = reference_batch(reference, lambda found: found.clip_CTHW)
    assert compare([batch], reference, CLIP, role="peer").problem == ""


@pytest.mark.parametrize(
    ("change", "complaint"),
    [(shifted, "shifted in time"), (without_mel, "mel differs"), (without_flow, "flow")],
)
def test_content_check_refuses_other_clips(reference, change, complaint):
    found = compare([reference_batch(reference, change)], reference, CLIP, role="peer")
    assert complaint in found.problem


def test_content_check_refuses_a_missing_sample(reference):
    batch = reference_batch(reference, lambda found: found.clip_CTHW)
    fewer = BenchBatch(keys=batch.keys[1:], clip_BCTHW=batch.clip_BCTHW[1:])
    found = compare([fewer], reference, CLIP, role="peer")
    assert found.problem == f"1 keys are missing, such as {batch.keys[0]!r}"


def test_contestant_that_cannot_be_imported_is_reported_with_the_reason(data):
    job = job_for(data, replace(OURS, module="benchmarks.throughput.not_there"))
    outcome = run_child(job, timeout_seconds=60)
    assert "not_there is not installed" in outcome.failure


def test_contestant_that_takes_too_long_is_ended(data):
    endless = replace(SHORT, min_seconds=600.0, max_seconds=600.0)
    outcome = run_child(job_for(data, FLOOR, window=endless), timeout_seconds=1.5)
    assert outcome.failure == "no result after 2 s"


def test_window_goes_on_until_clips_and_seconds_are_enough(data):
    window = Window(warmup_clips=3, min_clips=30, min_seconds=0.0, max_seconds=60.0)
    from benchmarks.throughput.floor import CONTESTANT

    found = measure(CONTESTANT, job_for(data, FLOOR, window=window), import_seconds=0.0)
    assert found.num_clips == 30


def test_job_survives_its_way_to_the_child(data):
    job = job_for(data, LIMIT, reference=Path("somewhere"))
    assert Job.from_json(job.to_json()) == job


def test_unknown_contestant_is_refused_by_name():
    with pytest.raises(ValueError, match="no contestant is called nobody; there are \\['ours'"):
        all_entrants(["nobody"])


@pytest.fixture
def family():
    """A process that leads a session, with one child; both burn a little and then sleep."""
    burn = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.2: pass\n"
    child = f"{burn}print('ready', flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]); {burn}"
    code = f"{parent}time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    deadline = time.monotonic() + 10
    while tree_cpu_seconds(process.pid) < 0.4 and time.monotonic() < deadline:
        time.sleep(0.02)
    yield process
    kill_session(process.pid)
    process.wait()
    process.stdout.close()


def test_tree_counts_the_child_too(family):
    usage = tree_usage(family.pid)
    assert (usage.num_processes, usage.num_threads) == (2, 2)
    assert usage.pss_mib > 3
    assert 0.38 <= tree_cpu_seconds(family.pid) < 2


def test_killing_a_session_ends_the_orphan_of_a_dead_leader(family):
    family.kill()
    family.wait()
    assert kill_session(family.pid) == 1
    assert kill_session(family.pid) == 0
