"""One line that a person writes."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text
from textual import events
from textual.widgets import Input

from chatapp.core.sanitize import terminal_safe
from chatapp.tui.keys import character_of


class Line(Input):
    """Draws its text terminal-safe; the text itself stays as it came."""

    @property
    def _value(self) -> Text:
        return Text(terminal_safe(self.value), no_wrap=True, overflow="ignore", end="")

    def when_typed(self, act: Callable[[str], object]) -> None:
        """Call `act` with the text once the keys pressed before this one are in it: one that is bound with
        priority overtakes them."""
        self.call_later(lambda: act(self.value.strip()))

    async def _on_key(self, event: events.Key) -> None:
        if not event.is_printable and (character := character_of(event)):
            event.prevent_default()
            event.stop()
            self.replace(character, *self.selection)
