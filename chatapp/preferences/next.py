"""What to ask about next: which answered message is worth a ranking most."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
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


def pick(
    candidates: Iterable[Candidate],
    how: Pick = "random",
    seed: int | None = None,
    unsure: Callable[[Candidate], float] | None = None,
) -> list[Candidate]:
    """All candidates in the order in which to ask, those that nobody ranked first.

    `uncertain` begins where `unsure` is greatest; without it, where the replies so far differ most from one
    another. `seed` orders what is equal.
    """
    found = sorted(candidates, key=lambda each: each.prompt, reverse=True)
    if how != "recent":
        random.Random(seed).shuffle(found)
    if how == "uncertain":
        found.sort(key=unsure or (lambda each: disagreement(each.replies)), reverse=True)
    return sorted(found, key=lambda each: each.ranked)


def disagreement(texts: Iterable[str]) -> float:
    """Mean share of words that two of the texts do not have in common, from 0 to 1; 0 for a single text."""
    bags = [set(text.casefold().split()) for text in texts]
    apart = [1 - len(a & b) / len(a | b) for a, b in combinations(bags, 2) if a | b]
    return sum(apart) / len(apart) if apart else 0.0


def doubt(scores: Sequence[float]) -> float:
    """How unsure a reward model is of the order of replies that it gives these scores: from 0, sure, to 1.

    With p = sigmoid(a - b), the probability that a person puts a above b (Bradley and Terry 1952), the mean
    over all pairs of 2 min(p, 1 - p); 0 for a single reply.
    """
    unsure = [2 / (1 + math.exp(min(abs(a - b), 700.0))) for a, b in combinations(scores, 2)]
    return sum(unsure) / len(unsure) if unsure else 0.0
