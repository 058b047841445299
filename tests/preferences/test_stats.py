"""Counts of preference data."""

from __future__ import annotations

from chatapp.core.types import Group, GroupReply, Turn
from chatapp.preferences.stats import Stats, stats

Q, R = (Turn("user", "q"),), (Turn("user", "r"),)


def replies(texts: str, thumb: int = 0) -> tuple[GroupReply, ...]:
    return tuple(GroupReply(text, thumb=thumb) for text in texts)  # type: ignore[arg-type]


def test_nothing() -> None:
    assert stats([]) == Stats(0, 0, 0, 0, 0, 0, 0, 0, 0)


def test_counts() -> None:
    counted = stats(
        [
            Group(Q, replies("abc"), ((0,), (1, 2))),  # a>b, a>c
            Group(Q, replies("cab"), ((0,), (1,))),  # c>a: the same replies again, and the other way round
            Group(R, replies("aa"), ((0,), (1,))),  # one text twice: no pair
            Group(R, replies("bc"), all_bad=True),
            Group(R, replies("xy"), demonstration=1),  # y>x
            Group(R, replies("x", 1)),
            Group(R, replies("y", -1)),  # x up and y down: the other way round
        ]
    )
    assert counted == Stats(
        rankings=4,
        pairs=2 + 1 + 1,
        demonstrations=1,
        thumbs=2,
        thumbs_up=1,
        all_bad=1,
        ties=1,
        duplicates=2,
        conflicts=2,
    )
