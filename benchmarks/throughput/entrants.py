"""Who takes part: ours, the limit, the floor, and every module of `peers`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.throughput.peers import PEERS
from benchmarks.throughput.results import Form, Role

WORKERS_TO_TRY: Final = (2, 3, 4)
PACKAGE: Final = "benchmarks.throughput"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """A contestant, not imported yet: its libraries are loaded in its own processes only."""

    label: str
    """What `--only` calls it, and what stands in a table when it cannot be imported."""
    module: str
    role: Role
    attribute: str = "CONTESTANT"
    checked_attribute: str = "CONTESTANT"
    """Who stands in for it in the content check; empty without one."""

    @property
    def chooses_workers(self) -> bool:
        """Peers get the number of workers that suits them best; the others have their own rule."""
        return self.role == "peer"

    @property
    def form(self) -> Form:
        """Whose pictures it reads: those that `fmrgb pack` made, or those of the source files."""
        return "sources" if "sources" in self.label.split("_") else "packed"

    def takes_part(self, form: Form) -> bool:
        """Whether it has a place in a variant.

        Where the peers read the source files, ours reads what was packed of them once.
        """
        return self.form == form or self.role == "ours"


OURS: Final = Entrant(label="ours", module=f"{PACKAGE}.ours", role="ours")
LIMIT: Final = Entrant(
    label="limit", module=f"{PACKAGE}.limit", role="limit", checked_attribute="WRITING"
)
SPARSE_LIMIT: Final = Entrant(
    label="sparse_limit",
    module=f"{PACKAGE}.limit",
    role="limit",
    attribute="SPARSE",
    checked_attribute="SPARSE_WRITING",
)
FLOOR: Final = Entrant(label="floor", module=f"{PACKAGE}.floor", role="floor", checked_attribute="")


def all_entrants(only: Sequence[str] = ()) -> list[Entrant]:
    """Everybody, or those whose labels are named.

    Raises:
        ValueError: no contestant has such a label.
    """
    entrants = [OURS, LIMIT, SPARSE_LIMIT, FLOOR, *_peers()]
    labels = [entrant.label for entrant in entrants]
    unknown = sorted(set(only) - set(labels))
    if unknown:
        raise ValueError(f"no contestant is called {', '.join(unknown)}; there are {labels}")
    return [entrant for entrant in entrants if not only or entrant.label in only]


def _peers() -> list[Entrant]:
    return [Entrant(label=name, module=f"{PACKAGE}.peers.{name}", role="peer") for name in PEERS]
