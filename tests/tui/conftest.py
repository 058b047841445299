"""The real application on a real database in a temporary folder; only the engine is scripted."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from chatapp.core.paths import Paths
from chatapp.core.settings import Settings
from chatapp.core.types import Ranking
from chatapp.engine.scripted import Script, ScriptedEngine
from chatapp.session.wiring import House
from chatapp.store.database import Store, open_store
from chatapp.tui.app import ChatApp
from chatapp.tui.screens.chat import ChatScreen
from chatapp.tui.widgets.keybar import KeyBar
from chatapp.tui.widgets.lane import Lane
from chatapp.tui.widgets.ranker import Ranker

REPLIES = ("alpha one", "bravo two", "charlie three", "delta four", "echo five", "foxtrot six", "golf seven")


async def wait_until(pilot: Pilot[Any], reached: Callable[[], Any], seconds: float = 25) -> None:
    """Let the program run until `reached` is true."""
    async with asyncio.timeout(seconds):
        while not reached():
            await pilot.pause(0.01)


class Chat:
    """One running application and what a test asks of it."""

    def __init__(self, pilot: Pilot[Any], app: ChatApp, house: House, engine: ScriptedEngine) -> None:
        self.pilot = pilot
        self.app = app
        self.house = house
        self.engine = engine

    @property
    def screen(self) -> ChatScreen:
        return next(each for each in self.app.screen_stack if isinstance(each, ChatScreen))

    @property
    def ranker(self) -> Ranker:
        ranker = self.screen.ranker
        assert ranker is not None
        return ranker

    @property
    def store(self) -> Store:
        """A connection of the test's own on the same file."""
        return self._store

    def refuse(self, table: str) -> None:
        """From now on the database takes nothing new into `table`, as on a full disk."""
        with closing(sqlite3.connect(self.house.paths.database)) as database:
            for change in ("INSERT", "UPDATE"):
                database.execute(
                    f"CREATE TRIGGER refuse_{change} BEFORE {change} ON {table} "
                    "BEGIN SELECT RAISE(ABORT, 'it is full'); END"
                )

    def accept(self) -> None:
        """The database takes again what it refused."""
        with closing(sqlite3.connect(self.house.paths.database)) as database:
            for change in ("INSERT", "UPDATE"):
                database.execute(f"DROP TRIGGER refuse_{change}")

    async def until(self, reached: Callable[[], Any]) -> None:
        await wait_until(self.pilot, reached)

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
            await self.drained()

    def press_at_once(self, *keys: str) -> None:
        """Press keys with nothing between them, as they come from a fast typist or over a slow line."""
        for key in keys:
            self.app.post_message(events.Key(key, key if len(key) == 1 else None))

    async def drained(self) -> None:
        """What was pressed has gone its whole way: from the application to the focused widget and back."""
        inside = self.app.screen.focused or self.app.screen
        for node in (self.app, *inside.ancestors_with_self):
            passed = asyncio.Event()
            if node.is_running and node.call_later(passed.set):
                with suppress(TimeoutError):
                    await asyncio.wait_for(passed.wait(), 1)
        await self.pilot.pause()

    async def write(self, text: str) -> None:
        self.screen.composer.focus()
        self.screen.composer.insert(text)
        await self.pilot.pause()

    async def send(self, text: str) -> None:
        """Send a prompt and wait for the end of its reply."""
        before = len(self.screen.transcript.views)
        await self.write(text)
        await self.press("enter")
        await self.until(lambda: len(self.screen.transcript.views) >= before + 2 and not self.screen.writing)
        await self.until(lambda: not any(view.streaming for view in self.screen.transcript.views))
        await self.settled()

    async def begin(self, text: str) -> None:
        """Send the first prompt and wait for the first words of its reply."""
        await self.write(text)
        await self.press("enter")
        await self.until(lambda: len(self.texts()) == 2 and self.texts()[1])

    async def settled(self) -> None:
        """Nothing that was asked of the session is still going on."""
        await self.until(lambda: not self.screen.writing)
        # A line about a ranking that was left comes when the session is through, and moves what is above it.
        await self.until(lambda: not any(each.group == "kept" for each in self.app.workers))
        await self.pilot.pause()

    async def compare(self) -> None:
        """Ask for alternatives and wait for all of them."""
        await self.press("ctrl+r")
        await self.until(lambda: self.screen.ranker is not None and self.screen.ranker.all_there)
        await self.pilot.pause()

    async def ranked(self) -> None:
        await self.until(lambda: self.screen.ranker is None)
        await self.settled()

    async def rank(self, *keys: str) -> None:
        """Ask for alternatives, press these keys when all are there, and wait until the ranking is over."""
        await self.compare()
        await self.press(*keys)
        await self.ranked()

    async def one_unfinished(self) -> Lane:
        """Ask for alternatives; the one of many times `word`, while another one is complete already."""
        await self.press("ctrl+r")
        await self.until(
            lambda: (
                self.screen.ranker
                and any(lane.complete for lane in self.ranker.lanes)
                and any(lane.text.startswith("word") for lane in self.ranker.lanes)
            )
        )
        return next(lane for lane in self.ranker.lanes if lane.text.startswith("word"))

    def shown(self) -> str:
        """The text on the screen."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text.rstrip() for strip in lines)

    def lines(self) -> set[str]:
        """The lines on the screen, without margins."""
        return {line.strip(" ▌") for line in self.shown().splitlines()}

    def key_line(self) -> str:
        """The last line."""
        return self.app.screen.query_one(KeyBar).render().plain

    def texts(self) -> list[str]:
        return [view.text for view in self.screen.transcript.views]


def only_ranking(chat: Chat) -> Ranking:
    (ranking,) = chat.store.rankings.list()
    return ranking


Open = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_waiting_for_an_idle_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pilot waits until the process uses no processor time, which a streaming reply never lets happen; the
    tests wait for what they expect instead."""

    async def once(*_: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr("textual.pilot.wait_for_idle", once)
    monkeypatch.setattr("textual.app.wait_for_idle", once)


@pytest.fixture
def open_chat(tmp_path: Path) -> Open:
    """`async with open_chat(...) as chat`: the same folder for each call within one test."""

    @asynccontextmanager
    async def run(
        size: tuple[int, int] = (100, 30),
        script: Script = REPLIES,
        pace: float = 0,
        settings: Settings | None = None,
        **options: Any,
    ) -> AsyncIterator[Chat]:
        engine = ScriptedEngine(script, pace)
        paths = Paths(tmp_path / "config", tmp_path / "data", tmp_path / "state", tmp_path / "cache")
        house = House(paths, settings or Settings(), engine)
        app = ChatApp(house, **options)
        async with app.run_test(size=size) as pilot:
            chat = Chat(pilot, app, house, engine)
            if "rank" not in options:
                await chat.until(
                    lambda: (
                        any(isinstance(each, ChatScreen) for each in app.screen_stack) and chat.screen.ready
                    )
                )
            with open_store(paths.database) as store:
                chat._store = store
                yield chat
        house.close()

    return run
