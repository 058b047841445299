"""The first line: the conversation on the left, what answers and how full its context is on the right."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from chatapp.tui.cells import cut

_BAR = 5


class StatusBar(Widget):
    ALLOW_SELECT = False
    COMPONENT_CLASSES = {"status--name", "status--title"}
    DEFAULT_CSS = """
    StatusBar {
        dock: top;
        height: 1;
        padding: 0 1;
        color: $secondary;
        text-wrap: nowrap;
        & > .status--name { color: $accent; text-style: bold; }
        & > .status--title { color: $foreground; }
    }
    """

    title: reactive[str] = reactive("")
    model: reactive[str] = reactive("")
    adapter: reactive[str] = reactive("")
    used: reactive[float | None] = reactive(None)
    """Share of n_ctx that the conversation takes, from 0 to 1."""
    busy: reactive[str] = reactive("")
    """What is going on instead: `loading`."""
    training: reactive[str] = reactive("")
    """How far a training is that goes on beside the chat."""

    def render(self) -> Content:
        width = self.content_size.width
        name = Content.styled("chatapp", self.get_visual_style("status--name", partial=True))
        right = self._right(self.outer_size.width)
        room = width - cell_len(name.plain) - cell_len(right.plain) - 5
        title = cut(self.title, room) if room > 3 else ""
        left = Content.assemble(name, "   ", (title, self.get_visual_style("status--title", partial=True)))
        return Content.assemble(
            left, " " * max(1, width - cell_len(left.plain) - cell_len(right.plain)), right
        )

    def _right(self, width: int) -> Content:
        narrow = width < 100
        parts = [cut(self.model, 40 if not narrow else 16 if self.training else 24)]
        if self.adapter:
            short = width < 70 or (narrow and self.training)
            parts.append("▴" + cut(self.adapter, 10) if short else f"adapter {cut(self.adapter, 16)}")
        if self.training:
            parts.append(self.training)
        if self.busy:
            parts.append(self.busy)
        elif self.used is not None and not (self.training and narrow):
            share = min(max(self.used, 0.0), 1.0)
            full = round(share * _BAR)
            bar = "▰" * full + "▱" * (_BAR - full)
            parts.append(f"ctx {bar} {share:.0%}" if width >= 60 else f"ctx {share:.0%}")
        return Content(" · ".join(part for part in parts if part))
