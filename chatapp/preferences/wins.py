"""What the wins of one adapter over another say: in words, and as a share with its interval."""

from __future__ import annotations

import math

from chatapp.core.types import Wins

_Z = 1.959964
"""Of a two-sided interval of 95%."""


def in_words(wins: Wins, other: str) -> str:
    """For example `beats r2 in 14 of 20`; empty where no ranking holds replies of both."""
    if not wins.rankings:
        return ""
    verb, count = ("beats", wins.a) if wins.a >= wins.b else ("loses to", wins.b)
    ties = f", {wins.ties} tied" if wins.ties else ""
    return f"{verb} {other} in {count} of {wins.rankings}{ties}"


def share(wins: Wins) -> tuple[float, float, float] | None:
    """(value, low, high): how often the first wins, a tie counting half, with Wilson's 95% interval (1927).

    None where there is nothing to count. 0.5 is no difference.
    """
    n = wins.rankings
    if not n:
        return None
    p = (wins.a + wins.ties / 2) / n
    return p, *wilson(p, n)


def wilson(p: float, n: int) -> tuple[float, float]:
    """The 95% interval of a share `p` of `n`; it has a width also where all or none are of the kind."""
    middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)
