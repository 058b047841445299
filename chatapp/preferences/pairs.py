"""Pairs (chosen, rejected): always derived from a ranking or a demonstration, never stored."""

from __future__ import annotations

from itertools import combinations, product
from typing import Protocol

from chatapp.core.types import Group, Tiers


class Ordered(Protocol):
    """A `Ranking`, a `Group`, or anything else with tiers."""

    @property
    def tiers(self) -> Tiers: ...


def pairs(ranking: Ordered) -> list[tuple[int, int]]:
    """(chosen, rejected) for every two replies in different tiers, best first.

    Nothing inside a tier, nothing for replies that are in no tier, so nothing at all for "all bad".
    """
    return [pair for better, worse in combinations(ranking.tiers, 2) for pair in product(better, worse)]


def group_pairs(group: Group) -> list[tuple[int, int]]:
    """Places in `group.replies`: of its order, and of its demonstration over all the others.

    None of two equal texts: there is nothing to prefer.
    """
    found = pairs(group)
    if group.demonstration is not None:
        found += [
            (group.demonstration, place)
            for place in range(len(group.replies))
            if place != group.demonstration
        ]
    texts = [reply.text for reply in group.replies]
    return [(better, worse) for better, worse in found if texts[better] != texts[worse]]
