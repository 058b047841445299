"""The line under replies that are being put in order: the order so far, and what is waited for."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from chatapp.core.errors import ChatappError
from chatapp.core.sanitize import terminal_safe
from chatapp.preferences.keys import Ordering


class OrderLine(Static):
    def __init__(self) -> None:
        super().__init__(classes="order")

    def show_editing(self, count: int, not_yet: int | None, problem: ChatappError | None) -> None:
        """Which of `count` replies is to be edited. `not_yet`: asked for, and still being written."""
        line = Content.assemble(("Edit which one?  ", "bold"), f"1-{count}")
        if not_yet is not None:
            line += Content(f"   {not_yet} is still being written")
        self._show(line, problem)

    def show_order(
        self, ordering: Ordering, writing: bool, reading: float | None, problem: ChatappError | None
    ) -> None:
        """`writing`: whether replies are still written; `reading`: for how many seconds the prompt is read,
        where none has begun."""
        line = Content.assemble("Best first:  ", (ordering.text, "bold $accent"))
        if reading is not None:
            seconds = int(reading)
            line += Content("   reading the prompt" + (f", {seconds} s" if seconds else ""))
        elif writing:
            line += Content("   waiting for the last one" if ordering.complete else "   still writing")
        elif ordering.ends_in_tie:
            line += Content("   = ties the last one too")
        self._show(line, problem)

    def _show(self, line: Content, problem: ChatappError | None) -> None:
        if problem is not None:
            line += Content.styled("\n" + terminal_safe(f"{problem}: {problem.hint}"), "$error")
        self.update(line)
