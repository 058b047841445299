"""Text of one lane does not depend on how the tokens cut it."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chatapp.core.sanitize import terminal_safe
from chatapp.engine.lane_text import LaneText


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


@given(st.text(), st.lists(st.integers(0, 200)))
def test_characters_come_whole_however_the_tokens_cut_them(text: str, cuts: list[int]) -> None:
    lane = LaneText()
    shown = [lane.feed(piece) for piece in pieces(text.encode(), cuts)]
    assert "".join(shown) + lane.finish() == text
    assert not any(
        "\N{REPLACEMENT CHARACTER}" in each for each in shown if "\N{REPLACEMENT CHARACTER}" not in text
    )


@given(
    st.text("a\r\nU:", max_size=40),
    st.lists(st.text("\r\nU:", min_size=1, max_size=3), max_size=2),
    st.lists(st.integers(0, 40)),
)
def test_what_is_shown_piece_by_piece_is_the_whole_made_safe(
    text: str, stop: list[str], cuts: list[int]
) -> None:
    lane = LaneText(stop)
    shown = [*(lane.feed(piece) for piece in pieces(text.encode(), cuts)), lane.finish()]
    assert "".join(map(terminal_safe, shown)) == terminal_safe("".join(shown))


@given(
    st.text("abU:\n ", max_size=40),
    st.lists(st.text("abU:\n ", min_size=1, max_size=5), max_size=3),
    st.lists(st.integers(0, 40)),
)
def test_ends_before_the_first_stop_string(text: str, stop: list[str], cuts: list[int]) -> None:
    lane = LaneText(stop)
    shown = ""
    for piece in pieces(text.encode(), cuts):
        shown += lane.feed(piece)
        if lane.stopped:
            break
    shown += lane.finish()
    if not lane.stopped:
        assert shown == text and not any(each in text for each in stop)
    else:
        assert text.startswith(shown) and not any(each in shown for each in stop)
        assert any(text[len(shown) :].startswith(each) for each in stop)


def test_holds_back_what_may_become_a_stop_string() -> None:
    lane = LaneText(["\nUser:"])
    assert lane.feed(b"fine\nUs") == "fine"
    assert lane.feed(b"eful") == "\nUseful"
    assert lane.feed(b"\nUser") == ""
    assert lane.feed(b": next") == ""
    assert lane.stopped and lane.finish() == ""


def test_a_text_that_is_there_already_is_gone_on_with() -> None:
    lane = LaneText(["\nUser:"])
    assert lane.begin("one\nUser: two\nUs") == "one\nUser: two"
    assert lane.feed(b"eful") == "\nUseful"
    lane = LaneText(["\nUser:"])
    assert lane.begin("one\nUs") == "one"
    assert lane.feed(b"er: two") == ""
    assert lane.stopped
    lane = LaneText()
    assert lane.begin("one\r") == "one"
    assert lane.feed(b"\ntwo") == "\r\ntwo"


def test_one_invalid_byte_does_not_hold_the_stream_back() -> None:
    lane = LaneText()
    assert lane.feed(b"a\xff") == "a\N{REPLACEMENT CHARACTER}"
    assert lane.feed(b"b") == "b"
    assert lane.feed("é".encode()[:1]) == ""
    assert lane.finish() == ""


@given(st.text(), st.characters(min_codepoint=0x80, exclude_categories=["Cs"]), st.integers(1, 3))
def test_a_character_that_the_end_cuts_is_left_out(text: str, last: str, bytes_of_it: int) -> None:
    lane = LaneText()
    begun = last.encode()[: min(bytes_of_it, len(last.encode()) - 1)]
    assert lane.feed(text.encode() + begun) + lane.finish() == text
