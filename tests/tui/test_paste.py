"""What stands between the marks of a bracketed paste is text, however it comes from the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from textual import events
from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from chatapp.core.paths import find_paths
from chatapp.core.settings import Settings
from chatapp.session.wiring import House
from chatapp.tui.app import ChatApp
from chatapp.tui.driver import TerminalDriver
from chatapp.tui.paste import WholePasteParser

SEQUENCES = [
    "\x1b",
    "\x1b[31m",
    "\x1b[A",
    "\x1b[I",
    "\x1b[0m",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1bOP",
    "[200~",
    "[201",
]
TEXT = st.lists(
    st.one_of(st.sampled_from([*SEQUENCES, "\r", "\n", "~", "\t"]), st.text(max_size=5)), max_size=20
).map("".join)
PASTED = TEXT.filter(lambda text: BRACKETED_PASTE_END not in text + BRACKETED_PASTE_END[:-1])


def chunks(text: str, cuts: Sequence[int]) -> list[str]:
    """`text` cut at these places, as far as it is that long."""
    at = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    return [text[start:end] for start, end in pairwise(at)]


def read(parser: XTermParser, parts: Sequence[str]) -> list[Message]:
    return [message for part in parts for message in parser.feed(part)]


def named(messages: Sequence[Message]) -> list[str]:
    """What they are, to compare two parsers with each other."""
    return [repr(message) for message in messages]


@given(PASTED, st.lists(st.integers(0, 150)))
@example("one\rtwo \x1b[31mred\x1b[0m\rthree\rfour\r", [9, 12])
@example("\x1b" * 40, [])
@example("", [3])
def test_a_paste_is_one_event_with_its_text(text: str, cuts: list[int]) -> None:
    parser = WholePasteParser()
    stream = f"a{BRACKETED_PASTE_START}{text}{BRACKETED_PASTE_END}\rb"
    [before, paste, enter, after] = read(parser, chunks(stream, cuts))
    assert isinstance(paste, events.Paste) and paste.text == text.replace("\0", "")
    assert [each.key for each in (before, enter, after) if isinstance(each, events.Key)] == [
        "a",
        "enter",
        "b",
    ]


@given(TEXT.filter(lambda text: BRACKETED_PASTE_START not in text), st.lists(st.integers(0, 100)))
def test_outside_of_a_paste_nothing_differs_from_textual(text: str, cuts: list[int]) -> None:
    parts = chunks(text + "x", cuts)
    assert named(read(WholePasteParser(), parts)) == named(read(XTermParser(), parts))


def test_an_escape_before_the_mark_of_a_paste_is_a_key_of_its_own() -> None:
    for parser in (WholePasteParser(), XTermParser()):
        keys = read(parser, ["\x1b"])
        parser._timeout_time = 0  # the time in which the rest of a sequence would have come is over
        keys += [*parser.tick(), *read(parser, ["[200~\r"])]
        assert [each.key for each in keys if isinstance(each, events.Key)][:2] == [
            "escape",
            "left_square_bracket",
        ]
        assert keys[-1].key == "enter"


@given(PASTED)
def test_the_end_of_what_is_read_ends_a_paste_without_a_word(text: str) -> None:
    parser = WholePasteParser()
    assert read(parser, [BRACKETED_PASTE_START + text + "x", ""]) == []


def test_the_terminal_is_driven_by_our_driver(tmp_path: Path) -> None:
    with House(find_paths({"CHATAPP_HOME": str(tmp_path)}), Settings()) as house:
        driver = ChatApp(house).driver_class
    assert driver is TerminalDriver
    assert "run_input_thread" in vars(LinuxDriver), "Textual reads the keyboard elsewhere: see TerminalDriver"
