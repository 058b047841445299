"""Ranking by keys and by mouse, checked in the database."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterator
from typing import NoReturn

import pytest
from textual import events

from chatapp.core.errors import NotFound
from chatapp.core.types import Ranking
from chatapp.engine.base import Event, Request
from chatapp.session.rank_queue import RankRequest
from chatapp.session.session import Session
from chatapp.tui.screens.edit import EditScreen, LineScreen
from chatapp.tui.screens.rank import RankScreen
from chatapp.tui.widgets.composer import Composer
from chatapp.tui.widgets.message import MessageView
from chatapp.tui.widgets.notice import Notice
from chatapp.tui.widgets.ranker import Ranker
from chatapp.tui.widgets.surplus import SurplusDigit

from .conftest import Chat, Open, wait_until


def only_ranking(chat: Chat) -> Ranking:
    (ranking,) = chat.store.rankings.list()
    return ranking


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


async def test_undo_after_a_ranking(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        first = chat.store.conversations.path(1)[-1].id
        await chat.compare()
        best = next(lane.number for lane in chat.ranker.lanes if lane.reply != first)
        rest = [str(n) for n in range(1, 5) if n != best]
        await chat.press(str(best), *rest[:2])
        await chat.ranked()
        assert chat.store.conversations.path(1)[-1].id != first
        await chat.press("u")
        await chat.until(lambda: not chat.store.rankings.list())
        await chat.until(lambda: "Taken back: the ranking." in chat.shown())
        assert chat.store.conversations.path(1)[-1].id == first
        await chat.until(lambda: chat.app.focused is chat.screen.composer)


async def test_what_follows_another_version_is_told(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.send("and then")
        first = chat.store.conversations.path(1)[1].id
        await chat.press("up", "up", "up", "r")
        await chat.until(lambda: chat.screen.ranker is not None and chat.ranker.all_there)
        best = next(lane.number for lane in chat.ranker.lanes if lane.reply != first)
        await chat.press(*(str(n) for n in (best, *(n for n in range(1, 5) if n != best))[:3]))
        await chat.ranked()
        assert len(chat.texts()) == 2
        heading = chat.screen.transcript.last_reply.heading.render().plain
        assert "2 messages follow version 1" in heading
        saved = next(line for line in chat.lines() if "saved as ranking" in line)
        assert "2 messages follow version 1" in saved
        place = heading.split("◂ ")[1][0]
        for _ in range(int(place) - 1):
            await chat.press("enter", "left")
        await chat.until(lambda: chat.texts()[2:3] == ["and then"])
        assert "follow" not in chat.screen.transcript.views[1].heading.render().plain


async def test_the_others_are_one_arrow_key_away_after_a_ranking(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.rank("1", "2", "3")
        ids = [each.id for each in chat.store.conversations.children(1, 1)]
        at = ids.index(chat.store.conversations.path(1)[-1].id)
        assert "←/→ versions" in chat.key_line()
        await chat.press("left")
        await chat.until(lambda: chat.store.conversations.path(1)[-1].id == ids[at - 1])
        await chat.until(lambda: f"◂ {(at - 1) % 4 + 1}/4 ▸" in chat.shown())
        await chat.press("right", "right")
        await chat.until(lambda: f"◂ {(at + 1) % 4 + 1}/4 ▸" in chat.shown())
        assert len(chat.store.rankings.list()) == 1


async def test_arrows_leave_a_text_alone_after_a_ranking(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.write("a draft")
        await chat.rank("1", "2", "3")
        best = chat.store.conversations.path(1)[-1].id
        assert "versions" not in chat.key_line()
        await chat.press("left")
        assert chat.store.conversations.path(1)[-1].id == best


async def test_typing_goes_on_after_a_ranking(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.rank("1", "2", "3")
        await chat.press("n", "e", "x", "t")
        assert chat.screen.composer.text == "next"


@pytest.mark.parametrize(("patience", "typed"), [(60, ""), (0, "3")])
async def test_the_number_of_the_reply_that_placed_itself_is_not_for_the_prompt(
    open_chat: Open, monkeypatch: pytest.MonkeyPatch, patience: float, typed: str
) -> None:
    monkeypatch.setattr(SurplusDigit, "PATIENCE", patience)
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.rank("4", "2", "1")
        await chat.press("3")
        assert chat.screen.composer.text == typed
        if not typed:
            await chat.press("u")
            await chat.until(lambda: "Taken back: the ranking." in chat.shown())
            assert chat.store.rankings.list() == [] and chat.screen.composer.text == ""


@pytest.mark.parametrize("text", ["33", "4 3", "no 3"])
async def test_a_message_may_begin_with_other_digits_after_a_ranking(
    open_chat: Open, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(SurplusDigit, "PATIENCE", 60)
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.rank("4", "2", "1")
        await chat.press(*("space" if each == " " else each for each in text))
        assert chat.screen.composer.text == ("3" if text == "33" else text)


@pytest.mark.parametrize("text", ["use it", "tell me", "ut"])
async def test_a_message_may_begin_with_the_letters_of_the_line(
    open_chat: Open, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(Notice, "PATIENCE", 60)
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.rank("1", "2", "3")
        assert "u undo" in chat.key_line() and "t tags" in chat.key_line()
        await chat.press(*("space" if each == " " else each for each in text))
        assert chat.screen.composer.text == text
        assert len(chat.store.rankings.list()) == 1


async def test_a_letter_of_the_line_can_be_taken_back(
    open_chat: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Notice, "PATIENCE", 60)
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.rank("1", "2", "3")
        assert "u undo   t why" in chat.shown()
        await chat.press("u", "backspace", "n", "o")
        await chat.until(lambda: "saved as ranking" in chat.shown() and "u undo" not in chat.shown())
        assert chat.screen.composer.text == "no"
        assert len(chat.store.rankings.list()) == 1


async def test_only_what_can_be_done_is_offered(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.press("up", "d")
        await chat.until(lambda: chat.texts() == ["hello"])
        assert "u undo" in chat.key_line() and "tags" not in chat.key_line()
        await chat.press("t", "h")
        assert chat.screen.composer.text == "th"


async def test_what_is_pasted_after_a_ranking_goes_to_the_prompt(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.rank("1", "2", "3")
        chat.app.screen.focused.post_message(events.Paste("use this"))
        await chat.until(lambda: chat.screen.composer.text == "use this")
        assert chat.app.focused is chat.screen.composer


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


async def test_tags_of_the_last_ranking(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.rank("1", "2", "3")
        await chat.press("t")
        await chat.until(
            lambda: isinstance(chat.app.screen, LineScreen) and len(chat.app.screen.query("Chip")) == 5
        )
        await chat.pilot.pause()
        await chat.pilot.click(next(chip for chip in chat.app.screen.query("Chip") if chip.word == "concise"))
        await chat.pilot.click(next(chip for chip in chat.app.screen.query("Chip") if chip.word == "made up"))
        await chat.press("enter")
        await chat.until(lambda: only_ranking(chat).tags == ("concise", "made up"))
        chat.refuse("ranking_events")
        await chat.screen.ask("tags")
        await chat.until(lambda: isinstance(chat.app.screen, LineScreen))
        await chat.press(*", tone", "enter")
        await chat.until(lambda: "it is full" in chat.shown())


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


@pytest.mark.parametrize(("width", "narrow"), [(80, True), (99, True), (100, False), (140, False)])
async def test_lanes_stand_side_by_side_where_there_is_room(
    open_chat: Open, width: int, narrow: bool
) -> None:
    async with open_chat(size=(width, 30)) as chat:
        await chat.send("hello")
        await chat.compare()
        regions = [lane.region for lane in chat.ranker.lanes]
        assert (len({region.y for region in regions}) == 4) is narrow
        assert (len({region.x for region in regions}) == 4) is not narrow
        await chat.until(lambda: all(text in chat.shown() for text in REPLIES_SHOWN))


REPLIES_SHOWN = ("alpha one", "bravo two", "charlie three", "delta four")


async def test_long_replies_fold_in_a_narrow_terminal_and_open_one_by_one(open_chat: Open) -> None:
    long = ["\n\n".join(f"{name} {n}" for n in range(20)) for name in ("a", "b", "c", "d")]
    async with open_chat(size=(80, 30), script=long) as chat:
        await chat.send("hello")
        await chat.compare()
        lanes, box = chat.ranker.lanes, chat.ranker.query_one("#lanes")

        def settled() -> bool:
            heights = [lane.region.height for lane in lanes]
            return heights[1:] == [3, 3, 3] and sum(heights) == box.size.height

        await chat.until(settled)
        opened = lanes[0].region.height
        assert opened > 5
        await chat.press("down", "down")
        await chat.until(lambda: lanes[2].region.height == opened and lanes[0].region.height == 3)
        await chat.press("pagedown")
        await chat.until(lambda: chat.ranker.lanes[2].scroll_y > 0)
        assert chat.ranker.lanes[0].scroll_y == 0


async def test_long_replies_scroll_together_when_wide(open_chat: Open) -> None:
    long = ["\n\n".join(f"{name} {n}" for n in range(30)) for name in ("a", "b", "c", "d")]
    async with open_chat(size=(120, 24), script=long) as chat:
        await chat.send("hello")
        await chat.compare()
        await chat.until(lambda: "more" in chat.shown())
        await chat.press("pagedown")
        await chat.until(lambda: {round(lane.scroll_y) for lane in chat.ranker.lanes} != {0})
        assert len({round(lane.scroll_y) for lane in chat.ranker.lanes}) == 1


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


@pytest.mark.parametrize("what", ["prompt", "above", "n"])
async def test_what_was_pressed_before_the_replies_are_there_takes_no_focus_from_them(
    open_chat: Open, what: str
) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.press("up")
        view = chat.app.focused
        assert isinstance(view, MessageView)
        view.action_ask("alternatives")
        view.post_message(MessageView.Typed(what) if what == "n" else MessageView.Asked(view, what))
        await chat.until(lambda: chat.screen.ranker is not None and chat.ranker.all_there)
        await chat.pilot.pause(0.1)
        assert chat.app.focused is chat.ranker
        assert chat.screen.composer.text == ""


@pytest.mark.parametrize("keys", ["ee", "et", "te", "re", "er", "rd", "dr"])
async def test_of_keys_pressed_at_once_on_a_message_the_first_acts(open_chat: Open, keys: str) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.rank("1", "2", "3")
        await chat.press("up")
        replies = chat.store.conversations.children(1, 1)
        chat.press_at_once(*keys)
        if keys[0] in "et":
            await chat.until(
                lambda: isinstance(chat.app.screen, EditScreen if keys[0] == "e" else LineScreen)
            )
        elif keys[0] == "r":
            await chat.until(lambda: chat.screen.ranker is not None and chat.ranker.all_there)
        else:
            await chat.until(lambda: "Deleted." in chat.shown())
        await chat.pilot.pause(0.1)
        assert len(chat.app.screen_stack) == (3 if keys[0] in "et" else 2)
        assert (chat.screen.ranker is not None) == (keys[0] == "r")
        assert len(chat.store.rankings.list()) == 1
        if keys[0] == "r":
            assert chat.app.focused is chat.ranker
            assert {each.id for each in replies} <= {
                each.id for each in chat.store.conversations.children(1, 1)
            }
            await chat.press("escape")
            await chat.ranked()
        await chat.press("escape")
        await chat.until(lambda: chat.app.screen is chat.screen)


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
