"""`fmrgb COMMAND ...` -> exit code. Only the chosen command is imported.

A command is a module of this package with four names:

- `NAME: str`: the word on the command line, equal to the module's name;
- `HELP: str`: one line for `fmrgb --help`;
- `configure(parser: jsonargparse.ArgumentParser) -> None`: adds positionals and flags (flags that
  mirror a config dataclass come from `cli.flags.add_config_flags`);
- `run(arguments: jsonargparse.Namespace) -> int`: does the work and returns the exit code.

Modules keep heavy imports (torch, av, webdataset, ...) inside `run`, so that help is quick.
It may also name `STOPPED: str`, what to tell after Ctrl-C.

`--config FILE.yaml`, `--json` and `--debug` are there for every command; `run` reads
`arguments.json`. Exit codes: 0 good, 1 the command worked but found problems, 2 usage or input
that cannot be used (or a disk that cannot), 130 stopped by Ctrl-C. An `FmrgbError` or `OSError`
becomes one line on stderr; `--debug` shows where it came from.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol, cast

from fmrgb_stream.cli.exit_codes import EXIT_GOOD, EXIT_INTERRUPTED, EXIT_UNUSABLE
from fmrgb_stream.errors import FmrgbError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

COMMANDS: Final = ("pack", "index", "verify", "stats", "demo")


class Command(Protocol):
    """What a command module offers."""

    NAME: str
    HELP: str

    def configure(self, parser: ArgumentParser) -> None:
        """Add positionals and flags."""
        ...

    def run(self, arguments: Namespace) -> int:
        """Do the work; the exit code."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; `argv` without the program's name, the process's own by default."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(_overview())
        return EXIT_GOOD if words else EXIT_UNUSABLE
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        sys.stderr.write(f"fmrgb: error: no command {name!r}; there are {', '.join(COMMANDS)}\n")
        return EXIT_UNUSABLE
    hint = ""
    try:
        command = _load(name)
        hint = _hint(command)
        return _run_command(command, rest)
    except KeyboardInterrupt:
        sys.stderr.write(f"fmrgb {name}: stopped{hint}\n")
        return EXIT_INTERRUPTED


def _load(name: str) -> Command:
    return cast("Command", importlib.import_module(f"fmrgb_stream.cli.{name}"))


def _hint(command: Command) -> str:
    """What a command wants said after Ctrl-C; its module may name it as STOPPED."""
    hint = getattr(command, "STOPPED", "")
    return f"; {hint}" if hint else ""


def _overview() -> str:
    lines = ["usage: fmrgb COMMAND [options]", "", "commands:"]
    lines += [f"  {name:<10}{_load(name).HELP}" for name in COMMANDS]
    lines += ["", "fmrgb COMMAND --help lists the options of one command."]
    return "\n".join(lines) + "\n"


def _run_command(command: Command, words: Sequence[str]) -> int:
    from jsonargparse import ActionYesNo, ArgumentParser

    parser = ArgumentParser(prog=f"fmrgb {command.NAME}", description=command.HELP)
    command.configure(parser)
    parser.add_argument("--config", action="config", help="YAML file with any of these options.")
    parser.add_argument(
        "--json", action=ActionYesNo, default=False, help="One JSON object on stdout, no bars."
    )
    parser.add_argument(
        "--debug", action=ActionYesNo, default=False, help="Show the traceback of an error."
    )
    try:
        arguments = parser.parse_args(list(words))
    except SystemExit as stop:
        # --help ends with 0, a usage error with 2; both have printed what they had to say.
        return int(stop.code or 0)
    logging.basicConfig(
        level=logging.DEBUG if arguments.debug else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
    )
    try:
        return command.run(arguments)
    except (FmrgbError, OSError) as error:
        if arguments.debug:
            raise
        sys.stderr.write(f"fmrgb {command.NAME}: error: {error}\n")
        return EXIT_UNUSABLE


if __name__ == "__main__":
    sys.exit(main())
