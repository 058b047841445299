"""One of the replies is written anew while they are ranked."""

from __future__ import annotations

from typing import NoReturn

import pytest

from chatapp.core.errors import NotFound
from chatapp.engine.base import Request
from chatapp.session.session import Session
from chatapp.tui.widgets.composer import Composer

from .conftest import Open, only_ranking


async def test_edit_one_while_ranking(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.compare()
        replaced = chat.ranker.lanes[2].reply
        await chat.press("e")
        await chat.until(lambda: "Edit which one?" in chat.shown())
        await chat.press("3")
        await chat.until(lambda: len(chat.app.screen_stack) == 3)
        await chat.press("!", "enter")
        await chat.until(lambda: chat.ranker.lanes[2].text.endswith("!"))
        await chat.until(lambda: "Best first:  3 › _" in chat.shown())
        new = chat.ranker.lanes[2].reply
        ids = [lane.reply for lane in chat.ranker.lanes]
        await chat.press("1", "2")
        await chat.ranked()
        (demonstration,) = chat.store.rankings.demonstrations()
        assert (demonstration.reply, demonstration.replaces) == (new, (replaced,))
        assert only_ranking(chat).tiers == ((new,), (ids[0],), (ids[1],), (ids[3],))
        assert chat.store.conversations.path(1)[-1].id == new


async def test_the_ranking_does_not_end_while_one_is_edited(open_chat: Open) -> None:
    async with open_chat(script=["short", "tiny", "word " * 25, "brief"]) as chat:
        await chat.send("hello")
        chat.engine._pace = 0.1
        unfinished = await chat.one_unfinished()
        done = next(lane for lane in chat.ranker.lanes if lane.complete)
        others = [each for each in chat.ranker.lanes if each not in (unfinished, done)]
        await chat.press(*(str(lane.number) for lane in (unfinished, *others)))
        await chat.press("e", str(done.number))
        await chat.until(lambda: len(chat.app.screen_stack) == 3)
        await chat.until(lambda: chat.screen.ranker is None or chat.ranker.all_there)
        await chat.press("!", "enter")
        await chat.ranked()
        (demonstration,) = chat.store.rankings.demonstrations()
        assert only_ranking(chat).tiers[:2] == ((demonstration.reply,), (unfinished.reply,))


async def test_a_correction_that_cannot_be_stored_stays_in_its_dialog(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.compare()
        chat.refuse("demonstrations")
        await chat.press("e", "3")
        await chat.until(lambda: len(chat.app.screen_stack) == 3)
        await chat.press("!", "enter")
        await chat.until(lambda: "Not saved" in chat.shown())
        assert chat.app.screen.query_one(Composer).text.endswith("!")
        await chat.press("escape")
        await chat.until(lambda: "Esc again discards what you changed" in chat.shown())
        await chat.press("escape", "1")
        await chat.until(lambda: "Best first:  1 › _" in chat.shown())
        assert not chat.ranker.lanes[2].text.endswith("!")


async def test_a_correction_whose_reply_cannot_be_kept_stays_in_its_dialog(
    open_chat: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(*_: object) -> NoReturn:
        raise NotFound("the conversation was deleted")

    async with open_chat() as chat:
        await chat.send("hello")
        await chat.compare()
        with monkeypatch.context() as patch:
            patch.setattr(Session, "keep", keep)
            await chat.press("e", "3")
            await chat.until(lambda: len(chat.app.screen_stack) == 3)
            await chat.press("!", "enter")
            await chat.until(lambda: "Not saved" in chat.shown())
            assert chat.app.screen.query_one(Composer).text.endswith("!")
            await chat.press("enter")
            await chat.until(lambda: len(chat.app.screen_stack) == 3 and "Not saved" in chat.shown())
        await chat.press("enter")
        await chat.until(lambda: len(chat.app.screen_stack) == 3 or "Best first:  3" in chat.shown())
        await chat.press("enter")
        await chat.until(lambda: chat.ranker.lanes[2].text.endswith("!"))
        assert len(chat.store.rankings.demonstrations()) == 1


async def test_a_reply_that_is_edited_is_not_replaced(open_chat: Open) -> None:
    def script(request: Request, lane: int, seed: int) -> str:
        if request.lanes == 3:
            return ("the first", "word " * 25, "brief")[lane]  # one says what the first reply said
        return "the second" if request.first_lane else "the first"

    async with open_chat(script=script) as chat:
        await chat.send("hello")
        chat.engine._pace = 0.1
        await chat.one_unfinished()
        twin = next(lane for lane in chat.ranker.lanes if lane.kept is None and lane.text.startswith("the"))
        await chat.until(lambda: twin.complete)
        replaced = twin.reply
        await chat.press("e", str(twin.number))
        await chat.until(lambda: len(chat.app.screen_stack) == 3)
        await chat.until(lambda: chat.ranker.all_there)
        await chat.press("!", "enter")
        await chat.until(lambda: f"Best first:  {twin.number} › _" in chat.shown())
        (demonstration,) = chat.store.rankings.demonstrations()
        assert (demonstration.reply, demonstration.replaces) == (twin.reply, (replaced,))
        assert not chat.store.conversations.message(replaced).deleted
        await chat.press("enter")
        await chat.ranked()
        assert only_ranking(chat).tiers == ((demonstration.reply,),)
