"""Ranking by keys: every order can be reached, nothing stands twice, Backspace is an exact inverse."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chatapp.core.errors import UsageError
from chatapp.preferences.keys import Ordering, ordinal

KEYS = st.lists(st.sampled_from([*"123456789", "=", "x", "<"]), max_size=25)


def press(ordering: Ordering, key: str) -> bool:
    if key == "=":
        return ordering.press_equals()
    if key == "x":
        return ordering.press_all_bad()
    if key == "<":
        return ordering.backspace()
    return ordering.press_digit(int(key))


def after(n: int, keys: str) -> Ordering:
    ordering = Ordering(n)
    for key in keys:
        press(ordering, key)
    return ordering


def seen(ordering: Ordering) -> tuple[object, ...]:
    places = tuple(ordering.place_of(number) for number in range(1, ordering.n + 1))
    return ordering.tiers(), ordering.complete, ordering.text, ordering.all_bad, ordering.started, places


@pytest.mark.parametrize(
    ("n", "keys", "tiers", "text"),
    [
        (4, "", (), "_"),
        (4, "2", ((2,),), "2 › _"),
        (4, "2=", ((2,),), "2 = _"),
        (4, "24=1", ((2,), (4, 1), (3,)), "2 › 4 = 1 › 3"),
        (4, "2413", ((2,), (4,), (1,), (3,)), "2 › 4 › 1 › 3"),
        (4, "2==", ((2,), (1, 3, 4)), "2 › 1 = 3 = 4"),
        (2, "==", ((1, 2),), "1 = 2"),
        (2, "=1", ((1,), (2,)), "1 › 2"),
        (4, "24x", (), "all bad"),
        (4, "24x<", ((2,), (4,)), "2 › 4 › _"),
        (4, "22999", ((2,),), "2 › _"),
        (1, "1", ((1,),), "1"),
        (4, "1=2=3", ((1, 2, 3), (4,)), "1 = 2 = 3 › 4"),
        (4, "1=2=3=", ((1, 2, 3),), "1 = 2 = 3 = _"),
        (4, "1=2=3=4", ((1, 2, 3, 4),), "1 = 2 = 3 = 4"),
        (4, "1=2=3==", ((1, 2, 3, 4),), "1 = 2 = 3 = 4"),
        (4, "1=2=3=<", ((1, 2, 3), (4,)), "1 = 2 = 3 › 4"),
        (3, "12=3", ((1,), (2, 3)), "1 › 2 = 3"),
        (2, "1=2", ((1, 2),), "1 = 2"),
    ],
)
def test_what_keys_say(n: int, keys: str, tiers: object, text: str) -> None:
    ordering = after(n, keys)
    assert ordering.tiers() == tiers
    assert ordering.text == text


def test_three_digits_rank_four_replies() -> None:
    ordering = after(4, "241")
    assert ordering.complete
    assert ordering.tiers([70, 80, 90, 100]) == ((80,), (100,), (70,), (90,))
    assert [ordering.place_of(number) for number in (1, 2, 3, 4)] == ["3rd", "1st", "4th", "2nd"]
    assert not after(4, "24").complete


@pytest.mark.parametrize(
    ("n", "keys", "number"),
    [
        (4, "241", 3),
        (2, "1", 2),
        (4, "2=4=1", 3),
        (4, "24", None),
        (4, "24==", None),
        (4, "24x", None),
        (4, "241x", None),
        (1, "1", None),
        (4, "241<", None),
    ],
)
def test_which_reply_placed_itself(n: int, keys: str, number: int | None) -> None:
    assert after(n, keys).placed_itself == number


@pytest.mark.parametrize(
    ("n", "keys", "there"),
    [(4, "1=2=3", True), (4, "31=2", True), (4, "1=23", False), (4, "1=2=3=4", False), (1, "==", False)],
)
def test_whether_the_last_may_belong_to_a_tie(n: int, keys: str, there: bool) -> None:
    assert after(n, keys).ends_in_tie == there


@given(n=st.integers(1, 9), keys=KEYS)
def test_no_reply_stands_twice_and_complete_means_all(n: int, keys: list[str]) -> None:
    ordering = Ordering(n)
    for key in keys:
        press(ordering, key)
        placed = [number for tier in ordering.tiers() for number in tier]
        assert len(placed) == len(set(placed))
        assert all(ordering.tiers())
        if ordering.complete:
            assert ordering.all_bad or sorted(placed) == list(range(1, n + 1))


@given(n=st.integers(1, 9), keys=KEYS)
def test_backspace_is_the_exact_inverse(n: int, keys: list[str]) -> None:
    ordering = Ordering(n)
    states = []
    for key in keys:
        if key == "<":
            continue
        before = seen(ordering)
        if press(ordering, key):
            states.append(before)
        else:
            assert seen(ordering) == before
    for before in reversed(states):
        assert ordering.backspace()
        assert seen(ordering) == before
    assert not ordering.backspace()


@given(st.data())
def test_every_order_can_be_keyed(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 6))
    numbers = data.draw(st.permutations(range(1, n + 1)))
    signs = data.draw(st.lists(st.sampled_from(">="), min_size=n - 1, max_size=n - 1))
    tiers: list[list[int]] = [[numbers[0]]]
    for sign, number in zip(signs, numbers[1:], strict=True):
        if sign == "=":
            tiers[-1].append(number)
        else:
            tiers.append([number])
    keys = "".join("=".join(str(number) for number in tier) for tier in tiers[:-1])
    keys += "==" if len(tiers[-1]) > 1 else ""
    ordering = after(n, keys)
    assert ordering.complete
    assert [sorted(tier) for tier in ordering.tiers()] == [sorted(tier) for tier in tiers]


def test_ordinals() -> None:
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st",
    ]  # fmt: skip


@pytest.mark.parametrize("n", [0, 10])
def test_only_one_to_nine(n: int) -> None:
    with pytest.raises(UsageError):
        Ordering(n)


@given(st.integers(1, 9), KEYS)
def test_an_order_can_be_made_of_its_tiers(n: int, keys: list[str]) -> None:
    pressed = after(n, "".join(keys))
    assume(not pressed.text.endswith("= _"))  # what the next digit would be tied with is no tier yet
    made = Ordering.of(n, pressed.tiers(), pressed.all_bad)
    assert (made.tiers(), made.all_bad, made.complete) == (pressed.tiers(), pressed.all_bad, pressed.complete)
    for _ in range(2 * n + 1):
        made.backspace()
    assert not made.tiers() and not made.started
