"""Wins of one adapter over another, in words and as a share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.core.types import Wins
from chatapp.preferences.wins import in_words, share

COUNTS = st.integers(0, 200)


@pytest.mark.parametrize(
    ("wins", "words"),
    [
        (Wins(14, 6, 0), "beats r2 in 14 of 20"),
        (Wins(6, 12, 2), "loses to r2 in 12 of 20, 2 tied"),
        (Wins(3, 3, 1), "beats r2 in 3 of 7, 1 tied"),
        (Wins(0, 0, 0), ""),
    ],
)
def test_in_words(wins: Wins, words: str) -> None:
    assert in_words(wins, "r2") == words


def test_the_interval_is_wilsons() -> None:
    """Against the worked value for 14 of 20: 0.7 (0.481, 0.855)."""
    assert share(Wins(14, 6, 0)) == pytest.approx((0.7, 0.4810, 0.8545), abs=1e-4)
    assert share(Wins(0, 0, 0)) is None


@given(COUNTS, COUNTS, COUNTS)
def test_a_share_lies_in_its_interval_and_turns_with_the_sides(a: int, b: int, ties: int) -> None:
    own, other = share(Wins(a, b, ties)), share(Wins(b, a, ties))
    if own is None or other is None:
        assert a + b + ties == 0
        return
    assert -1e-9 <= own[1] <= own[0] + 1e-9 and own[0] - 1e-9 <= own[2] <= 1 + 1e-9
    assert own == pytest.approx((1 - other[0], 1 - other[2], 1 - other[1]))
