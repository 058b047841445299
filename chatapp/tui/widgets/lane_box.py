"""The lanes of a ranking: shuffled and numbered, filled as their replies come, given room on the screen."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container

from chatapp.core.types import Message
from chatapp.session.updates import Began, Finished, Replaced, Text, Update
from chatapp.tui.widgets.lane import Lane, LaneText
from chatapp.tui.widgets.lanes import columns, row_height, side_by_side, stacked_heights


class LaneBox(Container):
    """`kept` replies beside `more` that are still to be written."""

    def __init__(
        self, kept: Sequence[Message], more: int, shuffle: Callable[[list[Any]], None] = random.shuffle
    ) -> None:
        super().__init__(id="lanes")
        self.sampled = [Lane() for _ in range(more)]
        """By the number that the session gives them, not in the order on the screen."""
        self.lanes = [Lane(each.id, each.text, each.finish_reason) for each in kept] + self.sampled
        shuffle(self.lanes)
        self._number()
        self.stacked = False
        """One of them is open, the others are folded; else they stand side by side."""
        self._open = 0
        self._offset = 0
        """First line shown of lanes that stand side by side."""

    def compose(self) -> ComposeResult:
        yield from self.lanes

    def _number(self) -> None:
        for number, lane in enumerate(self.lanes, start=1):
            lane.number = number

    # Filling

    async def take(self, update: Update) -> None:
        """Show what came."""
        match update:
            case Began(reply, number):
                self.sampled[number].reply = reply.id
            case Text(_, number, delta):
                await self.sampled[number].write(delta)
            case Finished(reply, number):
                await self.sampled[number].finish(reply.id, reply.text, reply.finish_reason)
            case Replaced(_, number):
                await self.sampled[number].restart()

    async def pace(self) -> None:
        """Kept replies fill with the others, so that nothing shows which one was there before."""
        lengths = [len(lane.text) for lane in self.sampled if not lane.complete]
        whole = [len(lane.text) for lane in self.sampled if lane.complete]
        reached = min(lengths) if lengths else max(whole, default=0)
        for lane in self.lanes:
            if lane.kept is not None and not lane.complete and lane.reply is not None:
                await lane.keep_pace(reached)
                if len(lane.text) == len(lane.kept):
                    await lane.finish(lane.reply, lane.kept, lane.ended)

    async def show_kept(self) -> None:
        """Kept replies are shown whole."""
        for lane in self.lanes:
            if lane.kept is not None and not lane.complete and lane.reply is not None:
                await lane.finish(lane.reply, lane.kept, lane.ended)

    async def take_out(self, gone: Sequence[Lane]) -> None:
        """The others are numbered anew."""
        self.lanes = [lane for lane in self.lanes if lane not in gone]
        self._number()
        await self.remove_children(list(gone))
        self.fit()

    # Room on the screen

    def on_resize(self, _: events.Resize) -> None:
        self.call_after_refresh(self.fit)

    @on(LaneText.Grew)
    def fit(self) -> None:
        """Give every lane the height that its text needs, as far as there is room."""
        available = self.size.height
        if not self.is_attached or not self.lanes or not available:
            return
        lines = [lane.text_height for lane in self.lanes]
        self._open = min(self._open, len(self.lanes) - 1)
        self.stacked = not side_by_side(self.app.size.width, self.size.width, available, len(self.lanes))
        self.set_class(self.stacked, "-stacked")
        if self.stacked:
            heights = stacked_heights(lines, available, self._open)
        else:
            across = columns(self.size.width, len(self.lanes))
            self.styles.grid_size_columns = across
            heights = [row_height(lines, available, -(-len(self.lanes) // across))] * len(self.lanes)
        self.styles.scrollbar_size_vertical = int(self.stacked and sum(heights) > available)
        for at, (lane, height) in enumerate(zip(self.lanes, heights, strict=True)):
            lane.styles.height = height
            lane.stacked = self.stacked
            lane.set_class(self.stacked and at == self._open, "-open")
        self.call_after_refresh(self._fitted)

    @on(Lane.Fitted)
    def _fitted(self) -> None:
        if not self.is_attached or not self.lanes:
            return
        if self.stacked:
            self.scroll_to_widget(self.lanes[self._open], animate=False)
        self._follow()  # their ends may have come nearer
        self._mark_rest()

    def _mark_rest(self) -> None:
        if self.is_attached:
            for lane in self.lanes:
                lane.mark_rest()
            self.screen.refresh_bindings()

    @on(Lane.Wheel)
    def _wheel(self, event: Lane.Wheel) -> None:
        event.stop()
        self._scroll(event.lane, event.lines)

    def turn(self, pages: int) -> None:
        """Scroll by about a page: all of them, or the open one."""
        lane = self.lanes[min(self._open, len(self.lanes) - 1)]
        self._scroll(lane, pages * max(1, lane.scrollable_content_region.height - 1))

    def turns(self, pages: int) -> bool:
        """Whether there is anything to see there."""
        lanes = self.lanes[self._open : self._open + 1] if self.stacked else self.lanes
        return any(lane.below if pages > 0 else lane.above for lane in lanes)

    def _scroll(self, lane: Lane, lines: int) -> None:
        if self.stacked:
            lane.scroll_to(y=min(max(0, lane.above + lines), lane.end), animate=False, immediate=True)
        else:
            end = max(each.end for each in self.lanes)
            self._offset = max(0, min(min(self._offset, end) + lines, end))
            self._follow()
        self.call_after_refresh(self._mark_rest)

    def _follow(self) -> None:
        """Side by side they stand at one line, the shorter ones at their end; in a stack each for itself."""
        for lane in self.lanes:
            at = min(lane.above if self.stacked else self._offset, lane.end)
            if lane.above != at:
                lane.scroll_to(y=at, animate=False)

    @property
    def folds(self) -> bool:
        """Whether there is more text than one sees, and another lane to open."""
        return self.stacked and any(lane.above or lane.below for lane in self.lanes)

    def open(self, step: int) -> None:
        """Unfold the one below (1) or above (-1) the open one."""
        self._open = (self._open + step) % len(self.lanes)
        self.fit()
