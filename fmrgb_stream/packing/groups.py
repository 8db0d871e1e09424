"""Probed inputs -> the group of each. What holds the same pictures must never train and test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from fmrgb_stream.packing.plan import ProbedInput

_Node: TypeAlias = tuple[bool, str]
"""(is without a named group, the group's name or the first key of the content)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """The group of every input, in their order."""

    names: tuple[str, ...]
    warnings: tuple[str, ...]
    """One for each two named groups that became one."""


@dataclass(slots=True)
class _Union:
    """Disjoint sets; the root is the smallest node, so that named groups win, by name."""

    parents: dict[_Node, _Node] = field(default_factory=dict)

    def root(self, node: _Node) -> _Node:
        while (parent := self.parents.get(node, node)) != node:
            node = parent
        return node

    def tie(self, one: _Node, other: _Node) -> bool:
        """Make two sets one; False when they were."""
        low, high = sorted((self.root(one), self.root(other)))
        if low == high:
            return False
        self.parents[high] = low
        return True


def group_inputs(inputs: Sequence[ProbedInput]) -> Groups:
    """Name the groups: as the source says, and files without a group by their content.

    Stretches of equal files that overlap tie their groups together, whatever they are called.
    """
    first_key: dict[str, str] = {}
    for probed in inputs:
        first_key.setdefault(probed.sha256, probed.item.key)
    nodes: list[_Node] = [
        (True, first_key[probed.sha256])
        if probed.item.group is None
        else (False, probed.item.group)
        for probed in inputs
    ]
    same_content: dict[str, list[int]] = {}
    for index, probed in enumerate(inputs):
        same_content.setdefault(probed.sha256, []).append(index)
    union, warnings = _Union(), list[str]()
    for indices in same_content.values():
        for one, other in _overlaps(inputs, indices):
            before = union.root(nodes[one]), union.root(nodes[other])
            if union.tie(*before) and not (before[0][0] or before[1][0]):
                warnings.append(_tied(inputs[one], inputs[other]))
    return Groups(names=tuple(union.root(node)[1] for node in nodes), warnings=tuple(warnings))


def _overlaps(inputs: Sequence[ProbedInput], indices: Sequence[int]) -> list[tuple[int, int]]:
    """Enough pairs of overlapping stretches of one content to tie all that overlap."""

    def start(index: int) -> float:
        return inputs[index].item.start_seconds or 0.0

    pairs: list[tuple[int, int]] = []
    reached, until = -1, -math.inf
    for index in sorted(indices, key=start):
        stretch_end = inputs[index].item.end_seconds
        end = math.inf if stretch_end is None else stretch_end
        if start(index) < until:
            pairs.append((reached, index))
        if end > until:
            reached, until = index, end
    return pairs


def _tied(one: ProbedInput, other: ProbedInput) -> str:
    return (
        f"{one.item.relative} and {other.item.relative} hold the same content, so their groups "
        f"{one.item.group!r} and {other.item.group!r} are packed as one"
    )
