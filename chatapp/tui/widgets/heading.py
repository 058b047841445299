"""The line above a message: who wrote it on the left; version, rank, thumb, adapter and time on the right."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.message import Message as Event
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from chatapp.core.sanitize import one_line
from chatapp.preferences.keys import ordinal
from chatapp.session.conversation_file import author
from chatapp.tui.cells import cut
from chatapp.tui.snapshot import Item

WIDEST_NAME = 28
"""Cells."""
_THUMBS = {1: "+1", -1: "−1"}


def clock(created: float, now: datetime | None = None) -> str:
    """`14:02` for today, `12 Nov 14:02` for this year, `12 Nov 2025` before that; local time."""
    then = datetime.fromtimestamp(created, tz=UTC).astimezone()
    today = now or datetime.now(tz=UTC).astimezone()
    if then.date() == today.date():
        return f"{then:%H:%M}"
    return f"{then.day} {then:%b %H:%M}" if then.year == today.year else f"{then.day} {then:%b %Y}"


class Heading(Widget):
    """Shows an `Item`; `speed` is tokens per second while the reply is being written, 0 before the first."""

    class Walk(Event):
        """A click on one of the arrows beside the version number."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    ALLOW_SELECT = False
    COMPONENT_CLASSES = {"heading--name", "heading--own", "heading--mark"}
    DEFAULT_CSS = """
    Heading {
        height: 1;
        color: $secondary;
        text-wrap: nowrap;
        & > .heading--name { color: $accent; text-style: bold; }
        & > .heading--own { color: $secondary; text-style: bold; }
        & > .heading--mark { color: $accent; }
    }
    """

    item: reactive[Item | None] = reactive(None)
    speed: reactive[float | None] = reactive(None)

    def __init__(self, item: Item) -> None:
        super().__init__()
        self.set_reactive(Heading.item, item)

    def render(self) -> Content:
        item = self.item
        if item is None:
            return Content()
        message = item.message
        own = message.role != "assistant"
        name = Content.styled(
            cut(author(message), WIDEST_NAME), self._style("heading--own" if own else "heading--name")
        )
        if message.origin == "edit":
            name += Content("  as you would say it" if self.size.width > 60 else "  edited")
        elif message.origin == "import":
            name += Content("  imported")
        right = Content("   ").join(self._marks(item))
        gap = max(1, self.content_size.width - cell_len(name.plain) - cell_len(right.plain))
        return Content.assemble(name, " " * gap, right)

    def _style(self, name: str) -> Style:
        return self.get_visual_style(name, partial=True)

    def _marks(self, item: Item) -> list[Content]:
        mark = self._style("heading--mark")
        marks: list[Content] = []
        if item.versions > 1:
            marks.append(
                Content.assemble(
                    Content("◂ ").stylize(Style.from_meta({"walk": -1})),
                    f"{item.place}/{item.versions}",
                    Content(" ▸").stylize(Style.from_meta({"walk": 1})),
                )
            )
        if item.rank is not None:
            marks.append(Content.styled(ordinal(item.rank), mark if item.rank == 1 else ""))
        if item.elsewhere:
            marks.append(Content(item.branches))
        if item.thumb:
            marks.append(Content.styled(_THUMBS[item.thumb], mark if item.thumb > 0 else "$error"))
        if item.message.provenance is not None and item.message.provenance.adapter:
            marks.append(Content("▴" + one_line(item.message.provenance.adapter, 16)))
        if self.speed is not None:
            marks.append(Content(f"{self.speed:,.0f} tok/s" if self.speed else "…"))
        elif item.message.created:
            marks.append(Content(clock(item.message.created)))
        return marks

    def on_click(self, event: events.Click) -> None:
        if step := event.style.meta.get("walk"):
            event.stop()
            self.post_message(self.Walk(step))
