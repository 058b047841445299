"""How imports of conversations and rankings show how far they are: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chatapp.core.duration import time_left

_SOON = 1.0
"""Seconds within which most imports are done: there is nothing to show of those."""


@contextmanager
def shown_import(
    as_json: bool, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int, int], None]]:
    """What hears how much is done, and of how much."""
    if as_json or sys.stderr is None or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (BarColumn(bar_width=30), TaskProgressColumn(), TextColumn("{task.fields[left]}"))
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", left="")
    begun = clock()

    def listen(done: int, total: int) -> None:
        if (seconds := clock() - begun) < _SOON:
            return
        bar.start()
        left = time_left(seconds * (total - done) / max(done, 1))
        bar.update(task, completed=done, total=total, left=left)

    try:
        yield listen
    finally:
        bar.stop()
