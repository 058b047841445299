"""How the replies of a ranking share the screen, and how one gets to see all of each."""

from __future__ import annotations

import asyncio

import pytest
from textual.events import MouseScrollDown

from chatapp.core.settings import Settings
from chatapp.core.types import Sampling
from chatapp.tui.widgets.lanes import side_by_side, stacked_heights

from .conftest import Chat, Open

NAMES = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india")


def words(*counts: int) -> list[str]:
    """Replies of so many words."""
    return [" ".join(f"{name}{n}" for n in range(count)) for name, count in zip(NAMES, counts, strict=False)]


def offsets(chat: Chat) -> list[int]:
    return [round(lane.scroll_y) for lane in chat.ranker.lanes]


async def test_lanes_of_different_length_scroll_together_and_come_to_rest(open_chat: Open) -> None:
    async with open_chat(size=(120, 20), script=words(90, 260, 150, 200)) as chat:
        await chat.send("hello")
        await chat.compare()
        await chat.until(lambda: "more" in chat.shown())
        lanes = chat.ranker.lanes
        ends = [lane.end for lane in lanes]
        page = lanes[0].scrollable_content_region.height - 1
        for _ in range(5):
            await chat.press("pagedown")
        for _ in range(2):
            await chat.press("pageup")
        at = min(5 * page, max(ends)) - 2 * page
        wanted = [min(at, end) for end in ends]
        assert len(set(wanted)) > 1  # the shortest stands at its end
        await chat.until(lambda: offsets(chat) == wanted)
        moves: list[float] = []
        for lane in lanes:
            chat.screen.watch(lane, "scroll_y", lambda y: moves.append(y), init=False)
        await chat.pilot.pause(0.5)
        assert moves == []
        await chat.press("pagedown")
        await chat.until(lambda: offsets(chat) == [min(at + page, end) for end in ends])


async def test_a_page_back_is_a_page_back_after_the_lanes_grew(open_chat: Open) -> None:
    async with open_chat(size=(120, 16), script=words(90, 260, 150, 200)) as chat:
        await chat.send("hello")
        await chat.compare()
        longest = max(chat.ranker.lanes, key=lambda lane: lane.end)
        while longest.below:
            await chat.press("pagedown")
        before = longest.above
        await chat.pilot.resize_terminal(120, 36)
        await chat.until(lambda: 0 < longest.end < before and longest.above == longest.end)
        page = longest.scrollable_content_region.height - 1
        end = longest.end
        await chat.press("pageup")
        await chat.until(lambda: longest.above == end - page)


async def test_the_wheel_scrolls_all_lanes_that_stand_side_by_side(open_chat: Open) -> None:
    async with open_chat(size=(120, 20), script=words(90, 260, 150, 200)) as chat:
        await chat.send("hello")
        await chat.compare()
        await chat.until(lambda: "more" in chat.shown())
        await chat.pilot._post_mouse_events([MouseScrollDown], chat.ranker.lanes[2], button=0)
        await chat.until(lambda: set(offsets(chat)) == {2})


@pytest.mark.parametrize("size", [(80, 24), (60, 14), (40, 12), (100, 14), (120, 36)])
async def test_every_one_of_nine_long_replies_can_be_read_to_its_end(
    open_chat: Open, size: tuple[int, int]
) -> None:
    script = [f"{text} end" for text in words(90, 260, 30, 40, 90, 60, 150, 10, 200)]
    async with open_chat(size=size, script=script, settings=Settings(alternatives=8)) as chat:
        await chat.send("hello")
        await chat.compare()
        lanes = chat.ranker.lanes
        assert len(lanes) == 9
        box = lanes[0].parent.region
        if size == (80, 24):
            await chat.until(lambda: all(lane.region in box for lane in lanes))  # their titles, at least
        for lane in lanes:
            await chat.until(lambda lane=lane: lane.region in box)
            while lane.below:
                await chat.until(
                    lambda lane=lane: "more" in (lane.border_title if lane.stacked else lane.border_subtitle)
                )
                before = lane.above
                await chat.press("pagedown")
                await chat.until(lambda lane=lane, before=before: lane.above > before)
            if lane.stacked:
                await chat.until(lambda: "end" in chat.shown())
                await chat.press("down")


async def test_the_end_of_a_reply_is_not_scrolled_past(open_chat: Open) -> None:
    async with open_chat(size=(80, 24), script=words(60, 90, 90, 90)) as chat:
        await chat.send("hello")
        await chat.compare()
        short = next(lane for lane in chat.ranker.lanes if len(lane.text.split()) == 60)
        for _ in range(short.number - 1):
            await chat.press("down")
        await chat.until(lambda: short.has_class("-open") and not short.below)
        await chat.press("pagedown")
        assert short.above == 0


async def test_a_page_is_turned_before_anything_else_is_settled(open_chat: Open) -> None:
    async with open_chat(size=(100, 14), script=words(*[90] * 9), settings=Settings(alternatives=8)) as chat:
        await chat.send("hello")
        await chat.compare()
        opened = chat.ranker.lanes[0]
        await chat.until(lambda: opened.has_class("-open") and opened.below)
        # Once a refresh later, it would undo what a new height made of it meanwhile.
        chat.ranker._box.turn(1)
        assert opened.above > 0


async def test_the_text_of_an_opened_reply_is_seen_however_late_its_lane_gets_room(open_chat: Open) -> None:
    async with open_chat(size=(100, 14), script=words(*[3] * 9), settings=Settings(alternatives=8)) as chat:
        await chat.send("hello")
        await chat.compare()
        opened = chat.ranker.lanes[1]
        for lane in chat.ranker.lanes:
            lane.call_later(asyncio.sleep, 0.5)  # busy, so that the screen hears late of its new height
        chat.press_at_once("down", "pagedown")
        await chat.until(lambda: opened.region.height > 1)
        await chat.until(lambda: opened.text in chat.shown())


def test_lines_that_the_open_reply_does_not_need_go_to_the_others() -> None:
    assert stacked_heights([1, 10, 30], 20, 0) == [2, 9, 9]
    assert stacked_heights([1, 3, 30, 30], 20, 0) == [2, 4, 7, 7]
    assert stacked_heights([30, 1, 3, 30], 20, 0) == [12, 2, 3, 3]


def test_a_stack_of_many_folds_further() -> None:
    assert stacked_heights([30] * 9, 17, 3) == [1, 1, 1, 9, 1, 1, 1, 1, 1]
    assert stacked_heights([30] * 4, 7, 3) == [1, 1, 1, 4]
    assert stacked_heights([30] * 9, 5, 0) == [2, 1, 1, 1, 1, 1, 1, 1, 1]  # scrolled
    assert stacked_heights([30] * 5, 14, 0) == [6, 2, 2, 2, 2]


def test_lanes_stand_side_by_side_only_where_all_rows_fit() -> None:
    assert side_by_side(terminal=120, width=118, available=10, lanes=9)
    assert not side_by_side(terminal=120, width=118, available=9, lanes=9)
    assert not side_by_side(terminal=99, width=97, available=40, lanes=2)


async def test_a_reply_that_was_broken_off_says_so_in_its_lane(open_chat: Open) -> None:
    script = [" ".join(f"{name}{n}" for n in range(9)) for name in NAMES[:3]] + ["delta whole"]
    async with open_chat(
        size=(80, 24), script=script, settings=Settings(sampling=Sampling(max_tokens=5))
    ) as chat:
        await chat.send("hello")
        await chat.compare()
        await chat.until(lambda: chat.shown().count("cut at the limit of max_tokens") == 3)
        assert "delta whole" in chat.shown()
        assert not any(lane.below for lane in chat.ranker.lanes)


async def test_a_reply_that_was_stopped_says_so_in_its_lane(open_chat: Open) -> None:
    async with open_chat(size=(120, 30), script=["word " * 200, *NAMES], pace=0.01) as chat:
        await chat.begin("hello")
        await chat.press("escape")
        await chat.settled()
        await chat.compare()
        await chat.until(lambda: chat.shown().count("stopped here") == 1)


REPLIES_SHOWN = ("alpha one", "bravo two", "charlie three", "delta four")


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
