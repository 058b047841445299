"""What to ask about next: which answered message is worth a ranking most."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

Pick = Literal["random", "recent", "uncertain"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message that a model answered."""

    prompt: int
    """Its id; a larger one is more recent."""
    replies: tuple[str, ...]
    """What the model said to it so far."""
    ranked: bool = False


def pick(candidates: Iterable[Candidate], how: Pick = "random", seed: int | None = None) -> list[Candidate]:
    """All candidates in the order in which to ask, those that nobody ranked first.

    `uncertain` begins where the replies so far differ most from one another. `seed` orders what is equal.
    """
    found = sorted(candidates, key=lambda each: each.prompt, reverse=True)
    if how != "recent":
        random.Random(seed).shuffle(found)
    if how == "uncertain":
        found.sort(key=lambda each: disagreement(each.replies), reverse=True)
    return sorted(found, key=lambda each: each.ranked)


def disagreement(texts: Iterable[str]) -> float:
    """Mean share of words that two of the texts do not have in common, from 0 to 1; 0 for a single text."""
    bags = [set(text.casefold().split()) for text in texts]
    apart = [1 - len(a & b) / len(a | b) for a, b in combinations(bags, 2) if a | b]
    return sum(apart) / len(apart) if apart else 0.0
