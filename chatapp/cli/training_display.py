"""How `chatapp train` shows its progress on standard error: bars on a terminal, lines elsewhere.

`chatapp eval` has lines everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chatapp.cli.output import note
from chatapp.core.duration import time_left
from chatapp.core.sanitize import one_line
from chatapp.training.progress import Listener, Progress, title_of

_SHOWN = ("loss", "reward", "kl", "accuracy")
_LINES = 4
"""About so many lines for a stage where no bar can be drawn."""


@contextmanager
def bars() -> Iterator[Listener]:
    """One line for each stage with its bar, the time left and its figures; notes above them."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}", markup=False),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    with Bars(*columns, console=Console(stderr=True)) as shown:
        tasks: dict[str, TaskID] = {}
        now = ""

        def listen(event: Progress) -> None:
            nonlocal now
            title = title_of(event.stage)
            if not event.steps:
                shown.console.print(Text(one_line(_said(event), 400)))
                return
            begins_anew = event.stage in tasks and (event.step == 1 or now != event.stage)
            if event.stage not in tasks or begins_anew:
                tasks[event.stage] = shown.add_task(f"{title:<18}", total=event.steps, left="", figures="")
            now = event.stage
            shown.update(
                tasks[event.stage],
                completed=event.step,
                left="" if event.step == event.steps else time_left(event.seconds_left),
                figures=_figures(event),
            )

        yield listen


def lines() -> Listener:
    """A few plain lines for each stage."""

    def listen(event: Progress) -> None:
        if not event.steps:
            note(_said(event))
        elif event.step == event.steps or event.step % max(1, event.steps // _LINES) == 0:
            title = title_of(event.stage)
            parts = [f"{title}: step {event.step} of {event.steps}", _figures(event)]
            if event.step < event.steps:
                parts.append(time_left(event.seconds_left))
            note(", ".join(each for each in parts if each))

    return listen


def _said(event: Progress) -> str:
    """A note; those of the plan are sentences of their own."""
    title = title_of(event.stage)
    return event.note if event.stage in ("plan", "begin") else f"{title}: {event.note}"


def _figures(event: Progress) -> str:
    return " ".join(f"{name} {event.metrics[name]:.2f}" for name in _SHOWN if name in event.metrics)
