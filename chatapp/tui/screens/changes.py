"""Replies of before and after a training to the same prompts, side by side: people judge by reading."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from chatapp.core.errors import ChatappError
from chatapp.core.sanitize import one_line, terminal_safe
from chatapp.core.types import Turn
from chatapp.session.comparison import prompts_to_compare
from chatapp.session.updates import Rehearsed
from chatapp.tui.session_thread import SessionThread
from chatapp.tui.widgets.keybar import KeyBar
from chatapp.tui.widgets.notice import Notice
from chatapp.tui.widgets.status import StatusBar

if TYPE_CHECKING:
    from chatapp.engine.base import AdapterSpec
    from chatapp.session.session import Session
    from chatapp.session.updates import Update
    from chatapp.session.wiring import House


class ChangesScreen(Screen[None]):
    """`adapter` beside what it was trained from. Nothing of it is stored."""

    AUTO_FOCUS = ""

    BINDINGS = [
        Binding("escape", "leave", "back", key_display="Esc"),
        Binding("up", "scroll(-1)", "scroll", key_display="↑"),
        Binding("down", "scroll(1)", "scroll", key_display="↓"),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("pagedown", "scroll(10)", show=False),
    ]

    def __init__(self, house: House, session: SessionThread, adapter: str) -> None:
        super().__init__()
        self.house = house
        self.session = session
        self._adapter = adapter
        self._texts: dict[tuple[int, int], str] = {}
        self._writing = False
        """Whether what the session writes now is for this screen."""

    def compose(self) -> ComposeResult:
        yield StatusBar()
        yield VerticalScroll(id="page", can_focus=False)
        yield Notice()
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one(StatusBar).title = f"What {self._adapter} changed"
        self.read()

    @work
    async def read(self) -> None:
        """Sample the replies and show them as they come."""
        notice = self.query_one(Notice)
        try:
            names, adapters, prompts = await self.session.do(self._sides)
            if not prompts:
                notice.say("There is no stored prompt to compare replies to yet.")
                return
            await self._lay_out(names, prompts)

            def rehearse(session: Session) -> Iterator[Update]:
                self._writing = True  # a reply of the chat that was written until now is not this screen's
                return session.rehearse(prompts, adapters)

            async for batch in self.session.stream(rehearse):
                self._take([each for each in batch if isinstance(each, Rehearsed)])
        except ChatappError as error:
            notice.say(f"{error}: {error.hint}", error=True)
        finally:
            self._writing = False

    def _sides(self, session: Session) -> tuple[list[str], list[AdapterSpec | None], list[list[Turn]]]:
        adapters = session.store.adapters
        before = adapters.before(adapters.get(self._adapter))
        names = [before.name if before else "base", self._adapter]
        return names, [self.house.adapter(name, session.spec) for name in names], prompts_to_compare(session)

    async def _lay_out(self, names: list[str], prompts: list[list[Turn]]) -> None:
        page = self.query_one("#page")
        for place, turns in enumerate(prompts):
            asked = next(turn.text for turn in reversed(turns) if turn.role == "user")
            await page.mount(
                Static(Content(terminal_safe(asked)), classes="prompt"),
                Horizontal(
                    *(Static(_headed(name, "…"), id=f"reply-{place}-{at}") for at, name in enumerate(names)),
                    classes="sides",
                ),
            )
        self._names = names

    def _take(self, pieces: list[Rehearsed]) -> None:
        for key in dict.fromkeys((each.prompt, each.adapter) for each in pieces):
            text = "".join(each.delta for each in pieces if (each.prompt, each.adapter) == key)
            self._texts[key] = self._texts.get(key, "") + text
            place, at = key
            self.query_one(f"#reply-{place}-{at}", Static).update(_headed(self._names[at], self._texts[key]))

    def action_scroll(self, lines: int) -> None:
        self.query_one("#page").scroll_relative(y=lines, animate=False)

    def action_leave(self) -> None:
        if self._writing:
            self.session.cancel()
        self.dismiss(None)


def _headed(name: str, text: str) -> Content:
    return Content.assemble((one_line(name, 20), "$accent"), "\n", terminal_safe(text.strip()))
