"""WebDataset's own TarWriter, without the torch that its package loads."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from webdataset.writer import TarWriter

_ALIAS: Final = "fmrgb_stream.shards._webdataset"


def tar_writer_class() -> type[TarWriter]:
    """The class `webdataset.TarWriter`.

    `import webdataset` loads torch where it is installed: 2.5 s that writing a tar has no use for.
    The writer itself does not need it. So its module is imported from WebDataset's folder under a
    name of ours, and the package under its own name stays as untouched as if nobody had asked.
    """
    if "webdataset" in sys.modules:
        return import_module("webdataset.writer").TarWriter
    if _ALIAS not in sys.modules:
        found = find_spec("webdataset")
        if found is None or found.submodule_search_locations is None:
            raise ModuleNotFoundError("No module named 'webdataset'", name="webdataset")
        package = ModuleType(_ALIAS)
        package.__path__ = list(found.submodule_search_locations)
        sys.modules[_ALIAS] = package
    return import_module(f"{_ALIAS}.writer").TarWriter
