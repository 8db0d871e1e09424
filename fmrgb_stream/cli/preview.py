"""`fmrgb preview ROOT --out page.html`: samples of a dataset -> one page to watch and hear them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fmrgb_stream.cli.exit_codes import EXIT_GOOD, EXIT_PROBLEMS
from fmrgb_stream.cli.flags import add_config_flags, config_from_flags
from fmrgb_stream.config import ClipConfig
from fmrgb_stream.errors import ConfigError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

NAME: Final = "preview"
HELP: Final = "one page to watch and hear samples, all channels, as a loader makes them"
STAGE: Final = "preview"
_FIXED: Final = ("dtype", "extras", "frame_stride")
"""Fields of `ClipConfig` that a page decides itself, or that have another default here."""
_DEFAULTS: Final = {field: getattr(ClipConfig(), field) for field in _FIXED}


def configure(parser: ArgumentParser) -> None:
    """Add the root, the page, which samples, and a flag for every field of `ClipConfig`."""
    parser.add_argument("root", type=str, help="Dataset root, the folder of manifest.json.")
    parser.add_argument("--out", type=Path, default=Path("preview.html"), help="Page to write.")
    parser.add_argument("-n", "--num-samples", type=int, default=24, help="Samples at most.")
    parser.add_argument(
        "--class", type=str | None, default=None, help="Of this class only; a name or 'a*'."
    )
    parser.add_argument(
        "--split", type=str | None, default=None, help="Of this split only; a name or pattern."
    )
    parser.add_argument(
        "--key", type=str | None, default=None, help="This key only, or those of a pattern."
    )
    parser.add_argument("--seed", type=int, default=0, help="Of windows at random places.")
    parser.add_argument(
        "--max-mb", type=float, default=32.0, help="Samples that do not fit are left out."
    )
    add_config_flags(parser, ClipConfig, prefix="clip.", skip=_FIXED)
    parser.add_argument(
        "--clip.frame-stride",
        type=int | None,
        default=None,
        help="Source frames from one clip frame to the next; 4, or less where clips are short.",
    )
    parser.set_defaults({"clip.window": "centre"})


def run(arguments: Namespace) -> int:
    """Write the page; 1 when samples were left out or could not be shown."""
    from fmrgb_stream.packing.progress import make_progress
    from fmrgb_stream.viewing.choose import Wanted
    from fmrgb_stream.viewing.page import make_page

    out: Path = arguments.out
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder; name a file, e.g. {out / 'preview.html'}")
    if arguments.max_mb <= 0:
        raise ConfigError(f"--max-mb {arguments.max_mb} must be above 0")
    progress = make_progress(silent=arguments.json)
    try:
        page = make_page(
            arguments.root,
            num_samples=arguments.num_samples,
            wanted=Wanted(class_name=arguments["class"], split=arguments.split, key=arguments.key),
            clip=_clip(arguments),
            fits_stride=arguments["clip.frame_stride"] is None,
            seed=arguments.seed,
            max_megabytes=arguments.max_mb,
            started=lambda total: progress.start(STAGE, total=total),
            advanced=lambda: progress.advance(STAGE),
        )
    finally:
        progress.close()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page.html, encoding="utf-8")
    found: dict[str, Any] = {
        "out": str(out),
        "num_bytes": out.stat().st_size,
        "num_shown": page.num_shown,
        "num_fitting": page.num_fitting,
        "num_left_out": page.num_left_out,
        "troubles": list(page.troubles),
    }
    _tell(found, as_json=arguments.json)
    return EXIT_PROBLEMS if page.troubles or page.num_left_out else EXIT_GOOD


def _clip(arguments: Namespace) -> ClipConfig:
    stride = arguments["clip.frame_stride"]
    own = {} if stride is None else {"frame_stride": stride}
    return config_from_flags(arguments, ClipConfig, prefix="clip.", **_DEFAULTS | own)


def _tell(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    lines = [
        f"{found['out']}: {found['num_shown']} of {found['num_fitting']} samples, "
        f"{found['num_bytes'] / 1e6:.1f} MB"
    ]
    if found["num_left_out"]:
        lines.append(
            f"{found['num_left_out']} samples left out, the page would be larger than allowed: "
            "raise --max-mb, or lower -n, --clip.num-frames or --clip.size"
        )
    lines += [f"could not be shown: {trouble}" for trouble in found["troubles"]]
    sys.stdout.write("\n".join(lines) + "\n")
