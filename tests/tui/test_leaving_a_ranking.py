"""A ranking is left, also while its replies are still being written."""

from __future__ import annotations

import threading

import pytest

from chatapp.engine.base import Request

from .conftest import Chat, Open, only_ranking

SLOW = [f"{word} " * 30 for word in ("one", "two", "three", "four")]


async def begin_to_compare(chat: Chat) -> None:
    """Ask for alternatives, which come at one word a second, and wait for the first of them."""
    chat.engine._pace = 1
    await chat.press("ctrl+r")
    await chat.until(lambda: chat.screen.ranker is not None and chat.ranker.writing)
    await chat.until(lambda: any(lane.reply and lane.kept is None for lane in chat.ranker.lanes))


@pytest.mark.parametrize("key", ["escape", "s", "ctrl+q"])
async def test_leaving_before_a_word_has_come(open_chat: Open, key: str) -> None:
    async with open_chat(script=SLOW) as chat:
        await chat.send("hello")
        for _ in range(3):
            await begin_to_compare(chat)
            await chat.press(key)
            if key == "ctrl+q":
                return
            await chat.ranked()
            await chat.screen.session.idle()
            await chat.pilot.pause(0.1)
        chat.engine._pace = 0
        await chat.send("go on")
        assert chat.texts()[-2] == "go on"


async def test_stopped_replies_that_are_taken_out_are_not_counted(open_chat: Open) -> None:
    def script(request: Request, lane: int, seed: int) -> str:
        return "the first" if request.lanes == 1 else "word " * 200

    async with open_chat(script=script) as chat:
        await chat.send("hello")
        chat.engine._pace = 0.02
        stop = chat.engine.cancel
        chat.engine.cancel = lambda: threading.Timer(0.4, stop).start()  # an engine that takes its time
        await chat.press("ctrl+r")
        await chat.until(lambda: chat.screen.ranker and any(lane.text for lane in chat.ranker.lanes))
        await chat.press("escape")
        await chat.until(lambda: "versions are kept" in chat.shown())
        kept = len(chat.store.conversations.children(1, 1))
        assert 2 <= kept < 4  # 3 where the stop came between two lanes, one of which is a word ahead
        assert f"{kept} versions are kept, nothing was ranked. ← → walks them." in chat.shown()
        await chat.until(lambda: f"◂ 1/{kept} ▸" in chat.shown())


async def test_all_bad_holds_when_a_stopped_reply_is_taken_out(open_chat: Open) -> None:
    def script(request: Request, lane: int, seed: int) -> str:
        return "the first" if request.lanes == 1 else "word " * 200

    async with open_chat(script=script) as chat:
        await chat.send("hello")
        chat.engine._pace = 0.05
        await chat.press("ctrl+r")
        await chat.until(lambda: chat.screen.ranker and any(lane.text for lane in chat.ranker.lanes))
        await chat.press("x", "enter")
        await chat.ranked()
        (ranking,) = chat.store.rankings.list()
        kept = {reply.id for reply in chat.store.conversations.children(1, 1)}
        assert ranking.all_bad and set(ranking.shown) == kept and 2 <= len(kept) < 4


@pytest.mark.parametrize("key", ["s", "escape"])
async def test_leaving_keeps_the_replies_and_ranks_nothing(open_chat: Open, key: str) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.rank("2", key)
        assert chat.store.rankings.list() == []
        assert len(chat.store.conversations.children(1, 1)) == 4
        await chat.until(lambda: "4 versions are kept" in chat.shown())
        await chat.press("right")
        await chat.until(lambda: "◂ 2/4 ▸" in chat.shown())
        assert chat.texts()[-1] == chat.store.conversations.path(1)[-1].text
        await chat.press("left", "left")
        await chat.until(lambda: "◂ 4/4 ▸" in chat.shown())


async def test_leaving_says_how_to_rank_after_all(open_chat: Open) -> None:
    async with open_chat(size=(80, 24)) as chat:
        await chat.send("hello")
        await chat.rank("escape")
        said = "4 versions are kept, nothing was ranked. ← → walks them. ↑ R ranks them."
        await chat.until(lambda: said in chat.shown())
        await chat.press("up", "R")
        await chat.until(lambda: chat.screen.ranker is not None and chat.ranker.all_there)
        await chat.press("1", "2", "3")
        await chat.ranked()
        assert len(only_ranking(chat).shown) == 4


async def test_leaving_a_ranking_further_up_says_how_to_rank_after_all(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.send("and then")
        await chat.press("up", "up", "up", "r")
        await chat.until(lambda: chat.screen.ranker is not None and chat.ranker.all_there)
        await chat.press("escape")
        await chat.ranked()
        await chat.until(lambda: "nothing was ranked. R on the reply ranks them." in chat.shown())
