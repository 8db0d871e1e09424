"""Which processes a process has started, from /proc."""

import time
from pathlib import Path


def descendants(pid):
    """{pid: name} of the living children of a process, theirs, and so on."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, _, fields = (folder / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue  # ended meanwhile
        state, parent = fields.split()[:2]
        if state != "Z":
            parents[int(folder.name)], names[int(folder.name)] = int(parent), name
    found, reached = {}, {pid}
    while reached:
        reached = {child for child, parent in parents.items() if parent in reached}
        found |= {child: names[child] for child in reached}
    return found


def crew_of(pid):
    """{pid: name} of the decode processes of a process and of their host."""
    return {p: name for p, name in descendants(pid).items() if name.startswith("fmrgb-")}


def workers_of(pid):
    """Pids of the decode processes of a process."""
    return sorted(p for p, name in crew_of(pid).items() if name.startswith("fmrgb-clip"))


def are_gone(pids, *, timeout_seconds=10.0):
    """Wait until none of these processes is alive; whether that came about."""
    end = time.monotonic() + timeout_seconds
    while any(_is_alive(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
