"""The last line says what each key of ranking does now."""

from __future__ import annotations

from chatapp.tui.screens.edit import EditScreen
from chatapp.tui.screens.help import HelpScreen

from .conftest import Chat, Open

LONG = ["\n\n".join(f"{name} {n}" for n in range(30)) for name in ("a", "b", "c", "d")]


async def open_help(chat: Chat) -> str:
    await chat.press("f1")
    await chat.until(lambda: isinstance(chat.app.screen, HelpScreen))
    return "\n".join(str(each.content) for each in chat.app.screen.query("Static"))


async def test_while_one_is_chosen_to_be_edited(open_chat: Open) -> None:
    async with open_chat(size=(80, 24)) as chat:
        await chat.send("hello")
        await chat.compare()
        await chat.press("1", "e")
        await chat.until(lambda: chat.key_line().startswith("1-4 edit  ⌫/Esc cancel  "))
        assert "best" not in chat.key_line() and "later" not in chat.key_line()
        await chat.press("escape")
        await chat.until(lambda: "Best first:  1 › _" in chat.shown())
        assert chat.key_line().startswith("1-4 best")
        await chat.press("e", "backspace")
        await chat.until(lambda: "Best first:  1 › _" in chat.shown())
        await chat.press("e")
        await chat.pilot.click(chat.ranker.lanes[1])
        await chat.until(lambda: isinstance(chat.app.screen, EditScreen))


async def test_a_reply_that_is_still_being_written_cannot_be_edited_yet(open_chat: Open) -> None:
    async with open_chat(script=["short", "tiny", "word " * 40, "brief"]) as chat:
        await chat.send("hello")
        chat.engine._pace = 0.1
        unfinished = await chat.one_unfinished()
        await chat.press("e", str(unfinished.number))
        await chat.until(lambda: f"{unfinished.number} is still being written" in chat.shown())
        assert chat.key_line().startswith("1-4 edit")
        await chat.until(lambda: chat.ranker.all_there)
        await chat.until(lambda: "is still being written" not in chat.shown())
        await chat.press(str(unfinished.number))
        await chat.until(lambda: isinstance(chat.app.screen, EditScreen))


async def test_keys_that_scroll_are_named_where_there_is_more(open_chat: Open) -> None:
    async with open_chat(size=(120, 24), script=LONG) as chat:
        await chat.send("hello")
        await chat.compare()
        await chat.until(lambda: "PgDn more" in chat.key_line())
        assert "PgUp" not in chat.key_line()
        await chat.press("pagedown")
        await chat.until(lambda: "PgDn more  PgUp back" in chat.key_line())
        while chat.ranker.lanes[0].below:
            await chat.press("pagedown")
        await chat.until(lambda: "PgDn" not in chat.key_line() and "PgUp back" in chat.key_line())
        text = await open_help(chat)
        assert "PgDn PgUp\nmore of the replies, and back" in text
        assert "Up Down\nopen another reply" in text


async def test_short_replies_need_no_keys_that_scroll(open_chat: Open) -> None:
    async with open_chat(size=(120, 24)) as chat:
        await chat.send("hello")
        await chat.compare()
        assert "PgDn" not in chat.key_line() and "PgUp" not in chat.key_line()


async def test_at_80_columns_a_stack_names_the_keys_that_open_and_scroll(open_chat: Open) -> None:
    async with open_chat(size=(80, 24), script=LONG) as chat:
        await chat.send("hello")
        await chat.compare()
        await chat.until(lambda: "↑/↓ open  PgDn more" in chat.key_line())
