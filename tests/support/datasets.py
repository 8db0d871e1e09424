"""Small packed datasets whose samples are known by number."""

import csv
from fractions import Fraction
from pathlib import Path

from fmrgb_stream.config import PackConfig
from tests.support.media import Picture, Sound, numbered_frames, tone, write_media

FRAMES_PER_CLIP = 12
FPS = Fraction(10)


def first_number(sample):
    """The number in the first frame of source clip `sample`; frame k shows this plus k."""
    return sample * 16


def write_sources(folder, *, num_clips, split="train", classes=3):
    """Clips named clip-000 ... whose frames carry numbers and whose tone tells the clip."""
    with (folder / "labels.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "label", "split"])
        for sample in range(num_clips):
            name = f"clip-{sample:03d}.mp4"
            write_media(
                folder / name,
                picture=Picture(
                    frames=numbered_frames(
                        FRAMES_PER_CLIP, width=96, height=64, first=first_number(sample)
                    ),
                    fps=FPS,
                ),
                sound=Sound(samples=tone(200 + 50 * sample, float(FRAMES_PER_CLIP / FPS))),
            )
            table.writerow([name, f"class-{sample % classes}", split])
    return folder / "labels.csv"


def pack_numbered(
    folder: Path, *, num_clips: int, samples_per_shard: int = 5, codec: str = "h264"
) -> Path:
    """A dataset of numbered clips in one split, packed by the real packer."""
    from fmrgb_stream.packing import pack

    source, root = folder / "source", folder / "dataset"
    source.mkdir()
    table = write_sources(source, num_clips=num_clips)
    pack(
        table,
        root,
        config=PackConfig(
            short_side=64,
            samples_per_shard=samples_per_shard,
            gop_frames=4,
            num_workers=1,
            codec=codec,
        ),
    )
    return root
