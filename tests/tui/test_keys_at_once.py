"""Keys pressed in one go on a message: the first acts."""

from __future__ import annotations

import pytest

from chatapp.tui.screens.edit import EditScreen, LineScreen
from chatapp.tui.widgets.message import MessageView

from .conftest import Open


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
