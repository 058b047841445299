"""What the reward model says in the chat, with the embedded model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from chatapp.core.paths import Paths
from chatapp.core.settings import Settings
from chatapp.core.types import Sampling
from chatapp.engine.scripted import ScriptedEngine
from chatapp.session.rank_queue import RankRequest
from chatapp.session.wiring import House
from chatapp.store.database import open_store
from chatapp.tui.app import ChatApp
from chatapp.tui.screens.chat import ChatScreen
from chatapp.tui.screens.rank import RankScreen
from chatapp.tui.widgets.ranker import Ranker
from tests.session.guide_adapters import guide_sha256, register
from tests.session.guide_rewards import write_reward

from .conftest import Chat


@asynccontextmanager
async def real_chat(folder: Path, reward: bool, rank: RankRequest | None = None) -> AsyncIterator[Chat]:
    """The embedded model with an adapter in use, which has a reward model or not."""
    paths = Paths(folder / "config", folder / "data", folder / "state", folder / "cache")
    settings = Settings(threads=1, rival=False, sampling=Sampling(seed=5, max_tokens=24))
    with House(paths, settings) as house:
        if not house.store().adapters.list():
            register(house, "r1")
        house.store().adapters.choose(guide_sha256(), "r1", "use")
        if reward:
            write_reward(paths.adapters / "r1" / "reward.gguf")
        app = ChatApp(house, rank=rank)
        async with app.run_test(size=(100, 30)) as pilot:
            chat = Chat(pilot, app, house, ScriptedEngine())
            await chat.until(
                lambda: (
                    isinstance(app.screen, RankScreen)
                    or (any(isinstance(each, ChatScreen) for each in app.screen_stack) and chat.screen.ready)
                )
            )
            with open_store(paths.database) as store:
                chat._store = store
                yield chat


async def test_a_ranking_is_followed_by_what_the_reward_model_says(tmp_path: Path) -> None:
    async with real_chat(tmp_path, reward=True) as chat:
        await chat.send("What can you do?")
        await chat.compare()
        lanes = chat.ranker.lanes
        # It likes many tokens; the shortest text first is the opposite.
        shortest = sorted(lanes, key=lambda lane: len(lane.text))
        await chat.press(*(str(lane.number) for lane in shortest[:-1]))
        await chat.ranked()
        await chat.until(lambda: f"of {len(lanes) * (len(lanes) - 1) // 2} pairs" in chat.shown())
        assert "saved as ranking 1   reward model agrees with " in chat.shown()
        await chat.press("u")
        await chat.until(lambda: "Taken back: the ranking." in chat.shown())


async def test_a_ranking_session_ends_with_what_the_reward_model_says(tmp_path: Path) -> None:
    async with real_chat(tmp_path, reward=True) as chat:
        await chat.send("What can you do?")
    async with real_chat(tmp_path, reward=True, rank=RankRequest(k=3, pick="recent")) as chat:
        screen = chat.app.screen
        await chat.until(lambda: any(each.all_there for each in screen.query(Ranker)))
        lanes = len(screen.query_one(Ranker).lanes)
        await chat.press("2", "1")
        await chat.until(lambda: "1 ranked, 0 left for later, of 1." in chat.shown())
        await chat.until(lambda: f"of the {lanes * (lanes - 1) // 2} pairs that you ordered" in chat.shown())


async def test_best_of_several(tmp_path: Path) -> None:
    async with real_chat(tmp_path, reward=True) as chat:
        await chat.write("/best")
        await chat.press("enter")
        await chat.until(lambda: "There is no prompt yet to answer." in chat.shown())
        await chat.send("What can you do?")
        await chat.write("/best 3")
        await chat.press("enter")
        await chat.until(lambda: "by the reward model of r1: " in chat.shown())
        family = chat.store.conversations.children(1, 1)
        assert len(family) > 2
        best = chat.texts()[-1]
        assert [each.text for each in family if each.active] == [best]
        assert len(best) >= max(len(each.text) for each in family[1:]) * 0.6
        await chat.write("/best 40")
        await chat.press("enter")
        await chat.until(lambda: "from 2 to 9" in chat.shown())


async def test_without_a_reward_model_nothing_is_said_and_best_says_to_train(tmp_path: Path) -> None:
    async with real_chat(tmp_path, reward=False) as chat:
        await chat.send("What can you do?")
        await chat.write("/best")
        await chat.press("enter")
        await chat.until(lambda: "the adapter in use has no reward model: train first" in chat.shown())
        await chat.rank("x")
        await chat.until(lambda: "saved as ranking 1   u undo" in chat.shown())
        await chat.send("Fine.")
        assert "reward model agrees" not in chat.shown()
