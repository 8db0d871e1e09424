"""`fmrgb visualize ROOT KEY --out DIR`: one sample -> a lossless video a channel, a contact sheet."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fmrgb_stream.cli.exit_codes import EXIT_GOOD
from fmrgb_stream.cli.flags import add_config_flags, config_from_flags
from fmrgb_stream.config import ClipConfig
from fmrgb_stream.errors import ConfigError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from fmrgb_stream.sample import SampleInfo
    from fmrgb_stream.shards import Manifest
    from fmrgb_stream.viewing.clip_view import ClipView

NAME: Final = "visualize"
HELP: Final = "one sample as lossless videos, one a channel, and a contact sheet"
SHEET_NAME: Final = "contact_sheet.png"
STAGE: Final = "channels"
_CHOSEN_HERE: Final = ("dtype", "extras", "num_frames", "frame_stride", "size")
_MAX_FRAMES: Final = 600
"""Frames shown without being asked for more: 20 s at 30 a second."""
_MAX_SIDE: Final = 2048


def configure(parser: ArgumentParser) -> None:
    """Add root, key and folder, the sheet's frames, and a flag for every field of `ClipConfig`."""
    parser.add_argument("root", type=str, help="Dataset root, the folder of manifest.json.")
    parser.add_argument("key", type=str, help="Of the sample.")
    parser.add_argument("--out", type=Path, required=True, help="Folder for videos and sheet.")
    parser.add_argument("--sheet-frames", type=int, default=8, help="Frames on the contact sheet.")
    parser.add_argument("--seed", type=int, default=0, help="Of windows at random places.")
    add_config_flags(parser, ClipConfig, prefix="clip.", skip=_CHOSEN_HERE)
    parser.add_argument(
        "--clip.num-frames",
        type=int | None,
        default=None,
        help=f"All of the sample by default, {_MAX_FRAMES} at most.",
    )
    parser.add_argument(
        "--clip.frame-stride", type=int, default=1, help="Source frames from one to the next."
    )
    parser.add_argument(
        "--clip.size",
        type=tuple[int, int] | None,
        default=None,
        help="(height, width) in pixels; as the sample is stored by default.",
    )
    parser.set_defaults({"clip.window": "start"})


def run(arguments: Namespace) -> int:
    """Write the files; 0 when they are there."""
    from fmrgb_stream.packing.progress import make_progress
    from fmrgb_stream.shards import find_sample, open_dataset
    from fmrgb_stream.viewing.channel_videos import num_videos, write_videos
    from fmrgb_stream.viewing.clip_view import view_clip

    out: Path = arguments.out
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; name a folder")
    if arguments.sheet_frames < 1:
        raise ConfigError(f"--sheet-frames {arguments.sheet_frames} must be at least 1")
    store, manifest = open_dataset(arguments.root)
    found = find_sample(store, manifest, arguments.key)
    clip = _clip_of(arguments, found.info)
    progress = make_progress(silent=arguments.json, unit="videos")
    try:
        progress.start(STAGE, total=num_videos(clip.planes))
        view = view_clip(
            found.reader,
            found.sample_id,
            clip=clip,
            audio_sample_rate=manifest.audio_sample_rate,
            seed=arguments.seed,
        )
        files = write_videos(view, out, advanced=lambda: progress.advance(STAGE))
    finally:
        progress.close()
    files.append(_draw_sheet(view, manifest, out, arguments.sheet_frames))
    _tell(view, files, as_json=arguments.json)
    return EXIT_GOOD


def _clip_of(arguments: Namespace, info: SampleInfo) -> ClipConfig:
    """The settings asked for, with as many frames and pixels as the sample has."""
    from fmrgb_stream.clips.timeline import FrameGrid

    given = {name: arguments[f"clip.{name}"] for name in ("num_frames", "frame_stride", "size")}
    defaults: dict[str, Any] = {"dtype": "uint8", "extras": (), **given}
    defaults = {name: value for name, value in defaults.items() if value is not None}
    rest = {name: getattr(ClipConfig(), name) for name in _CHOSEN_HERE}
    clip = config_from_flags(arguments, ClipConfig, prefix="clip.", **rest | defaults)
    if given["size"] is None and info.has_video:
        clip = replace(clip, size=_stored_size(info))
    if given["num_frames"] is None:
        grid = FrameGrid(
            times_seconds=info.times_seconds(), frame_stride=clip.frame_stride, fps=clip.fps
        )
        length = len(grid.strided(0, grid.leading(clip.fraction)))
        clip = replace(clip, num_frames=min(length, _MAX_FRAMES))
    return clip


def _stored_size(info: SampleInfo) -> tuple[int, int]:
    """(height, width) upright, within what a clip may have."""
    is_turned = info.rotation_degrees % 180 != 0
    sides = (info.width, info.height) if is_turned else (info.height, info.width)
    scale = min(1.0, _MAX_SIDE / max(sides))
    height, width = (max(8, round(side * scale)) for side in sides)
    return height, width


def _draw_sheet(view: ClipView, manifest: Manifest, out: Path, num_frames: int) -> Path:
    from fmrgb_stream.viewing.contact_sheet import draw_contact_sheet
    from fmrgb_stream.viewing.sample_card import label_name

    path, label = out / SHEET_NAME, label_name(manifest, view.info)
    title = view.info.key if label is None else f"{view.info.key}   ({label})"
    draw_contact_sheet(view, title=title, num_frames=num_frames).save(path)
    return path


def _tell(view: ClipView, files: list[Path], *, as_json: bool) -> None:
    from fmrgb_stream.viewing.channel_videos import frame_rate

    count = view.num_valid_frames
    times, sources = view.times_seconds_T[:count].tolist(), view.frame_indices_T[:count].tolist()
    fps = float(frame_rate(view.times_seconds_T[:count], end_seconds=view.end_seconds))
    if as_json:
        found = {
            "key": view.info.key,
            "channels": list(view.channels),
            "fps": fps,
            "is_variable_rate": view.info.frame_times_seconds is not None,
            "times_seconds": times,
            "source_frames": sources,
            "num_source_frames": view.info.num_frames,
            "files": [str(path) for path in files],
        }
        sys.stdout.write(json.dumps(found) + "\n")
        return
    about = "about " * (view.info.frame_times_seconds is not None)
    lines = [
        f"{view.info.key}: {count} of {view.info.num_frames} frames, {about}{fps:g} a second",
        "times, s: " + " ".join(f"{time:.3f}" for time in times),
        *(f"  {path}" for path in files),
    ]
    if not view.info.has_video:
        lines.append("  this sample has no picture: its picture and flow planes are 0")
    if not view.info.has_audio:
        lines.append("  this sample has no sound: its mel plane is 0, and there is no sound file")
    sys.stdout.write("\n".join(lines) + "\n")
