"""The chat's page: its parts, and how they are brought to what the store has."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from textual.app import ComposeResult
from textual.containers import Container, Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from chatapp.core.errors import ChatappError
from chatapp.core.sanitize import one_line
from chatapp.tui import snapshot
from chatapp.tui.session_thread import SessionThread
from chatapp.tui.snapshot import Snapshot
from chatapp.tui.widgets.composer import Composer
from chatapp.tui.widgets.keybar import KeyBar
from chatapp.tui.widgets.message import MessageView
from chatapp.tui.widgets.notice import Notice
from chatapp.tui.widgets.ranker import Ranker
from chatapp.tui.widgets.slash_menu import SlashMenu
from chatapp.tui.widgets.status import StatusBar
from chatapp.tui.widgets.surplus import SurplusDigit
from chatapp.tui.widgets.transcript import Transcript
from chatapp.tui.widgets.welcome import Welcome

if TYPE_CHECKING:
    from chatapp.engine.base import ModelInfo
    from chatapp.session.wiring import House
    from chatapp.tui.screens.edit import KeptLines
    from chatapp.tui.training_process import TrainingProcess


class ChatPage(Screen[None]):
    """What every part of the chat builds on; `chat.ChatScreen` is the whole of it."""

    AUTO_FOCUS = ""  # the first message would be selected, hidden as it may be

    def __init__(
        self,
        house: House,
        session: SessionThread,
        training: TrainingProcess,
        first_message: str | None = None,
        resume: int | Literal["last"] | None = None,
    ) -> None:
        super().__init__()
        self.house = house
        self.session = session
        self.training = training
        self.status = StatusBar()
        self.composer = Composer()
        self.writing = False
        self.ready = False
        """The conversation is on the screen and the model is loaded, or cannot be."""
        self.snapshot: Snapshot | None = None
        self._info: ModelInfo | None = None
        self._first_message = first_message
        self._resume = resume
        self._stopped = False
        self._for_now: str | None = None
        self._kept_lines: KeptLines = {}
        self._ranker: Ranker | None = None
        self._focused_before: Widget | None = None
        """When the terminal became too small."""
        self._showing = asyncio.Lock()
        self._idle = asyncio.Event()
        self._idle.set()

    def compose(self) -> ComposeResult:
        yield Static("chatapp needs at least 40 columns and 12 lines.", classes="too-small", markup=False)
        yield self.status
        with Container(id="page"):
            yield Transcript()
        with Container(id="above"):
            yield Notice()
            yield SlashMenu()
        with Container(id="prompt"), Horizontal(classes="line"):
            yield Static(">", classes="sign", markup=False)
            yield self.composer
        yield KeyBar()

    async def load(self) -> bool:
        """Load the model that was chosen; says in one line why it cannot be done."""
        status = self.status
        status.busy = "loading" if self._info is None else ""
        try:
            info = await self.session.prepare()
            if info != self._info and self.snapshot is not None:
                async with self._showing:
                    self.snapshot = await self.session.do(snapshot.take)
        except ChatappError as error:
            self.complain(error)
            return False
        finally:
            status.busy = ""
        if info != self._info:
            self._info = info
            status.model = model_line(info)
            if self.snapshot is not None:
                self._show_status(self.snapshot)
            if info.notice:
                self.say(info.notice)
        return True

    def on_resize(self) -> None:
        tiny = self.size.width < 40 or self.size.height < 12
        if tiny == self.has_class("-tiny"):
            return
        self.set_class(tiny, "-tiny")
        if tiny:
            self._focused_before = self.focused  # what is hidden loses the focus
        else:
            self.call_after_refresh(self._focus_again)

    def _focus_again(self) -> None:
        before = self._focused_before
        there = before is not None and before.is_attached and before.focusable
        self.set_focus(self.ranker or (before if there else self.composer), scroll_visible=False)

    @property
    def transcript(self) -> Transcript:
        return self.query_one(Transcript)

    @property
    def ranker(self) -> Ranker | None:
        return self._ranker

    @property
    def selected(self) -> MessageView | None:
        return self.focused if isinstance(self.focused, MessageView) else None

    def say(self, text: str | Content, error: bool = False) -> None:
        self.query_one(Notice).say(text, error)

    def say_for_now(self, text: str, error: bool = False) -> None:
        """Say what holds until the reply is complete or the prompt is another one."""
        self._for_now = text
        self.say(text, error)

    def say_no_more(self) -> None:
        """Take back what held for the time being."""
        if self._for_now is not None and self.query_one(Notice).said == self._for_now:
            self.say("")
        self._for_now = None

    def offer(self, text: str | Content, *offers: str, placed_itself: int | None = None) -> None:
        """Say what was done and let the next key take it back (`undo`) or say why (`tags`)."""
        notice = self.query_one(Notice)
        notice.walks = not self.composer.text and self.composer.versions > 1
        notice.say(text, offers=offers)
        notice.surplus = SurplusDigit(placed_itself)
        if self.ranker is None:
            notice.focus()

    def complain(self, error: ChatappError) -> None:
        self.say(f"{error}: {error.hint}", error=True)

    # What is shown

    async def show_path(self) -> None:
        """Bring the screen to what the store has."""
        async with self._showing:
            await self._show_path()

    async def _show_path(self) -> None:
        taken = await self.session.do(snapshot.take)
        if not self.query(Transcript):
            return  # the screen was taken down meanwhile
        self.snapshot = taken
        for welcome in self.query(Welcome):
            await welcome.remove()
        if not taken.items:
            await self.transcript.clear()
            await self.transcript.column.mount(Welcome(taken.first_run, taken.model == "guide"))
        else:
            await self.transcript.show(taken.items)
        self._show_status(taken)

    def _show_status(self, taken: Snapshot) -> None:
        status = self.status
        status.title = taken.conversation.title if taken.conversation else ""
        status.adapter = taken.adapter or ""
        status.used = taken.used
        replies = [each for each in taken.items if each.message.role == "assistant"]
        self.composer.versions = replies[-1].versions if replies else 1
        self.composer.selectable = bool(taken.items)
        self.composer.prompts = [each.message.text for each in taken.items if each.message.role == "user"]
        self.refresh_bindings()

    def show_training(self, summary: str) -> None:
        """How far a training beside the chat is; empty when none goes on."""
        self.status.training = summary

    def _set_writing(self, going_on: bool) -> None:
        self.writing = self.composer.waiting = going_on
        if going_on:
            self._stopped = False  # here: from now on Esc stops
            self._idle.clear()
        else:
            self._idle.set()
            if self.query(Notice):
                self.say_no_more()
        self.refresh_bindings()

    def select(self, view: MessageView | None) -> None:
        if view is not None and self.ranker is None:
            view.focus(scroll_visible=False)
            self.transcript.reveal(view)

    def to_prompt(self, character: str = "") -> None:
        if self.ranker is not None:
            self.ranker.focus()  # the prompt is hidden
            return
        self.composer.focus()
        if character:
            self.composer.insert(character)

    def action_scroll(self, pages: int) -> None:
        if pages < 0:
            # Else what streams in at this moment takes the view back to the end.
            self.transcript.release_anchor()
            self.transcript.scroll_page_up(animate=False)
        else:
            self.transcript.scroll_page_down(animate=False)


def model_line(info: ModelInfo) -> str:
    """Name, size and quantisation: `guide 9M Q8_0`."""
    parts = [one_line(info.name, 32)]
    if info.parameters:
        millions = info.parameters / 1e6
        parts.append(f"{millions / 1000:.1f}B" if millions >= 1000 else f"{millions:.0f}M")
        kind = one_line(info.description.split()[-1], 10) if info.description.split() else ""
        if kind and kind.lower() not in info.name.lower():
            parts.append(kind)
    return " ".join(parts)
