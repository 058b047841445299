"""How `chatapp models pull` shows a download on standard error: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chatapp.cli.output import note
from chatapp.core.duration import time_left
from chatapp.core.size import bytes_in_words
from chatapp.library.download import Listener

_LINES = 10
"""About so many lines for a download where no bar can be drawn."""


@contextmanager
def shown_download() -> Iterator[Listener]:
    """What hears of each piece that came."""
    if not sys.stderr.isatty():
        yield lines()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        BarColumn(bar_width=30),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task: TaskID | None = None

        def listen(done: int, total: int) -> None:
            nonlocal task
            if task is None:
                # What is there already counts for the bar and not for the speed.
                task = bar.add_task("", total=total, completed=done)
            bar.update(task, completed=done)

        yield listen


def lines(clock: Callable[[], float] = time.monotonic) -> Listener:
    """A plain line for each tenth, with the time left."""
    begun: tuple[float, int] | None = None
    told = 0

    def listen(done: int, total: int) -> None:
        nonlocal begun, told
        if begun is None:
            begun, told = (clock(), done), done * _LINES // max(total, 1)
            if done:
                note(f"{bytes_in_words(done)} of {bytes_in_words(total)} are here already")
            return
        tenth = done * _LINES // max(total, 1)
        if tenth <= told:
            return
        told = tenth
        seconds, came = clock() - begun[0], done - begun[1]
        left = f", {time_left(seconds * (total - done) / max(came, 1))}" if done < total else ""
        note(f"{bytes_in_words(done)} of {bytes_in_words(total)}{left}")

    return listen
