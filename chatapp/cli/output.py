"""How commands write: terminal-safe text, JSON, and tables that are plain lines where no terminal is."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from chatapp.core.errors import FileError
from chatapp.core.sanitize import one_line, terminal_safe

_NARROW = 60
"""Cells of a terminal below which columns stand one cell apart."""
_READABLE = 10
"""Cells of a column that has been shortened and still says something."""


def say(text: str, end: str = "\n") -> None:
    """Write text that may come from anywhere to standard output."""
    _write(terminal_safe(text) + end)


def note(text: str) -> None:
    """Write one line for the person at the terminal to standard error."""
    if sys.stderr is not None:
        sys.stderr.write(one_line(text, 1000) + "\n")
        sys.stderr.flush()


def say_json(value: Any, indent: int | None = 2) -> None:
    """Write JSON. Everything outside ASCII is escaped, so nothing in it can steer a terminal."""
    _write(json.dumps(value, indent=indent) + "\n")


def say_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write rows: aligned under their columns on a terminal, separated by tabs elsewhere."""
    cells = [[one_line(str(cell), 500) for cell in row] for row in rows]
    if sys.stdout is None or not sys.stdout.isatty():
        _write("".join("\t".join(row) + "\n" for row in cells))
        return
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    gap = 2 if console.width >= _NARROW else 1
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    natural = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    widths = _fitting(natural, console.width - gap * len(columns))
    for column, width in zip(columns, widths, strict=True):
        wraps = column in ("title", "text")
        table.add_column(Text(column), overflow="ellipsis", no_wrap=not wraps, width=width)
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _fitting(widths: list[int], room: int) -> list[int]:
    """Column widths that take at most `room`. What stands first is what the other commands take: the widest
    of the others are shortened, and before they are hardly to be read the first, to half at most."""
    widths = list(widths)
    least = min(widths[0], room // 2)
    while sum(widths) > room:
        at = max(range(1, len(widths)), key=widths.__getitem__, default=0)
        if widths[0] > least and (widths[at] <= _READABLE or not at):
            at = 0
        if widths[at] <= 1:
            break
        widths[at] -= 1
    return widths


def _write(text: str) -> None:
    """Errors: `FileError` where standard output is closed."""
    if sys.stdout is None:
        raise FileError("standard output is closed", "leave it open, or send it to /dev/null")
    sys.stdout.write(text)
    sys.stdout.flush()


def moment(seconds: float) -> str:
    """A time in the user's own zone."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def iso(seconds: float) -> str:
    """A time as JSON has it: ISO 8601 with the zone."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
