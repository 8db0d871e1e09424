"""PyAV's FFmpeg -> a folder of libraries under their usual names, for torchcodec and SPDL.

Both load FFmpeg's shared libraries at run time and bring none. PyAV's wheel does, under names with
a hash; links with the plain names let all contestants decode with one and the same FFmpeg, on
machines without any. The folder must be in LD_LIBRARY_PATH before Python starts.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import av

_NAME: Final = re.compile(r"(lib(?:av|sw)[a-z]+)-[0-9a-f]+\.so\.(\d+)")


def environment(folder: Path) -> dict[str, str]:
    """The environment for processes that run peers: this one's, with the libraries in its path.

    The links are made in `folder`. Where PyAV brings no libraries (it was built on the machine's
    FFmpeg, which peers then find too) nothing is added.
    """
    libraries = Path(av.__file__).resolve().parent.parent / "av.libs"
    found = [(path, _NAME.match(path.name)) for path in sorted(libraries.glob("lib*"))]
    links = {f"{name[1]}.so.{name[2]}": path for path, name in found if name}
    if not links:
        return dict(os.environ)
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in links.items():
        link = folder / name
        if not link.exists() or link.resolve() != path.resolve():
            link.unlink(missing_ok=True)
            link.symlink_to(path)
    path = os.pathsep.join([str(folder.absolute()), os.environ.get("LD_LIBRARY_PATH", "")])
    return dict(os.environ) | {"LD_LIBRARY_PATH": path.rstrip(os.pathsep)}
