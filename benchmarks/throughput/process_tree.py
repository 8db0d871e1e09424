"""A process -> CPU seconds, memory, processes and threads of it and all that it started (Linux).

Read from /proc. Members are the descendants, and whoever is in the session that the process leads:
a child whose parent has died still counts, and is still found when all must end.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PROC: Final = Path("/proc")
_MAX_KILL_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeUsage:
    """What a process tree uses at one moment."""

    pss_mib: float
    """Proportional set size: a page that n processes share counts 1/n for each."""
    num_processes: int
    num_threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stat:
    """The part of /proc/PID/stat that is used."""

    pid: int
    state: str
    parent: int
    session: int
    cpu_ticks: int
    """Own and of children that were waited for, user and system."""
    num_threads: int


def tree_cpu_seconds(root: int) -> float:
    """CPU seconds so far of the tree, with those of members that ended and were waited for."""
    return sum(member.cpu_ticks for member in _members(root)) / _TICKS_A_SECOND


def tree_usage(root: int) -> TreeUsage:
    """Memory, processes and threads; takes milliseconds, so keep it away from a clock."""
    members = _members(root)
    return TreeUsage(
        pss_mib=sum(_pss_kib(member.pid) for member in members) / 1024,
        num_processes=len(members),
        num_threads=sum(member.num_threads for member in members),
    )


def kill_session(leader: int) -> int:
    """End every process of a session, and wait until none is left; how many there were.

    Raises:
        TimeoutError: some would not go.
    """
    deadline = time.monotonic() + _MAX_KILL_SECONDS
    killed: set[int] = set()
    while True:
        alive = [stat.pid for stat in _all_stats() if stat.session == leader and stat.state != "Z"]
        if not alive:
            return len(killed)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {alive} of session {leader} cannot be ended")
        for pid in alive:
            killed.add(pid)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.01)


def _members(root: int) -> list[_Stat]:
    stats = [stat for stat in _all_stats() if stat.state != "Z"]
    found = {root} | {stat.pid for stat in stats if stat.session == root}
    while True:
        grown = found | {stat.pid for stat in stats if stat.parent in found}
        if grown == found:
            return [stat for stat in stats if stat.pid in found]
        found = grown


def _all_stats() -> list[_Stat]:
    read = (_stat(entry) for entry in _PROC.iterdir() if entry.name.isdigit())
    return [stat for stat in read if stat is not None]


def _stat(entry: Path) -> _Stat | None:
    try:
        text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in brackets may hold spaces and brackets: fields are counted after the last one.
    fields = text.rpartition(")")[2].split()
    return _Stat(
        pid=int(entry.name),
        state=fields[0],
        parent=int(fields[1]),
        session=int(fields[3]),
        cpu_ticks=sum(int(field) for field in fields[11:15]),
        num_threads=int(fields[17]),
    )


def _pss_kib(pid: int) -> int:
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
