"""Several replies to one message, put in order by digits from best to worst, while they are still filling."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message as Event

from chatapp.core.errors import ChatappError
from chatapp.core.types import Message, Ranking, Turn
from chatapp.preferences.keys import Ordering
from chatapp.session.updates import Began, Finished, Removed, Replaced, Text, Update
from chatapp.tui.session_thread import SessionThread, joined
from chatapp.tui.widgets.lane import Lane
from chatapp.tui.widgets.lane_box import LaneBox
from chatapp.tui.widgets.order_line import OrderLine
from chatapp.tui.widgets.question import Question


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a ranker was left. `order` is by the numbers on the screen: `2 › 4 › 1 › 3`, or `all bad`."""

    ranking: Ranking | None = None
    order: str = ""
    placed_itself: int | None = None
    """The number on the screen of the last reply, where no digit placed it."""
    skipped: bool = False
    error: ChatappError | None = None


class Ranker(Vertical, can_focus=True):
    """Shows `kept` replies to `prompt` beside `more` new ones, shuffled; has the session write those.

    `before` is what the model is told before the prompt.
    """

    class Closed(Event):
        def __init__(self, outcome: Outcome) -> None:
            super().__init__()
            self.outcome = outcome

    class Writing(Event):
        """Whether replies are still being written changed."""

        def __init__(self, going_on: bool) -> None:
            super().__init__()
            self.going_on = going_on

    BINDINGS = [
        *(Binding(str(n), f"digit({n})", "best") for n in range(1, 10)),
        *(Binding(str(n), f"edit_this({n})", "edit") for n in range(1, 10)),
        Binding("equals_sign", "tie", "tie", key_display="="),
        Binding("x", "all_bad", "all bad"),
        Binding("e", "edit", "edit"),
        Binding("backspace", "back", "undo", key_display="⌫"),
        Binding("enter", "commit", "done", key_display="Enter"),
        Binding("s", "skip", "later"),
        Binding("escape", "leave", "later", key_display="Esc"),
        Binding("escape", "cancel", "cancel", key_display="Esc"),
        Binding("backspace", "cancel", "cancel", key_display="⌫"),
        Binding("up", "open(-1)", "open", key_display="↑"),
        Binding("down", "open(1)", "open", key_display="↓"),
        Binding("pagedown", "scroll(1)", "more", key_display="PgDn"),
        Binding("pageup", "scroll(-1)", "back", key_display="PgUp"),
        Binding("p", "prompt", "prompt"),
    ]

    def __init__(
        self,
        session: SessionThread,
        prompt: Message,
        kept: Sequence[Message],
        more: int,
        before: Sequence[Turn] = (),
        shuffle: Callable[[list[Any]], None] = random.shuffle,
    ) -> None:
        super().__init__()
        self._session = session
        self.prompt = prompt
        self._more = more
        self._before = before
        self._question = Question(prompt.text)
        self._box = LaneBox(kept, more, shuffle)
        self.ordering = Ordering(len(self.lanes))
        self.writing = False
        self._asked = 0.0
        """When the new replies were asked for."""
        self._written = asyncio.Event()
        self._editing = False
        """Whether the next digit says which reply is edited."""
        self._not_yet: Lane | None = None
        """The reply that was asked for then and is still being written."""
        self._complete_since: float | None = None
        self._correcting = False
        """Whether a reply is being edited: the ranking does not end meanwhile."""
        self._left = False
        self._kept: set[int] = set()
        """Replies that the session was told to keep."""
        self._problem: ChatappError | None = None
        self._line = OrderLine()

    def compose(self) -> ComposeResult:
        yield self._question
        yield self._box
        yield self._line

    def on_mount(self) -> None:
        self._show_order()
        self.set_interval(1, self._tick)
        self.fill()

    @property
    def lanes(self) -> list[Lane]:
        """In the order on the screen."""
        return self._box.lanes

    @property
    def all_there(self) -> bool:
        """Whether every reply is complete."""
        return self._complete_since is not None

    @property
    def untouched(self) -> bool:
        """Whether nothing is placed and no reply is or was being edited."""
        return not (self.ordering.started or self._editing or any(lane.held for lane in self.lanes))

    # The replies

    @work(group="ranker")
    async def fill(self) -> None:
        """Sample the new replies and show them as they come."""
        try:
            if self._more:
                self._set_writing(True)
                await self._session.prepare()
                keep = [lane.reply for lane in self.lanes if lane.reply is not None]
                prompt = self.prompt.id
                async for batch in self._session.stream(
                    lambda session: session.alternatives(prompt, self._more, keep=keep)
                ):
                    for update in joined(batch):
                        if not self.is_attached:
                            return
                        await self._take(update)
                    await self._box.pace()
        except ChatappError as error:
            self._problem = error
        finally:
            self._set_writing(False)
            self._written.set()
        if self.is_attached and not self._left:
            await self._settle()

    async def _take(self, update: Update) -> None:
        match update:
            case Began(lane=n) | Text(lane=n) | Finished(lane=n) | Replaced(lane=n) | Removed(lane=n) if (
                self._box.sampled[n].held
            ):
                return
            case Replaced(_, number):
                self._unplace(self._box.sampled[number])
            case Removed(_, number):
                await self._remove([self._box.sampled[number]])
        await self._box.take(update)
        if isinstance(update, Began | Finished):
            self._show_order()
            self._keep_placed()

    async def _settle(self) -> None:
        """Everything has come: the clock of the ranking starts."""
        await self._only_whole()
        self._complete_since = time.monotonic()
        await self._go_on()

    async def _go_on(self) -> None:
        """Show the order, and end the ranking where nothing is left to say."""
        self._show_order()
        if self.writing or self._correcting:
            return
        if self.all_there and len(self.lanes) < 2:
            nothing = ChatappError("no different reply came", "ask again, or raise alternatives_temperature")
            self._close(Outcome(error=self._problem or nothing))
        elif self.ordering.complete and not self.ordering.ends_in_tie:
            await self.action_commit()

    async def _only_whole(self) -> None:
        """Nothing more comes: kept replies are shown whole, what has not come is taken out."""
        await self._box.show_kept()
        await self._remove([lane for lane in self.lanes if not lane.complete])

    async def _remove(self, gone: Sequence[Lane]) -> None:
        if not gone:
            return
        tiers = self._placed()
        await self._box.take_out(gone)
        if self.lanes:
            self._replay(tiers, self.ordering.all_bad)

    @property
    def _reading(self) -> bool:
        """Whether no new reply has begun."""
        return self.writing and all(lane.reply is None for lane in self._box.sampled)

    def _tick(self) -> None:
        if self._reading:
            self._show_order()

    def _set_writing(self, going_on: bool) -> None:
        if self.writing != going_on:
            self.writing = going_on
            if going_on:
                self._asked = time.monotonic()
                self._show_order()
            self.post_message(self.Writing(going_on))

    # The order

    def _placed(self) -> list[list[Lane]]:
        return [[self.lanes[number - 1] for number in tier] for tier in self.ordering.tiers()]

    def _replay(self, tiers: Sequence[Sequence[Lane]], all_bad: bool = False) -> None:
        """Place these lanes anew, those that are gone left out."""
        there = [[lane.number for lane in tier if lane in self.lanes] for tier in tiers]
        self.ordering = Ordering.of(len(self.lanes), [tier for tier in there if tier], all_bad)
        self._show_order()

    def _unplace(self, lane: Lane) -> None:
        tiers = [[each for each in tier if each is not lane] for tier in self._placed()]
        self._replay(tiers, self.ordering.all_bad)

    def _keep_placed(self) -> None:
        """A reply that was read and placed is not written again for being much like another."""
        placed = {each for tier in self.ordering.tiers() for each in tier} - {self.ordering.placed_itself}
        for lane in self.lanes:
            if not (self.writing and lane.complete and lane.number in placed) or lane.reply is None:
                continue
            if lane.reply not in self._kept:
                self._kept.add(lane.reply)
                self._keep(lane.reply)

    @work(group="keep", exit_on_error=False)
    async def _keep(self, reply: int) -> None:
        await self._session.do(lambda session: session.keep(reply))

    def _show_order(self) -> None:
        if not self.is_attached:
            return  # it was left meanwhile
        for lane in self.lanes:
            lane.place = self.ordering.place_of(lane.number)
            lane.title()
        if self._editing:
            not_yet = self._not_yet.number if self._not_yet and not self._not_yet.complete else None
            self._line.show_editing(len(self.lanes), not_yet, self._problem)
        else:
            reading = time.monotonic() - self._asked if self._reading else None
            self._line.show_order(self.ordering, self.writing, reading, self._problem)
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[Any, ...]) -> bool | None:
        free = not (self._editing or self._correcting or self._left)
        match action:
            case "digit":
                return free and parameters[0] <= len(self.lanes) and not self.ordering.complete
            case "edit_this":
                return self._editing and parameters[0] <= len(self.lanes)
            case "cancel":
                return self._editing
            case "tie" | "skip" | "all_bad" | "edit" | "leave":
                return free
            case "back" | "commit":
                return free and self.ordering.started
            case "open":
                return self._box.folds
            case "scroll":
                return self._box.turns(parameters[0])
            case "prompt":
                return self._question.cut or bool(self._before)
        return True

    async def action_digit(self, number: int) -> None:
        if self.lanes[number - 1].reply is not None:
            # A reply may be placed while it is being written; nothing is committed before it is complete.
            self.ordering.press_digit(number)
            self._keep_placed()
            await self._go_on()

    def action_edit_this(self, number: int) -> None:
        lane = self.lanes[number - 1]
        if lane.complete and lane.reply is not None:
            self._correcting = lane.held = True
            self.action_cancel()
            self.edit(lane, lane.reply)
        else:
            self._not_yet = lane
            self._show_order()

    async def action_tie(self) -> None:
        self.ordering.press_equals()
        await self._go_on()

    async def action_all_bad(self) -> None:
        self.ordering.press_all_bad()
        await self._go_on()

    def action_back(self) -> None:
        self.ordering.backspace()
        self._show_order()

    def action_edit(self) -> None:
        self._editing = True
        self._show_order()

    def action_cancel(self) -> None:
        """Edit none of them."""
        self._editing, self._not_yet = False, None
        self._show_order()

    @work(group="edit")
    async def edit(self, lane: Lane, old: int) -> None:
        """Let the person write what this reply should have said; the corrected one is the best."""
        try:
            await self._correct(lane, old)
        except ChatappError as error:
            self._problem = error
        finally:
            self._correcting = False
        await self._go_on()

    async def _correct(self, lane: Lane, old: int) -> None:
        from chatapp.tui.screens.edit import EditScreen

        def keep() -> asyncio.Task[None]:
            return asyncio.create_task(self._session.do(lambda session: session.keep(old)))

        keeping = keep()
        title, about = "What it should have said", "Saved as a demonstration, placed first."
        written = None
        while True:
            text = await self.app.push_screen_wait(EditScreen(title, lane.text, about, written=written))
            if text is None or text.strip() == lane.text.strip():
                self._correcting = False  # the keys of the ranking count again at once
                await keeping
                return
            try:
                await keeping
                new = await self._demonstrate(text, old)
                break
            except ChatappError as error:  # what was written is there to be saved again
                written, about = text, f"Not saved: {error}"
                keeping = keep()
        await lane.finish(new.id, new.text)
        rest = [[each for each in tier if each is not lane] for tier in self._placed()]
        self._replay([[lane], *rest])

    async def _demonstrate(self, text: str, old: int) -> Message:
        prompt = self.prompt.id
        return await self._session.do(lambda session: session.demonstrate(prompt, text, (old,)))

    # Leaving

    async def action_commit(self) -> None:
        """Store the order so far; replies that are still being written are stopped and stay unplaced."""
        if self._left or not self.ordering.started:
            return
        self._left = True
        if self.writing:
            self._session.cancel()
            await self._written.wait()  # a reply can be ranked once it is sealed
        await self._only_whole()
        ordered = self.ordering.started and len(self.lanes) > 1
        if not ordered and not self.ordering.all_bad:
            self.post_message(self.Closed(Outcome(skipped=True)))  # what was placed did not come
            return
        shown = [lane.reply for lane in self.lanes if lane.reply is not None]
        tiers = self.ordering.tiers(shown)
        all_bad, prompt = self.ordering.all_bad, self.prompt.id
        since = self._complete_since
        took = round((time.monotonic() - since) * 1000) if since is not None else None
        try:
            ranking = await self._session.do(
                lambda session: session.rank(prompt, shown, tiers, all_bad, (), took)
            )
        except ChatappError as error:
            self.post_message(self.Closed(Outcome(error=error)))
            return
        order, placed_itself = self.ordering.text.removesuffix(" › _"), self.ordering.placed_itself
        self.post_message(self.Closed(Outcome(ranking, order, placed_itself)))

    def action_skip(self) -> None:
        self._close(Outcome(skipped=True))

    def action_leave(self) -> None:
        self._close(Outcome())

    def _close(self, outcome: Outcome) -> None:
        if not self._left:
            self._left = True
            if self.writing:
                self._session.cancel()
            self.post_message(self.Closed(outcome))

    def on_resize(self) -> None:
        self._question.fit()

    @on(Question.Fitted)
    def _fitted(self) -> None:
        self.refresh_bindings()

    def action_prompt(self) -> None:
        from chatapp.tui.screens.prompt import PromptScreen

        self.app.push_screen(PromptScreen(self._before, self._question.whole))

    def action_scroll(self, pages: int) -> None:
        self._box.turn(pages)

    def action_open(self, step: int) -> None:
        self._box.open(step)

    @on(Lane.Chosen)
    async def _clicked(self, event: Lane.Chosen) -> None:
        event.stop()
        meaning = "edit_this" if self._editing else "digit"
        await self.run_action(f"{meaning}({event.lane.number})")
