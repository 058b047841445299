"""The prompt above the replies that are ranked: whole where there is room, else its beginning and its end."""

from __future__ import annotations

from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from chatapp.core.sanitize import terminal_safe

_SHARE = 8
"""It takes one line in so many of the screen."""


class Question(Static):
    class Fitted(Message):
        """`cut` may have changed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.whole = Content(terminal_safe(text))
        self.cut = False
        """Whether lines are left out."""

    def on_mount(self) -> None:
        self.fit()

    def on_resize(self) -> None:
        self.fit()

    def fit(self) -> None:
        """Show as much as the screen has room for."""
        screen = self.app.size
        self.set_class(screen.height < 2 * _SHARE, "-tight")
        width = self.content_size.width or screen.width
        lines = self.whole.wrap(width)
        shown = excerpt(lines, max(1, screen.height // _SHARE), width)
        self.cut = shown is not lines
        self.update(Content("\n").join(shown))
        self.post_message(self.Fitted())


def excerpt(lines: list[Content], room: int, width: int) -> list[Content]:
    """At most `room` of these lines, of `width` cells; where some are left out, one says how many."""
    if len(lines) <= room:
        return lines
    if room == 1:
        mark = _mark(len(lines) - 1)
        return [lines[0].truncate(max(1, width - mark.cell_length - 1)) + Content(" ") + mark]
    tail = lines[-1:] if room > 2 else []
    head = lines[: room - 1 - len(tail)]
    return [*head, _mark(len(lines) - len(head) - len(tail)), *tail]


def _mark(left_out: int) -> Content:
    lines = "1 more line" if left_out == 1 else f"{left_out} more lines"
    return Content.styled(f"… {lines}, p shows all", "$secondary")
