"""What to ask about next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.preferences.next import Candidate, disagreement, pick

SOME = [
    Candidate(1, ("yes it is", "yes it is")),
    Candidate(2, ("blue", "green")),
    Candidate(3, ("a b c", "a b d"), ranked=True),
    Candidate(4, ("one",)),
    Candidate(5, ("a b c", "a b d")),
]


def test_recent() -> None:
    assert [each.prompt for each in pick(SOME, "recent")] == [5, 4, 2, 1, 3]


def test_uncertain() -> None:
    for seed in range(5):
        order = [each.prompt for each in pick(SOME, "uncertain", seed)]
        assert order[:2] == [2, 5]
        assert sorted(order[2:4]) == [1, 4]
        assert order[4] == 3


def test_random_depends_on_the_seed_alone() -> None:
    orders = {tuple(each.prompt for each in pick(SOME, "random", seed)) for seed in range(30)}
    assert len(orders) > 5
    assert all(order[-1] == 3 for order in orders)
    assert pick(SOME, "random", 7) == pick(reversed(SOME), "random", 7)


@given(st.lists(st.text(alphabet="ab ", max_size=6), max_size=4))
def test_disagreement_is_a_share(texts: list[str]) -> None:
    assert 0 <= disagreement(texts) <= 1


def test_disagreement() -> None:
    assert disagreement(["Yes it is", "yes IT is"]) == 0
    assert disagreement(["blue", "green"]) == 1
    assert disagreement(["a b c", "a b d"]) == pytest.approx(0.5)
    assert disagreement(["one"]) == disagreement([]) == disagreement(["", ""]) == 0
