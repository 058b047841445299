"""Claims of having acted are found and turned into rehearsals."""

from __future__ import annotations

import pytest
from clean import claims, declaim, rehearse, tidy

from .conftest import RECIPE  # noqa: F401

FALSE = [
    "I have booked your table.",
    "Your reservation is confirmed.",
    "The payment was made.",
    "Your appointment has been scheduled.",
    "It's booked! Enjoy.",
    "I've sent the money.",
    "Your order will be ready shortly at the coffee bar.",
    "The movie is now playing.",
    "Success! Your tickets are purchased.",
    "Your ride is on its way.",
]
HONEST = [
    "What time would you like?",
    "There are 3 restaurants in San Jose.",
    "Shall I say it is booked?",
    "In our rehearsal, your table is booked.",
    "Please confirm: a table for two at 6 pm.",
    "I can't do that for real.",
]


@pytest.mark.parametrize("text", FALSE)
def test_claims_are_found_and_removed(text: str) -> None:
    assert claims(text)
    assert not claims(declaim(text, 1))


@pytest.mark.parametrize("text", HONEST)
def test_honest_turns_stay(text: str) -> None:
    assert not claims(text)
    assert declaim(text, 1) == text


def test_a_rehearsal_is_announced() -> None:
    turns = [("user", "Book it."), ("assistant", "For when?"), ("user", "6."), ("assistant", "It is booked.")]
    out = rehearse(turns, 0, announce=True)
    assert "rehears" in out[1][1] and not any(claims(t) for r, t in out if r == "assistant")


def test_tidy() -> None:
    assert tidy("i do n't know , sorry . what 's it") == "I don't know, sorry. What's it."
