"""What stands where a reply will be until its first word: who is at it, and for how long."""

from __future__ import annotations

import time

from rich.cells import cell_len
from textual.content import Content
from textual.widget import Widget

from chatapp.session.conversation_file import shown_name
from chatapp.tui.cells import cut
from chatapp.tui.widgets.heading import WIDEST_NAME


class Waiting(Widget):
    """`name` is the model's. Reading a long prompt, or loading the model, takes a slow machine its time."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES = {"waiting--name"}
    DEFAULT_CSS = """
    Waiting {
        height: 1;
        color: $secondary;
        text-wrap: nowrap;
        & > .waiting--name { color: $accent; text-style: bold; }
    }
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._model = cut(shown_name(name), WIDEST_NAME)
        self._since = time.monotonic()

    def on_mount(self) -> None:
        self.set_interval(1, self.refresh)

    def render(self) -> Content:
        seconds = int(time.monotonic() - self._since)
        name = Content.styled(self._model, self.get_visual_style("waiting--name", partial=True))
        right = f"… {seconds} s" if seconds else "…"
        gap = max(1, self.content_size.width - cell_len(name.plain) - cell_len(right))
        return Content.assemble(name, " " * gap, right)
