"""Ranking what two adapters say: nothing on the screen tells who wrote what, and the wins are counted."""

from __future__ import annotations

import pytest

from chatapp.core.settings import Settings
from chatapp.core.types import Adapter, Wins
from chatapp.engine.base import Request
from chatapp.session.adapters import Round
from chatapp.tui.screens.adapters import AdaptersScreen

from .conftest import Chat, Open


def use_the_second_of_two(chat: Chat) -> None:
    """From the next start on r2 answers, whose rival is r1."""
    sha256 = chat.house.model_sha256()
    for name, parent in (("r1", None), ("r2", "r1")):
        file = chat.house.paths.adapters / name / "adapter.gguf"
        file.parent.mkdir(parents=True)
        file.touch()
        chat.store.adapters.add(
            Adapter(name, "dpo", "guide", sha256, parent, 0.0, True, "better", "run", "data")
        )
    chat.store.adapters.choose(sha256, "r2", "use")


async def test_the_order_of_two_adapters_is_a_win(open_chat: Open) -> None:
    async with open_chat() as chat:
        use_the_second_of_two(chat)
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.compare()
        written = {
            each.id: each.provenance.adapter
            for each in chat.store.conversations.messages(1)
            if each.provenance is not None
        }
        lanes = [written[lane.reply] for lane in chat.ranker.lanes if lane.reply is not None]
        assert sorted(map(str, lanes)) == ["r1", "r1", "r2", "r2"]
        page = chat.shown()
        assert "r1" not in page and "▴" not in page
        winner = next(lane.number for lane in chat.ranker.lanes if written[lane.reply or 0] == "r1")
        rest = [str(lane.number) for lane in chat.ranker.lanes if lane.number != winner]
        await chat.press(str(winner), *rest[:2])
        await chat.ranked()
        assert chat.store.adapters.wins("r2", "r1") == Wins(0, 1, 0)
        await chat.until(lambda: "▴r1" in chat.shown())


@pytest.mark.parametrize("tie", [False, True])
async def test_enter_before_the_second_has_begun_ranks_what_is_there(open_chat: Open, tie: bool) -> None:
    def script(request: Request, lane: int, seed: int) -> str:
        return "the first" if request.first_lane == 0 and not slow else "word " * 200

    slow = False
    async with open_chat() as chat:
        use_the_second_of_two(chat)
    async with open_chat(script=script, settings=Settings(alternatives=2)) as chat:
        await chat.send("hello")
        slow, chat.engine._pace = True, 0.05
        await chat.press("ctrl+r")
        await chat.until(lambda: chat.screen.ranker and any(lane.text for lane in chat.ranker.lanes))
        kept = next(lane for lane in chat.ranker.lanes if lane.kept is not None)
        begun = next(lane for lane in chat.ranker.lanes if lane.reply is not None and lane is not kept)
        await chat.press(str(kept.number), *["equals_sign"] * tie, str(begun.number))
        await chat.until(lambda: "waiting for the last one" in chat.shown())
        await chat.press("enter")
        await chat.ranked()
        (ranking,) = chat.store.rankings.list()
        assert [set(tier) for tier in ranking.tiers] == (
            [{kept.reply, begun.reply}] if tie else [{kept.reply}, {begun.reply}]
        )
        assert set(ranking.shown) == {kept.reply, begun.reply}


async def test_the_list_tells_why_one_was_refused_and_who_won(open_chat: Open) -> None:
    refused = Adapter(
        "r2", "dpo", "guide", "0" * 64, "r1", 0.0, False, "older dialogues got worse: 1.21", "run", "data"
    )
    async with open_chat() as chat:
        chat.app.push_screen(AdaptersScreen([Round(refused, False, Wins(2, 15, 0))], None))
        await chat.until(lambda: "older dialogues got worse: 1.21" in " ".join(chat.shown().split()))
        assert "loses to r1 in 15 of 17" in " ".join(chat.shown().replace("│", " ").split())
