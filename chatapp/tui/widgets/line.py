"""One line that a person writes."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text
from textual.widgets import Input

from chatapp.core.sanitize import terminal_safe


class Line(Input):
    """Draws its text terminal-safe; the text itself stays as it came."""

    @property
    def _value(self) -> Text:
        return Text(terminal_safe(self.value), no_wrap=True, overflow="ignore", end="")

    def when_typed(self, act: Callable[[str], object]) -> None:
        """Call `act` with the text once the keys pressed before this one are in it: one that is bound with
        priority overtakes them."""
        self.call_later(lambda: act(self.value.strip()))
