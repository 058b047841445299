"""Ranking by keys and by mouse, checked in the database."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterator

import pytest

from chatapp.engine.base import Event, Request
from chatapp.session.rank_queue import RankRequest
from chatapp.tui.screens.rank import RankScreen
from chatapp.tui.widgets.notice import Notice
from chatapp.tui.widgets.ranker import Ranker

from .conftest import Open, only_ranking, wait_until


async def test_five_keys_rank_four_replies_and_activate_the_best(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.compare()
        ids = [lane.reply for lane in chat.ranker.lanes]
        await chat.press("2", "4", "1")  # with Ctrl+R these are four keys
        await chat.ranked()
        ranking = only_ranking(chat)
        assert ranking.tiers == ((ids[1],), (ids[3],), (ids[0],), (ids[2],))
        assert ranking.shown == tuple(ids)
        assert ranking.milliseconds is not None and ranking.milliseconds >= 0
        assert chat.store.conversations.path(1)[-1].id == ids[1]
        await chat.until(lambda: f"2 › 4 › 1 › 3   saved as ranking {ranking.id}" in chat.shown())
        await chat.until(lambda: "1st" in chat.shown() and "/4" in chat.shown())


async def test_ties(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.compare()
        ids = [lane.reply for lane in chat.ranker.lanes]
        await chat.press("3", "equals_sign", "1", "2")
        await chat.ranked()
        assert only_ranking(chat).tiers == ((ids[2], ids[0]), (ids[1],), (ids[3],))


@pytest.mark.parametrize("at_once", [False, True])
async def test_all_are_tied_when_each_is_typed(open_chat: Open, at_once: bool) -> None:
    keys = ("1", "equals_sign", "2", "equals_sign", "3", "equals_sign", "4")
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.compare()
        ids = [lane.reply for lane in chat.ranker.lanes]
        if at_once:
            chat.press_at_once(*keys)
        else:
            await chat.press(*keys)
        await chat.ranked()
        assert only_ranking(chat).tiers == (tuple(ids),)
        assert chat.screen.composer.text == ""


async def test_the_last_stays_below_a_tie_with_enter(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.compare()
        ids = [lane.reply for lane in chat.ranker.lanes]
        await chat.press("3", "1", "equals_sign", "2")
        await chat.until(lambda: "Best first:  3 › 1 = 2 › 4   = ties the last one too" in chat.shown())
        assert chat.store.rankings.list() == []
        await chat.press("enter")
        await chat.ranked()
        assert only_ranking(chat).tiers == ((ids[2],), (ids[0], ids[1]), (ids[3],))


async def test_all_bad(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        before = chat.store.conversations.path(1)[-1].id
        await chat.rank("x")
        ranking = only_ranking(chat)
        assert ranking.all_bad and ranking.tiers == () and len(ranking.shown) == 4
        assert chat.store.conversations.path(1)[-1].id == before


async def test_backspace_and_the_order_line(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.compare()
        await chat.press("2")
        await chat.until(lambda: "Best first:  2 › _" in chat.shown())
        await chat.press("backspace", "3")
        await chat.until(lambda: "Best first:  3 › _" in chat.shown())
        ids = [lane.reply for lane in chat.ranker.lanes]
        await chat.press("enter")  # the order so far
        await chat.ranked()
        assert only_ranking(chat).tiers == ((ids[2],),)


async def test_nothing_tells_which_reply_was_there_before(open_chat: Open) -> None:
    places = set()
    async with open_chat(script=lambda request, lane, seed: f"text {seed}") as chat:
        await chat.send("hello")
        first = chat.store.conversations.path(1)[-1].id
        for seed in range(8):
            random.seed(seed)
            await chat.compare()
            places.add([lane.reply for lane in chat.ranker.lanes].index(first))
            for mark in ("◂", "tok/s", "Guide"):
                assert mark not in chat.shown()
            await chat.press("escape")
            await chat.ranked()
            await chat.press("left", "left", "left")
            await chat.settled()
            chat.store.conversations.activate(first)
            await chat.screen.show_path()
            if len(places) > 1:
                return
    raise AssertionError("the earlier reply always stood in the same place")


async def test_a_kept_reply_fills_with_the_others(open_chat: Open) -> None:
    long = [f"{name} " * 60 for name in ("one", "two", "three", "four")]
    async with open_chat(script=long, pace=0) as chat:
        await chat.send("hello")
        chat.engine._pace = 0.01
        await chat.press("ctrl+r")
        await chat.until(lambda: chat.screen.ranker and any(lane.text for lane in chat.ranker.lanes))
        kept = next(lane for lane in chat.ranker.lanes if lane.kept is not None)
        assert len(kept.text) < len(kept.kept)
        assert not kept.complete
        await chat.until(lambda: chat.ranker.all_there)
        assert kept.text == kept.kept


async def test_ranking_while_replies_are_still_being_written(open_chat: Open) -> None:
    script = ["short", "tiny", "word " * 500, "word " * 501 + "end"]
    async with open_chat(script=script) as chat:
        await chat.send("hello")
        chat.engine._pace = 0.03
        unfinished = await chat.one_unfinished()
        await chat.press(str(unfinished.number))
        await chat.until(lambda: "›" in chat.shown())  # it counts, and nothing is committed
        assert chat.store.rankings.list() == []
        await chat.press("backspace")
        done = next(lane for lane in chat.ranker.lanes if lane.complete)
        best = done.reply
        await chat.press(str(done.number), "enter")
        await chat.ranked()
        assert only_ranking(chat).tiers == ((best,),)
        reasons = {each.finish_reason for each in chat.store.conversations.children(1, 1)}
        assert reasons == {"stop", "cancelled"}


async def test_a_click_on_a_lane_is_its_digit(open_chat: Open) -> None:
    async with open_chat(size=(120, 30)) as chat:
        await chat.send("hello")
        await chat.compare()
        ids = [lane.reply for lane in chat.ranker.lanes]
        for at in (3, 0, 2):
            await chat.pilot.click(chat.ranker.lanes[at])
        await chat.ranked()
        assert only_ranking(chat).tiers == ((ids[3],), (ids[0],), (ids[2],), (ids[1],))


async def test_rank_again_without_new_replies(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.rank("1", "2", "3")
        requests = len(chat.engine.requests)
        await chat.press("up", "R")
        await chat.until(lambda: chat.screen.ranker is not None and chat.ranker.all_there)
        ids = [lane.reply for lane in chat.ranker.lanes]
        await chat.press("4", "3", "2")
        await chat.ranked()
        assert len(chat.engine.requests) == requests
        assert only_ranking(chat).tiers == ((ids[3],), (ids[2],), (ids[1],), (ids[0],))


async def test_of_more_than_nine_versions_the_one_looked_at_is_ranked(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        for number in range(10):
            chat.store.conversations.add(1, 1, "assistant", f"version {number}", "import")
        first, *others = [each.id for each in chat.store.conversations.children(1, 1)]
        assert len(others) == 10
        chat.store.conversations.activate(first)
        await chat.screen.show_path()
        await chat.press("up", "R")
        await chat.until(lambda: chat.screen.ranker is not None and chat.ranker.all_there)
        assert {lane.reply for lane in chat.ranker.lanes} == {first, *others[-8:]}
        await chat.until(lambda: "9 of 11 versions: this one and the newest." in chat.shown())
        await chat.press("escape")
        await chat.ranked()
        chat.store.conversations.activate(others[-1])
        await chat.screen.show_path()
        await chat.press("up", "R")
        await chat.until(lambda: chat.screen.ranker is not None and chat.ranker.all_there)
        assert {lane.reply for lane in chat.ranker.lanes} == set(others[-9:])


async def test_the_engine_dies_while_alternatives_are_written(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        chat.engine.fail_after(3)
        await chat.press("ctrl+r")
        await chat.until(lambda: "SIGKILL" in chat.shown())
        await chat.ranked()
        await chat.send("go on")
        assert chat.texts()[-2] == "go on"


async def test_no_different_reply_comes(open_chat: Open) -> None:
    async with open_chat(script=["always the same"]) as chat:
        await chat.send("hello")
        await chat.press("ctrl+r")
        await chat.until(lambda: "no different reply came" in chat.shown())
        await chat.ranked()
        assert len(chat.store.conversations.children(1, 1)) == 1


async def test_duplicates_are_left_out_and_the_rest_is_ranked(open_chat: Open) -> None:
    async with open_chat(script=["one", "two"]) as chat:
        await chat.send("hello")
        await chat.compare()
        assert sorted(lane.text for lane in chat.ranker.lanes) == ["one", "two"]
        assert [lane.number for lane in chat.ranker.lanes] == [1, 2]
        await chat.press("2")
        await chat.ranked()
        assert len(only_ranking(chat).tiers) == 2


async def test_a_ranking_session_over_stored_conversations(open_chat: Open) -> None:
    async with open_chat() as chat:
        for text in ("first", "second", "third"):
            await chat.send(text)
    async with open_chat(rank=RankRequest(k=3, pick="recent")) as chat:
        screen = chat.app.screen
        assert isinstance(screen, RankScreen)

        def ready(number: int) -> bool:
            rankers = list(screen.query(Ranker))
            return bool(rankers) and rankers[0].all_there and f"{number} of 3" in chat.shown()

        await wait_until(chat.pilot, lambda: ready(1))
        assert len(screen.query_one(Ranker).lanes) == 3
        await chat.press("2", "1")
        await wait_until(chat.pilot, lambda: ready(2))
        await chat.until(lambda: "saved as ranking 1" in chat.shown())
        await chat.press("s")
        await wait_until(chat.pilot, lambda: ready(3))
        await chat.press("escape")
        await wait_until(chat.pilot, lambda: "1 ranked, 1 left for later, of 3" in chat.shown())
        assert len(chat.store.rankings.list()) == 1
        await chat.press("u")
        await wait_until(chat.pilot, lambda: "0 ranked" in chat.shown())
        assert chat.store.rankings.list() == []


async def test_the_ranker_keeps_the_keys_when_something_is_offered_or_clicked(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.compare()
        chat.screen.offer("Saved as a demonstration.", "undo")
        await chat.pilot.pause(0.1)
        assert chat.app.focused is chat.ranker
        await chat.pilot.click(Notice)
        await chat.press("escape")
        assert chat.app.focused is chat.ranker
        await chat.press("1", "2", "3")
        await chat.ranked()
        assert only_ranking(chat).tiers


async def test_while_the_prompt_is_read_the_seconds_are_counted(
    open_chat: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        generate, read = chat.engine.generate, threading.Event()

        def slowly(request: Request) -> Iterator[Event]:
            read.wait(25)
            yield from generate(request)

        monkeypatch.setattr(chat.engine, "generate", slowly)
        await chat.press("ctrl+r")
        await chat.until(lambda: re.search(r"reading the prompt, \d+ s", chat.shown()))
        read.set()
        await chat.until(lambda: chat.ranker.all_there)
        await chat.until(lambda: "reading" not in chat.shown())


@pytest.mark.parametrize("placed", [True, False])
async def test_a_reply_that_was_placed_is_not_written_again(open_chat: Open, placed: bool) -> None:
    def script(request: Request, lane: int, seed: int) -> str:
        if request.lanes == 3:
            return ("It opens at ten today.", "word " * 25, "Nobody knows.")[lane]
        return "Which shop do you mean?" if request.first_lane else "It opens at nine today."

    async with open_chat(script=script) as chat:
        await chat.send("hello")
        chat.engine._pace = 0.05
        await chat.one_unfinished()
        await chat.until(lambda: chat.ranker._box.sampled[0].complete)
        alike = chat.ranker._box.sampled[0]
        if placed:
            await chat.press(str(alike.number))
        chat.engine._pace = 0
        await chat.until(lambda: chat.ranker.all_there)
        assert alike.text == ("It opens at ten today." if placed else "Which shop do you mean?")
        assert (alike.place == "1st") == placed
