"""A mixture through DALI: every clip once a pass, its source named, a refused sample its own."""

import subprocess
from collections import Counter

import pytest

import fmrgb_stream as fs
from fmrgb_stream.cli.main import main
from fmrgb_stream.shards import Manifest, ShardReader
from fmrgb_stream.storage import Store
from tests.support.datasets import pack_numbered

pytest.importorskip("nvidia.dali")

pytestmark = pytest.mark.timeout(100)
CLIP = fs.ClipConfig(num_frames=2, frame_stride=1, size=(16, 16), channels="rgb")
SIZES = (7, 3)


@pytest.fixture(scope="session")
def roots(tmp_path_factory):
    return [
        pack_numbered(tmp_path_factory.mktemp(f"vp9-{size}"), num_clips=size, codec="vp9")
        for size in SIZES
    ]


def build(sources, **options):
    return fs.build_loader(
        sources=sources, batch_size=3, clip=CLIP, backend="dali", device="cpu", decode="nvdec",
        tail="pad", num_workers=1, **options,
    )  # fmt: skip


def test_every_clip_comes_once_a_pass_and_the_audit_says_so(roots, tmp_path):
    counts = Counter()
    with build([(roots[0], 1), (roots[1], 1)], audit_log=tmp_path) as loader:
        for batch in [*loader, *loader]:
            columns = (batch.source_ids, batch.source_passes, batch.sample_ids)
            rows = zip(*(column[~batch.is_padding].tolist() for column in columns), strict=True)
            counts.update(rows)
        reads = loader.stats()["reads"]
    assert max(counts.values()) == 1
    assert sum(counts.values()) == 2 * sum(SIZES)
    assert reads["num_requests"] >= 2 * sum(SIZES)
    assert main(["audit", str(tmp_path)]) == 0


def test_a_bad_sample_of_one_source_is_replaced_by_one_of_the_same(roots, tmp_path):
    copy = tmp_path / "damaged"
    subprocess.run(["cp", "-r", roots[1], copy], check=True)
    split = Manifest.load(Store(copy)).split("train")
    reader = ShardReader(Store(copy), split)
    (member,) = (m for m in reader.info(1).members if m.extension not in ("flac", "json"))
    tar = copy / split.shards[0].path
    content = bytearray(tar.read_bytes())
    content[member.offset + member.size // 2] ^= 0x10
    tar.write_bytes(content)
    with build([roots[0], copy]) as loader:
        replaced = [
            (source, sample)
            for batch in loader
            for source, sample, is_substitute, is_padding in zip(
                batch.source_ids.tolist(),
                batch.sample_ids.tolist(),
                batch.is_substitute.tolist(),
                batch.is_padding.tolist(),
                strict=True,
            )
            if is_substitute and not is_padding
        ]
        counts = loader.stats()["sources"]
    assert replaced == [(1, 1)]
    assert counts[0]["num_substitutes"] == 0
    assert counts[1]["num_substitutes"] == 1
