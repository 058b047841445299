"""Tables on a terminal."""

from __future__ import annotations

import sys

import pytest

from chatapp.cli.output import say_table


@pytest.mark.parametrize("width", [24, 30, 40, 80])
def test_what_stands_first_is_never_shortened(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    rows = [
        (1, "A title of many words", 2, "guide", "2026-11-21 15:48"),
        (1234, "x", 2, "guide", "2026-11-21"),
    ]
    say_table(("id", "title", "messages", "model", "changed"), rows)
    shown = capsys.readouterr().out
    assert "1234 " in shown and "1…" not in shown


@pytest.mark.parametrize("width", [80, 100])
def test_the_longest_text_is_shortened_before_the_name(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    verdict = "better: held-out rankings 71% (was 52%), wins 63% [55, 70] of 200 fresh prompts"
    row = (
        "* round-of-november",
        "dpo",
        "guide",
        "2026-11-21 15:48",
        "base",
        verdict,
        "12 of 19 against base",
    )
    say_table(("name", "method", "model", "trained", "from", "verdict", "your rankings"), [row])
    heading, line = capsys.readouterr().out.splitlines()
    assert len(line) <= width and "name" in heading
    for whole in (row[0], " dpo ", " guide ", " base "):
        assert whole in line
    assert " better" in line and "…" in line


def test_a_long_name_leaves_room_for_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    row = ("n" * 60, "1.2 GB", "llama", "Q4_K_M", "131072", "a note that says a good deal more than fits")
    say_table(("name", "size", "architecture", "type", "context", "note"), [row])
    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith("n" * 33) and " 1.2 GB" in line and " Q4_K_M" in line and " a note" in line
