"""The conversation: the last messages of the active path, earlier ones as the reader scrolls up."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.geometry import Offset

from chatapp.tui.snapshot import Item
from chatapp.tui.widgets.message import MessageView
from chatapp.tui.widgets.waiting import Waiting

_MOUNTED = 60
"""Messages that are drawn at first, and how many more come each time the top is reached."""


class Transcript(VerticalScroll, can_focus=False):
    """Stays at the bottom while it grows, unless the reader has scrolled up."""

    def __init__(self) -> None:
        super().__init__()
        self._items: tuple[Item, ...] = ()
        self._first = 0
        self._growing = False

    def compose(self) -> ComposeResult:
        # At least as high as the view: an anchored view would push a short conversation to the bottom.
        self.column = Vertical(id="column")
        yield self.column

    def on_mount(self) -> None:
        self.anchor()

    @property
    def views(self) -> list[MessageView]:
        """The mounted messages, top down."""
        return [each for each in self.column.children if isinstance(each, MessageView)]

    def view_of(self, message: int) -> MessageView | None:
        return next((view for view in self.views if view.message.id == message), None)

    @property
    def last_reply(self) -> MessageView | None:
        return next((view for view in reversed(self.views) if view.message.role == "assistant"), None)

    async def show(self, items: Sequence[Item]) -> None:
        """Show this path; messages that stay keep their widgets, so what is the same is not drawn again."""
        views = self.views
        self._items = tuple(items)
        start = max(0, len(items) - _MOUNTED)
        if views and (at := _index(items, views[0].message.id)) is not None:
            start = at
        same = 0
        for view, item in zip(views, items[start:], strict=False):
            if view.message.id != item.message.id:
                break
            if not view.streaming:
                view.show(item)
            same += 1
        self._first = start
        if views[same:]:
            await self.column.remove_children(views[same:])
        if new := [MessageView(item) for item in items[start + same :]]:
            await self.column.mount_all(new)

    async def add(self, view: MessageView, instead: int | None = None) -> None:
        """Mount one more message at the end, or `instead` of this one and what follows it."""
        at = None if instead is None else _index(self._items, instead)
        if at is not None:
            gone = {each.message.id for each in self._items[at:]}
            await self.column.remove_children([each for each in self.views if each.message.id in gone])
        self._items = (*self._items[:at], view.item)
        await self.column.mount(view)

    async def wait(self, name: str) -> Waiting:
        """Mount what stands at the end until the first word of a reply."""
        waiting = Waiting(name)
        await self.column.mount(waiting)
        return waiting

    async def clear(self) -> None:
        self._items, self._first = (), 0
        await self.column.remove_children("MessageView, Waiting")

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if new_value < 4 and old_value > new_value and self._first > 0 and not self._growing:
            self._growing = True
            self.call_after_refresh(self._grow)

    async def _grow(self) -> None:
        """Put earlier messages above, and keep what is being read where it is."""
        start = max(0, self._first - _MOUNTED)
        earlier = [MessageView(item) for item in self._items[start : self._first]]
        self._first = start
        before = self.virtual_size.height
        at = self.scroll_y

        def stay() -> None:
            self.scroll_to(y=at + self.virtual_size.height - before, animate=False, immediate=True)
            self._growing = False

        with self.app.batch_update():
            await self.column.mount_all(earlier, before=0)
            self.call_after_refresh(stay)

    async def reach(self, message: int) -> MessageView | None:
        """The view of a message of this path, which may be above those that are drawn."""
        at = _index(self._items, message)
        if at is not None and at < self._first:
            earlier = [MessageView(item) for item in self._items[at : self._first]]
            self._first = at
            await self.column.mount_all(earlier, before=0)
        return self.view_of(message)

    def step(self, view: MessageView, by: int) -> MessageView | None:
        """The message above (-1) or below (1) `view`."""
        views = self.views
        at = views.index(view) + by
        return views[at] if 0 <= at < len(views) else None

    def reveal(self, view: MessageView) -> None:
        """Scroll as little as it takes to see the start of `view`."""
        region = view.virtual_region
        top = self.scroll_offset.y
        if region.y < top or region.bottom > top + self.scrollable_content_region.height:
            self.release_anchor()
            target = Offset(
                0, region.y if region.height >= self.size.height else region.bottom - self.size.height
            )
            self.scroll_to(y=region.y if region.y < top else target.y, animate=False)


def _index(items: Sequence[Item], message: int) -> int | None:
    return next((at for at, item in enumerate(items) if item.message.id == message), None)
