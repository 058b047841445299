"""How commands write: terminal-safe text, JSON, and tables that are plain lines where no terminal is."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from chatapp.core.errors import FileError
from chatapp.core.sanitize import one_line, terminal_safe


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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    # What stands first is what the other commands take, so the others are shortened before it.
    first = min(max((len(row[0]) for row in cells), default=0), console.width // 2)
    for at, column in enumerate(columns):
        wraps = column in ("title", "text")
        width = 0 if at else first
        table.add_column(Text(column), overflow="ellipsis", no_wrap=not wraps, min_width=width)
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


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
