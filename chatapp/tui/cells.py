"""The width of text on a terminal, where a wide character takes two cells."""

from __future__ import annotations

from textual.content import Content

from chatapp.core.sanitize import one_line


def cut(text: str, cells: int) -> str:
    """`text` as one terminal-safe line of at most `cells` cells."""
    return Content(one_line(text, cells)).truncate(cells, ellipsis=True).plain
