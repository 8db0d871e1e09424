"""Name of a preset -> the YAML file of the package that holds it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import fmrgb_stream
from fmrgb_stream.errors import ConfigError

_FLAG: Final = "--config"


def preset_names() -> list[str]:
    """The presets that come with the package."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def find_config(name: str) -> Path:
    """A file, or a preset by its name.

    Raises:
        ConfigError: there is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    if name in preset_names():
        return _folder() / f"{name}.yaml"
    raise ConfigError(f"--config {name} is neither a file nor one of the presets {preset_names()}")


def name_presets_by_path(words: Sequence[str]) -> list[str]:
    """Command line words with the file in place of every `--config NAME`."""
    found: list[str] = []
    for word in words:
        if found and found[-1] == _FLAG:
            found.append(str(find_config(word)))
        elif word.startswith(f"{_FLAG}="):
            found.append(f"{_FLAG}={find_config(word.removeprefix(f'{_FLAG}='))}")
        else:
            found.append(word)
    return found


def _folder() -> Path:
    return Path(fmrgb_stream.__file__).parent / "configs"
