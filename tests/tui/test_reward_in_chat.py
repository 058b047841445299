"""What the reward model says in the chat, with the embedded model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from chatapp.core.paths import Paths
from chatapp.core.settings import Settings
from chatapp.core.types import Sampling
from chatapp.engine.scripted import ScriptedEngine
from chatapp.session.wiring import House
from chatapp.store.database import open_store
from chatapp.tui.app import ChatApp
from chatapp.tui.screens.chat import ChatScreen
from tests.session.guide_adapters import guide_sha256, register
from tests.session.guide_rewards import write_reward

from .conftest import Chat


@asynccontextmanager
async def real_chat(folder: Path, reward: bool) -> AsyncIterator[Chat]:
    """The embedded model with an adapter in use, which has a reward model or not."""
    paths = Paths(folder / "config", folder / "data", folder / "state", folder / "cache")
    settings = Settings(threads=1, rival=False, sampling=Sampling(seed=5, max_tokens=24))
    with House(paths, settings) as house:
        register(house, "r1")
        house.store().adapters.choose(guide_sha256(), "r1", "use")
        if reward:
            write_reward(paths.adapters / "r1" / "reward.gguf")
        app = ChatApp(house)
        async with app.run_test(size=(100, 30)) as pilot:
            chat = Chat(pilot, app, house, ScriptedEngine())
            await chat.until(
                lambda: any(isinstance(each, ChatScreen) for each in app.screen_stack) and chat.screen.ready
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
        await chat.until(lambda: "no reward model: train first" in chat.shown())
        await chat.compare()
        await chat.press("x")
        await chat.ranked()
        await chat.until(lambda: "saved as ranking 1   u undo" in chat.shown())
        await chat.send("Fine.")
        assert "reward model agrees" not in chat.shown()
