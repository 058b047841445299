"""Text from outside cannot steer the terminal."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chatapp.core.sanitize import one_line, terminal_safe

BIDIRECTIONAL = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b]52;c;cm0gLXJmIC8=\x07",
        "\x1b]8;;http://example.org\x1b\\click\x1b]8;;\x1b\\",
        "\x1b[2J\x1b[H",
        "\x9b31m",
        "\u202egnp.exe",
        "\x00\x08\x7f",
        "a\rb",
    ],
)
def test_no_control_character_is_left(hostile: str) -> None:
    safe = terminal_safe(hostile)
    assert not [c for c in safe if unicodedata.category(c) == "Cc" and c not in "\n\t"]
    assert not set(safe) & set(BIDIRECTIONAL)


def test_an_escape_is_shown_not_hidden() -> None:
    assert terminal_safe("\x1b[31mred") == "\N{SYMBOL FOR ESCAPE}[31mred"


@given(st.text())
def test_every_text_becomes_safe_and_encodable(text: str) -> None:
    safe = terminal_safe(text)
    safe.encode("utf-8")
    assert not [c for c in safe if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]
    assert terminal_safe(safe) == safe


@given(st.text(st.characters() | st.sampled_from("\r\n")), st.integers(0, 50))
def test_a_stream_can_be_made_safe_chunk_by_chunk(text: str, at: int) -> None:
    assume(text[at - 1 : at + 1] != "\r\n")
    assert terminal_safe(text[:at]) + terminal_safe(text[at:]) == terminal_safe(text)


def test_ordinary_text_is_left_alone() -> None:
    text = "Grüße, 世界 👩‍💻\n\tcode = [1, 2]  # [/red] stays\n"
    assert terminal_safe(text) == text


@given(st.text(), st.integers(2, 40))
def test_one_line_is_one_short_line(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert "\n" not in line
    assert len(line) <= limit
