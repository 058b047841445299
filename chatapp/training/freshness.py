"""Later rounds: fresh rankings count more than old ones, and none is thrown away.

A ranking halves in weight with each round of age. Its age is how many rounds ago the newest of its replies
was written: 0 for replies of the adapter that the round starts from, 1 for those of its parent, and so on;
replies of the base, of people and of unknown origin are older than all of them. The mean weight is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatapp.core.types import Group

HALVING = 0.5


def age(group: Group, lineage: Sequence[str]) -> int:
    """In rounds. `lineage`: the adapter that the round starts from, its parent, and so on."""
    places = {name: place for place, name in enumerate(lineage)}
    oldest = len(lineage)
    return min((places.get(reply.adapter or "", oldest) for reply in group.replies), default=oldest)


def freshness(groups: Sequence[Group], lineage: Sequence[str]) -> Callable[[Group], float]:
    """The weight of each of `groups`."""
    raw = [HALVING ** age(group, lineage) for group in groups]
    mean = sum(raw) / len(raw) if raw else 1.0
    return lambda group: HALVING ** age(group, lineage) / mean
