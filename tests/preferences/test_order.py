"""The written form of a ranking."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.core.errors import UsageError
from chatapp.core.types import Tiers
from chatapp.preferences.order import format_order, parse_order


@pytest.mark.parametrize(
    ("text", "tiers"),
    [
        ("7", ((7,),)),
        ("3>1=2>4", ((3,), (1, 2), (4,))),
        (" 3 › 1 = 2 >4 ", ((3,), (1, 2), (4,))),
        ("1=2", ((1, 2),)),
    ],
)
def test_reads(text: str, tiers: Tiers) -> None:
    assert parse_order(text) == tiers


@pytest.mark.parametrize(
    ("text", "position", "what"),
    [
        ("", 1, "an id, found the end"),
        (">1", 1, "an id, found '>'"),
        ("1>", 3, "an id, found the end"),
        ("1>>2", 3, "an id, found '>'"),
        ("1 2", 3, "> or =, found 2"),
        ("3>1=3", 5, "3 stands twice"),
        ("1>b", 3, "an id, found 'b'"),
        ("1x", 2, "> or =, found 'x'"),
        ("1>-2", 3, "an id, found '-'"),
        ("1>" + "9" * 40, 3, "an id"),
        ("٣>1", 1, "an id"),
    ],
)
def test_names_the_position(text: str, position: int, what: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_order(text)
    assert f"at position {position} " in str(error.value)
    assert what in str(error.value)


@given(st.lists(st.lists(st.integers(0, 10**9), min_size=1, max_size=4), min_size=1, max_size=5))
def test_round_trip(lists: list[list[int]]) -> None:
    ids = [id for tier in lists for id in tier]
    tiers = tuple(tuple(tier) for tier in lists)
    if len(set(ids)) == len(ids):
        assert parse_order(format_order(tiers)) == tiers


@given(st.text(alphabet="0123>=› x", max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        tiers = parse_order(text)
    except UsageError:
        return
    assert parse_order(format_order(tiers)) == tiers
