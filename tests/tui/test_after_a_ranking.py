"""What the keys do right after a ranking: undo, tags, versions, the next message."""

from __future__ import annotations

import asyncio

import pytest
from textual import events

from chatapp.tui.screens.edit import LineScreen
from chatapp.tui.widgets.notice import Notice
from chatapp.tui.widgets.surplus import SurplusDigit

from .conftest import Open, only_ranking


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


async def test_tags_are_asked_for_again_while_the_last_are_being_shown(
    open_chat: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.rank("1", "2", "3")
        shown = asyncio.Event()
        show_path = chat.screen.show_path

        async def late() -> None:
            await shown.wait()
            await show_path()

        monkeypatch.setattr(chat.screen, "show_path", late)
        for tag in ("tone", ", short"):
            await chat.screen.ask("tags")
            await chat.until(lambda: isinstance(chat.app.screen, LineScreen))
            await chat.press(*tag, "enter")
            await chat.until(lambda tag=tag: tag[-4:] in "".join(only_ranking(chat).tags))
        shown.set()
        await chat.until(lambda: "Tagged: tone, short." in chat.shown())
        assert only_ranking(chat).tags == ("tone", "short")
