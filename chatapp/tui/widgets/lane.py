"""One reply among those that are ranked: a numbered box that does not say where the reply came from."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message as Event
from textual.widgets import Static

from chatapp.tui.widgets.markdown import ReplyMarkdown
from chatapp.tui.widgets.message import ENDINGS


class LaneText(ReplyMarkdown):
    class Grew(Event):
        """Its height changed."""

    def on_resize(self) -> None:
        self.post_message(self.Grew())


class Ending(Static):
    """Under a reply that did not end by itself, as in the conversation."""

    def on_resize(self) -> None:
        self.post_message(LaneText.Grew())


class Lane(VerticalScroll, can_focus=False):
    """`number` is what the person presses. A kept reply is held back and shown at the pace of the others."""

    class Chosen(Event):
        """A click, which is the same as its digit."""

        def __init__(self, lane: Lane) -> None:
            super().__init__()
            self.lane = lane

    class Fitted(Event):
        """It stands on the screen with the height that it was given."""

    class Wheel(Event):
        """The mouse wheel asks for what is `lines` further down."""

        def __init__(self, lane: Lane, lines: int) -> None:
            super().__init__()
            self.lane = lane
            self.lines = lines

    def __init__(self, reply: int | None = None, kept: str | None = None, ended: str | None = None) -> None:
        super().__init__()
        self.reply = reply
        """Id of the reply in the store; None until it has begun."""
        self.kept = kept
        self.ended = ended
        """Why it ended there, a `finish_reason`."""
        self.number = 0
        self.text = ""
        """What is shown, raw."""
        self.complete = False
        self.held = False
        """Whether it stays as it is, whatever else is sampled for it: it is edited, or was."""
        self.place: str | None = None
        self.stacked = False
        """Whether it is one of a stack, which has an upper border only."""
        self._rest = ""
        self.body = LaneText()
        self._ending = Ending(markup=False)
        self.can_click = True

    def compose(self) -> ComposeResult:
        yield self.body
        yield self._ending

    def on_mount(self) -> None:
        self.title()

    def on_resize(self) -> None:
        self.post_message(self.Fitted())

    def title(self) -> None:
        """Draw number and place into the border, in a stack also what is not on the screen."""
        place = f"  {self.place}" if self.place else ""
        waiting = "" if self.complete else "  …"
        rest = f"   {self._rest}" if self._rest and self.stacked else ""
        self.border_title = Content(f"{self.number}{place}{waiting}{rest}")
        self.set_class(self.place == "1st", "-first")
        self.set_class(self.place is not None, "-placed")

    @property
    def text_height(self) -> int:
        """Height of the text, and of what is said of its end."""
        ending = self._ending.size.height + 1 if self._ending.display else 0
        return max(0, self.body.size.height - 1 + ending)

    async def write(self, delta: str) -> None:
        self.text += delta
        await self.body.write(delta)

    async def restart(self) -> None:
        """The reply was thrown away and another one follows."""
        self.text = ""
        self.complete = False
        self._ending.display = False
        await self.body.settle("")
        self.title()

    async def finish(self, reply: int, text: str, ended: str | None = None) -> None:
        self.reply, self.text, self.complete, self.ended = reply, text, True, ended
        await self.body.settle(text)
        ending = ENDINGS.get(ended or "")
        self._ending.update(ending or "")
        self._ending.display = ending is not None
        self.title()

    async def keep_pace(self, characters: int) -> None:
        """Show a kept reply up to the end of the word at `characters`."""
        if self.kept is None or self.complete or characters <= len(self.text):
            return
        end = self.kept.find(" ", characters) + 1 or len(self.kept)
        await self.write(self.kept[len(self.text) : end])

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.mark_rest()

    @property
    def above(self) -> int:
        """Lines of the text that are above those on the screen."""
        return round(self.scroll_y)

    @property
    def below(self) -> int:
        """Lines of the text that are below those on the screen."""
        return max(0, self.end - self.above)

    @property
    def end(self) -> int:
        """First line on the screen when the last one is."""
        return max(0, self.text_height - self.scrollable_content_region.height)

    def mark_rest(self) -> None:
        """Say how much there is above and below: in the lower border, or in the title, where that is all the
        border there is."""
        above = f"↑ {self.above}" if self.above else ""
        below = f"↓ {self.below} more" if self.below else ""
        self._rest = "  ".join(filter(None, (above, below)))
        self.border_subtitle = "" if self.stacked else self._rest
        self.title()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, 1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, -1)

    def _wheel(self, event: events.MouseEvent, direction: int) -> None:
        event.stop()
        event.prevent_default()
        self.post_message(self.Wheel(self, direction * round(self.app.scroll_sensitivity_y)))

    def on_click(self, event: events.Click) -> None:
        event.stop()
        if "@click" not in event.style.meta and not self.screen.selections:  # a link, or text that was marked
            self.post_message(self.Chosen(self))
