"""A long prompt while its replies are ranked: what is cut says so, and a key shows all of it."""

from __future__ import annotations

import pytest
from textual.content import Content

from chatapp.core.settings import Settings
from chatapp.session.rank_queue import RankRequest
from chatapp.tui.screens.prompt import PromptScreen
from chatapp.tui.widgets.question import Question, excerpt
from chatapp.tui.widgets.ranker import Ranker

from .conftest import Open

LONG = "\n".join(f"line {number} of it" for number in range(100))


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 36), (200, 50)])
async def test_a_long_prompt_is_cut_with_a_mark_and_shown_whole_by_a_key(
    open_chat: Open, size: tuple[int, int]
) -> None:
    async with open_chat(size=size) as chat:
        await chat.send(LONG)
        await chat.compare()
        await chat.until(lambda: "more lines, p shows all" in chat.shown())
        assert "line 0" in chat.shown()
        if size[1] >= 24:
            assert "line 99 of it" in chat.shown()
        if size[0] >= 80:
            assert "p prompt" in chat.key_line()
        await chat.press("p")
        await chat.until(lambda: isinstance(chat.app.screen, PromptScreen))
        await chat.until(lambda: "↑/↓ scroll" in chat.key_line() and "Esc close" in chat.key_line())
        for _ in range(10):
            await chat.press("pagedown")
        await chat.until(lambda: "line 99 of it" in chat.shown())
        await chat.press("escape")
        await chat.press("2", "1", "3")
        await chat.ranked()
        assert len(chat.store.rankings.list()) == 1


async def test_a_short_prompt_has_no_mark_and_no_key(open_chat: Open) -> None:
    async with open_chat(size=(80, 24)) as chat:
        await chat.send("one\ntwo\nthree")
        await chat.compare()
        await chat.until(lambda: {"one", "two", "three"} <= chat.lines())
        assert "more line" not in chat.shown() and "p prompt" not in chat.key_line()
        await chat.pilot.resize_terminal(80, 16)
        await chat.until(lambda: "… 2 more lines, p shows all" in chat.shown())
        assert "p prompt" in chat.key_line()
        await chat.pilot.resize_terminal(80, 24)
        await chat.until(lambda: {"one", "two", "three"} <= chat.lines())


async def test_a_prompt_stays_narrow_in_a_wide_terminal(open_chat: Open) -> None:
    async with open_chat(size=(200, 50)) as chat:
        await chat.send("word " * 100)
        await chat.compare()
        assert chat.ranker.query_one(Question).content_size.width == 100


def test_excerpts() -> None:
    lines = [Content(each) for each in ("one", "two", "three", "four")]

    def shown(room: int) -> list[str]:
        return [each.plain for each in excerpt(lines, room, 40)]

    assert shown(4) == ["one", "two", "three", "four"]
    assert shown(3) == ["one", "… 2 more lines, p shows all", "four"]
    assert shown(2) == ["one", "… 3 more lines, p shows all"]
    assert shown(1) == ["one … 3 more lines, p shows all"]
    (only,) = excerpt([Content("x" * 40), Content("y")], 1, 40)
    assert only.cell_length == 40 and only.plain.endswith("x … 1 more line, p shows all")


async def test_the_conversation_before_a_prompt_is_shown_by_a_key(open_chat: Open) -> None:
    async with open_chat(size=(100, 30), settings=Settings(system="Answer in [rhyme].")) as chat:
        await chat.send("Where do we meet?")
        await chat.send("At four or at five?")
        await chat.compare()
        assert "Answer in" not in chat.shown() and "p prompt" in chat.key_line()
        await chat.press("p")
        told = {"Answer in [rhyme].", "Where do we meet?", "alpha one", "At four or at five?"}
        await chat.until(lambda: told <= {line.strip(" │┃▌") for line in chat.shown().splitlines()})
        shown = [chat.shown().rindex(each) for each in ("[rhyme]", "do we meet", "alpha one", "at five")]
        assert shown == sorted(shown)


async def test_a_long_conversation_before_a_prompt_is_above_it(open_chat: Open) -> None:
    async with open_chat(size=(80, 24)) as chat:
        await chat.send(LONG)
        await chat.send("At four or at five?")
    async with open_chat(size=(80, 24), rank=RankRequest(k=3, pick="recent")) as chat:
        await chat.until(lambda: chat.app.screen.query(Ranker))
        await chat.until(lambda: "At four or at five?" in chat.shown() and "p prompt" in chat.key_line())
        await chat.press("p")
        await chat.until(lambda: "line 99 of it" in chat.shown() and "At four or at five?" in chat.shown())
        for _ in range(12):
            await chat.press("pageup")
        await chat.until(lambda: "line 0 of it" in chat.shown())
