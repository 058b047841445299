"""`chatapp rank`: what its keys do, and what the last line says that they do."""

from __future__ import annotations

import pytest

from chatapp.session.rank_queue import RankRequest
from chatapp.tui.screens.edit import EditScreen
from chatapp.tui.screens.rank import RankScreen
from chatapp.tui.widgets.ranker import Ranker
from chatapp.tui.widgets.surplus import SurplusDigit

from .conftest import Chat, Open


async def two_prompts(open_chat: Open) -> None:
    """In one conversation, each with its reply."""
    async with open_chat() as chat:
        for text in ("first", "second"):
            await chat.send(text)


def ready(chat: Chat, number: int, of: int) -> bool:
    """The `number`-th prompt is there with all of its replies."""
    rankers = list(chat.app.screen.query(Ranker))
    return bool(rankers) and rankers[0].all_there and f"{number} of {of}" in chat.shown()


async def test_enter_never_quits(open_chat: Open) -> None:
    await two_prompts(open_chat)
    async with open_chat(rank=RankRequest(k=3, pick="recent")) as chat:
        await chat.until(lambda: ready(chat, 1, 2))
        await chat.press("enter")
        assert ready(chat, 1, 2)
        await chat.press("2", "1", "enter")  # the last number ends it, Enter comes after
        await chat.until(lambda: ready(chat, 2, 2))
        await chat.press("enter")
        assert len(chat.store.rankings.list()) == 1
        await chat.press("2", "1")
        await chat.until(lambda: "2 ranked, 0 left for later, of 2" in chat.shown())
        await chat.press("enter")
        assert isinstance(chat.app.screen, RankScreen) and not chat.app._exit
        await chat.press("u")
        await chat.until(lambda: "1 ranked, 0 left for later, of 2" in chat.shown())
        assert "Esc quit  u undo the last" in chat.key_line()
        chat.refuse("ranking_retractions")
        await chat.press("u")
        await chat.until(lambda: "it is full" in chat.shown())
        assert "1 ranked" in chat.shown() and len(chat.store.rankings.list()) == 1
        await chat.press("escape")
        await chat.until(lambda: chat.app._exit)


async def test_undo_shows_again_what_was_shown_before(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("first")
        before = chat.store.conversations.path(1)[-1].id
    async with open_chat(rank=RankRequest(k=3, pick="recent")) as chat:
        await chat.until(lambda: ready(chat, 1, 1))
        lanes = chat.app.screen.query_one(Ranker).lanes
        best = next(lane for lane in lanes if lane.reply != before)
        worst = next(lane for lane in lanes if lane.reply == before)
        await chat.press(str(best.number), str(worst.number))
        await chat.until(lambda: "1 ranked" in chat.shown())
        assert chat.store.conversations.path(1)[-1].id == best.reply
        await chat.press("u")
        await chat.until(lambda: "0 ranked" in chat.shown())
        assert chat.store.rankings.list() == []
        assert chat.store.conversations.path(1)[-1].id == before


async def test_the_last_line_tells_the_next_prompt_from_the_end(open_chat: Open) -> None:
    await two_prompts(open_chat)
    async with open_chat(rank=RankRequest(k=3, pick="recent"), size=(80, 24)) as chat:
        await chat.until(lambda: ready(chat, 1, 2))
        assert "s next  Esc end" in chat.key_line() and "later" not in chat.key_line()
        await chat.press("s")
        await chat.until(lambda: ready(chat, 2, 2))
        await chat.press("escape")
        await chat.until(lambda: "0 ranked, 1 left for later, of 2" in chat.shown())
        assert "Esc quit" in chat.key_line()


async def test_enter_on_a_reply_that_never_came_goes_on(open_chat: Open) -> None:
    async with open_chat() as chat:
        for text in ("first", "second"):
            await chat.send(text)
    slow = [f"{word} " * 30 for word in ("one", "two", "three", "four")]
    async with open_chat(rank=RankRequest(k=4, pick="recent"), script=slow, pace=1) as chat:
        await chat.until(lambda: chat.app.screen.query(Ranker))
        ranker = chat.app.screen.query_one(Ranker)
        await chat.until(lambda: any(lane.reply and not lane.kept for lane in ranker.lanes))
        placed = next(lane for lane in ranker.lanes if lane.reply and not lane.kept)
        await chat.press(str(placed.number), "enter")  # before its first word
        await chat.until(lambda: "2 of 2" in chat.shown())
        assert chat.store.rankings.list() == []
        await chat.press("escape")
        await chat.until(lambda: "0 ranked, 1 left for later, of 2" in chat.shown())


async def test_going_on_while_replies_are_still_being_written(open_chat: Open) -> None:
    async with open_chat() as chat:
        for text in ("first", "second", "third"):
            await chat.send(text)
    slow = [f"{word} " * 30 for word in ("one", "two", "three", "four")]
    async with open_chat(rank=RankRequest(k=4, pick="recent"), script=slow, pace=1) as chat:

        def writes(number: int) -> bool:
            rankers = list(chat.app.screen.query(Ranker))
            begun = bool(rankers) and any(each.reply and not each.kept for each in rankers[0].lanes)
            return begun and f"{number} of 3" in chat.shown()

        await chat.until(lambda: writes(1))
        await chat.press("s")
        await chat.until(lambda: writes(2))
        await chat.press("s")
        await chat.until(lambda: writes(3))
        await chat.press("escape")
        await chat.until(lambda: "0 ranked, 2 left for later, of 3" in chat.shown())


async def test_a_prompt_whose_conversation_was_deleted_meanwhile_is_passed_over(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("first")
        await chat.press("ctrl+n")
        await chat.send("second")
    async with open_chat(rank=RankRequest(k=3, pick="recent")) as chat:
        await chat.until(lambda: ready(chat, 1, 2))
        chat.store.conversations.delete(1)
        await chat.press("s")
        await chat.until(lambda: "conversation 1 was deleted" in chat.shown())
        assert "0 ranked, 1 left for later, of 2" in chat.shown()


@pytest.mark.parametrize(("patience", "ignored"), [(60, True), (0, False)])
async def test_the_number_of_the_reply_that_placed_itself_is_not_for_the_next_prompt(
    open_chat: Open, monkeypatch: pytest.MonkeyPatch, patience: float, ignored: bool
) -> None:
    monkeypatch.setattr(SurplusDigit, "PATIENCE", patience)
    await two_prompts(open_chat)
    async with open_chat(rank=RankRequest(k=4, pick="recent")) as chat:
        await chat.until(lambda: ready(chat, 1, 2))
        await chat.press("1", "2", "3")
        await chat.until(lambda: ready(chat, 2, 2))
        await chat.press("4")
        await chat.until(lambda: f"Best first:  {'_' if ignored else '4 › _'}" in chat.shown())
        if not ignored:
            return
        shown = [lane.reply for lane in chat.app.screen.query_one(Ranker).lanes]
        await chat.press("1", "2", "3", "4")
        await chat.until(lambda: "2 ranked, 0 left for later, of 2" in chat.shown())
        last = max(chat.store.rankings.list(), key=lambda each: each.id)
        assert last.tiers == tuple((reply,) for reply in shown)


@pytest.mark.parametrize(("keys", "order"), [(("3", "4"), "3 › 4 › _"), (("enter", "4"), "4 › _")])
async def test_only_that_number_and_only_as_the_first_key_is_ignored(
    open_chat: Open, monkeypatch: pytest.MonkeyPatch, keys: tuple[str, ...], order: str
) -> None:
    monkeypatch.setattr(SurplusDigit, "PATIENCE", 60)
    await two_prompts(open_chat)
    async with open_chat(rank=RankRequest(k=4, pick="recent")) as chat:
        await chat.until(lambda: ready(chat, 1, 2))
        await chat.press("1", "2", "3")
        await chat.until(lambda: ready(chat, 2, 2))
        await chat.press(*keys)
        await chat.until(lambda: f"Best first:  {order}" in chat.shown())


async def test_the_last_ranking_is_undone_before_the_next_one_begins(open_chat: Open) -> None:
    await two_prompts(open_chat)
    async with open_chat(rank=RankRequest(k=3, pick="recent"), size=(80, 24)) as chat:
        await chat.until(lambda: ready(chat, 1, 2))
        assert "undo the last" not in chat.key_line()
        await chat.press("2", "1")
        await chat.until(lambda: ready(chat, 2, 2) and "u undo the last" in chat.key_line())
        await chat.press("1")
        await chat.until(lambda: "undo the last" not in chat.key_line())
        await chat.press("u")
        assert len(chat.store.rankings.list()) == 1
        await chat.press("backspace", "u")
        await chat.until(lambda: "Taken back: the ranking." in chat.shown())
        assert chat.store.rankings.list() == []
        assert ready(chat, 2, 2) and "undo the last" not in chat.key_line()
        await chat.press("2", "1")
        await chat.until(lambda: "1 ranked, 0 left for later, of 2" in chat.shown())


async def test_an_edit_is_not_taken_back_from_the_replies_on_the_screen(open_chat: Open) -> None:
    await two_prompts(open_chat)
    async with open_chat(rank=RankRequest(k=3, pick="recent")) as chat:
        await chat.until(lambda: ready(chat, 1, 2))
        await chat.press("2", "1")
        await chat.until(lambda: ready(chat, 2, 2))
        await chat.press("e", "1")
        await chat.until(lambda: isinstance(chat.app.screen, EditScreen))
        await chat.press("!", "enter")
        await chat.until(lambda: "Best first:  1 › _" in chat.shown())
        await chat.press("backspace", "u")
        await chat.until(lambda: "Best first:  _" in chat.shown())
        assert "Taken back" not in chat.shown() and "undo the last" not in chat.key_line()
