"""How the replies of a ranking share the screen, and how one gets to see all of each."""

from __future__ import annotations

from textual.events import MouseScrollDown

from .conftest import Chat, Open


def words(*counts: int) -> list[str]:
    """Replies of so many words."""
    return [
        " ".join(f"{name}{n}" for n in range(count))
        for name, count in zip(("alpha", "bravo", "charlie", "delta"), counts, strict=False)
    ]


def offsets(chat: Chat) -> list[int]:
    return [round(lane.scroll_y) for lane in chat.ranker.lanes]


async def test_lanes_of_different_length_scroll_together_and_come_to_rest(open_chat: Open) -> None:
    async with open_chat(size=(120, 20), script=words(90, 260, 150, 200)) as chat:
        await chat.send("hello")
        await chat.compare()
        await chat.until(lambda: "more" in chat.shown())
        lanes = chat.ranker.lanes
        ends = [lane.max_scroll_y for lane in lanes]
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


async def test_the_wheel_scrolls_all_lanes_that_stand_side_by_side(open_chat: Open) -> None:
    async with open_chat(size=(120, 20), script=words(90, 260, 150, 200)) as chat:
        await chat.send("hello")
        await chat.compare()
        await chat.until(lambda: "more" in chat.shown())
        await chat.pilot._post_mouse_events([MouseScrollDown], chat.ranker.lanes[2], button=0)
        await chat.until(lambda: set(offsets(chat)) == {2})
