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
