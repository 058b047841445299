"""Whatever a model or a person writes is shown, and does nothing."""

from __future__ import annotations

import pytest
from textual import events
from textual.widgets import Input

from chatapp.tui.screens.chats import ChatsScreen
from chatapp.tui.screens.edit import EditScreen, LineScreen
from chatapp.tui.screens.link import LinkScreen
from chatapp.tui.widgets.composer import Composer

from .conftest import Open

ESCAPES = "\x1b[31mred\x1b]8;;http://evil\x07link\x1b]8;;\x07 \x1b]52;c;ZXZpbA==\x07 \x9b2J \u202egnp.exe"
HOSTILE = [
    "[/red] [bold]x[/] [[ ]] [@click=app.quit]q[/]",
    "[/",
    ESCAPES,
    "```python\nnever closed [/red]\n" + "x = 1\n" * 60,
    "| a | b |\n| --- | --- |\n| [/red] | [bold] |\n| `[/` | x |",
    "<script>alert(1)</script> <b>html</b>",
    "\ud800 lone surrogate".encode("utf-8", "replace").decode(),
    "# [/red]\n\n> [/\n\n1. [/x]\n\n- [x](javascript:alert(1))\n\n![img](file:///etc/passwd)",
    "a" * 5000,
    "e\u0301" * 200 + "👩‍👩‍👧‍👦" * 20,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_replies_prompts_and_titles(open_chat: Open, text: str) -> None:
    async with open_chat(script=[text, text + " again", text + " more", text + " last"]) as chat:
        await chat.send(text)
        stored = chat.store.conversations.path(1)
        assert stored[-1].text == text
        await chat.press("up", "down", "up", "up")
        shown = chat.shown()
        assert not any((ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 or c == "\u202e" for c in shown)
        await chat.rank("1", "2", "3")
        await chat.press("ctrl+s")
        await chat.until(lambda: isinstance(chat.app.screen, ChatsScreen) and chat.app.screen._found)
        await chat.press("escape")
        chat.store.conversations.rename(1, text)
        await chat.screen.show_path()
        await chat.pilot.pause()
        assert chat.app.is_running


def steers(shown: str) -> bool:
    """Whether a character is on the screen that a terminal could obey."""
    return any((ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2028" for c in shown)


EDITED = "one \x1b]0;HACKED\x07 two\x0c three \u202egnp.exe \u2028 \x9b2J"


async def test_every_editor_shows_and_does_nothing(open_chat: Open) -> None:
    async with open_chat(script=[EDITED, "more"]) as chat:
        chat.screen.composer.post_message(events.Paste(EDITED))
        await chat.until(lambda: "␛]0;HACKED␇" in chat.shown())
        assert not steers(chat.shown())
        await chat.send("")
        stored = chat.store.conversations.path(1)
        assert stored[-1].text == EDITED
        await chat.press("ctrl+up")
        assert "> one ␛]0;HACKED␇" in chat.shown() and not steers(chat.shown())
        chat.screen.composer.clear()
        await chat.press("up", "e")
        await chat.until(lambda: isinstance(chat.app.screen, EditScreen))
        await chat.until(lambda: "␛]0;HACKED␇" in chat.app.screen.query_one(Composer).render_line(0).text)
        assert not steers(chat.shown())
        await chat.press("enter")
        await chat.until(lambda: not isinstance(chat.app.screen, EditScreen))
        await chat.settled()
        assert chat.store.rankings.demonstrations() == []
        assert [each.id for each in chat.store.conversations.path(1)] == [each.id for each in stored]


async def test_a_line_shows_and_does_nothing(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.app.push_screen(LineScreen("Rename", "a\x1b]0;HACKED\x07\u202eb"))
        await chat.until(lambda: "a␛]0;HACKED␇�b" in chat.shown())
        assert not steers(chat.shown())


async def test_html_and_markup_stay_visible(open_chat: Open) -> None:
    async with open_chat(script=["<b>bold</b> and [red]markup[/red] [/"]) as chat:
        await chat.send("hello [/")
        await chat.until(lambda: "<b>bold</b> and [red]markup[/red] [/" in chat.shown())
        await chat.until(lambda: "hello [/" in chat.shown())


async def test_an_open_fence_is_shown_after_the_end(open_chat: Open) -> None:
    async with open_chat(script=["text\n\n```python\nprint('inside')\n"]) as chat:
        await chat.send("hello")
        await chat.until(lambda: "print('inside')" in chat.shown())


async def test_line_breaks_of_a_reply_are_kept(open_chat: Open) -> None:
    async with open_chat(script=["first line\nsecond line"]) as chat:
        await chat.send("hello")
        await chat.until(lambda: {"first line", "second line"} <= chat.lines())


async def test_a_link_asks_before_it_opens(open_chat: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    async with open_chat(script=["see [here](https://example.org/x)"]) as chat:
        monkeypatch.setattr(chat.app, "open_url", lambda url, **_: opened.append(url))
        await chat.send("hello")
        paragraph = chat.screen.transcript.last_reply.query("MarkdownParagraph").first()
        await chat.pilot.click(paragraph, offset=(5, 0))
        await chat.until(lambda: isinstance(chat.app.screen, LinkScreen))
        await chat.until(lambda: "https://example.org/x" in chat.shown())
        assert opened == []
        await chat.press("o")
        assert opened == ["https://example.org/x"]


async def test_a_link_that_is_no_web_address_cannot_be_opened(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.app.push_screen(LinkScreen("file:///etc/passwd"))
        await chat.pilot.pause()
        assert "browser" not in chat.key_line()


async def test_search_with_quotes_and_signs(open_chat: Open) -> None:
    async with open_chat(script=['say "cheese" AND (smile'] * 2) as chat:
        await chat.send("camera")
        await chat.press("ctrl+s")
        await chat.until(lambda: isinstance(chat.app.screen, ChatsScreen))
        screen = chat.app.screen
        assert isinstance(screen, ChatsScreen)
        found = {'"chee': 1, "*": 0, "(": 1, "[/": 0, "AND": 1, '"*': 0}
        for text, number in found.items():
            screen.query_one(Input).value = text
            await chat.drained()
            await chat.until(lambda: not any(each.group == "look" for each in chat.app.workers))
            assert (text, len(screen._found)) == (text, number)


TYPED = "می\u200cخواهم👩\u200d💻日\u3000本10\u00a0km\u00ad."


async def test_what_a_key_writes_is_not_lost(open_chat: Open) -> None:
    async with open_chat() as chat:
        chat.press_at_once(*TYPED, "enter")
        await chat.until(lambda: len(chat.texts()) == 2)
        await chat.settled()
        assert chat.store.conversations.path(1)[0].text == TYPED
        await chat.press("up", "up", "e")
        await chat.until(lambda: isinstance(chat.app.screen, EditScreen) and chat.app.screen.focused)
        chat.press_at_once("\u3000", "a", "\u200c", "b", "enter")
        await chat.until(lambda: len(chat.store.conversations.messages(1)) == 4)
        await chat.settled()
        assert chat.store.conversations.path(1)[0].text == TYPED + "\u3000a\u200cb"
        await chat.press("ctrl+s")
        await chat.until(lambda: isinstance(chat.app.screen, ChatsScreen) and chat.app.screen._found)
        chat.press_at_once(*TYPED)
        await chat.drained()
        assert chat.app.screen.query_one(Input).value == TYPED
        assert not steers(chat.shown())


async def test_a_key_that_could_disguise_text_writes_nothing(open_chat: Open) -> None:
    async with open_chat() as chat:
        chat.press_at_once(*"a\u202e\u2028\u0085b")
        await chat.drained()
        assert chat.screen.composer.text == "ab"


async def test_a_joiner_typed_over_a_message_goes_to_the_prompt(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        chat.press_at_once("up", "\u200c", "a")
        await chat.until(lambda: chat.screen.composer.text.endswith("a"))
        assert chat.screen.composer.text == "\u200ca"
