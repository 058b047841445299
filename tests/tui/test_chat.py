"""Sending, streaming, stopping, walking: the chat as a person uses it."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from textual import events
from textual.command import CommandPalette

from chatapp.core.errors import EngineDied, NotFound
from chatapp.core.paths import find_paths
from chatapp.core.settings import Settings
from chatapp.core.types import Provenance, Sampling
from chatapp.engine.base import Event, ModelInfo, ModelSpec, Request, Started
from chatapp.engine.scripted import ScriptedEngine
from chatapp.session.session import Session
from chatapp.session.wiring import House
from chatapp.tui.app import ChatApp
from chatapp.tui.widgets.message import ENDINGS
from tests.engine.tiny_gguf import make_model

from .conftest import Chat, Open


async def test_a_prompt_is_sent_answered_and_stored(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        assert chat.texts() == ["hello", "alpha one"]
        conversation = chat.store.conversations.latest()
        assert [each.text for each in chat.store.conversations.path(conversation.id)] == [
            "hello",
            "alpha one",
        ]
        await chat.until(lambda: "alpha one" in chat.shown())
        assert chat.screen.composer.text == ""
        assert chat.app.focused is chat.screen.composer


async def test_what_is_sent_into_a_conversation_deleted_meanwhile_stays_in_the_prompt(
    open_chat: Open,
) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        chat.store.conversations.delete(1)
        await chat.write("more")
        await chat.press("enter")
        await chat.until(lambda: "chatapp history restore 1" in chat.shown())
        assert chat.screen.composer.text == "more"
        chat.store.conversations.restore(1)
        assert len(chat.store.conversations.path(1)) == 2


async def test_keys_that_come_faster_than_a_message_are_not_lost(open_chat: Open) -> None:
    async with open_chat() as chat:
        chat.screen.composer.focus()
        await chat.pilot.press(*"one", "enter", *"two", "enter")
        await chat.until(lambda: len(chat.texts()) == 2 and not chat.screen.writing)
        await chat.settled()
        assert [each.text for each in chat.store.conversations.messages(1)] == ["one", "alpha one"]
        assert chat.screen.composer.text == "two"
        await chat.press("enter")
        await chat.until(lambda: len(chat.texts()) == 4)
        await chat.settled()
        await chat.pilot.press(*"/new", "enter", *"abc")
        await chat.until(lambda: chat.texts() == [])
        assert chat.screen.composer.text == "abc"


async def test_what_is_refused_does_not_cost_the_draft(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("first")
        await chat.write("draft")
        await chat.press("ctrl+up")
        chat.screen.composer.insert("/renmae ", (0, 0))
        await chat.press("enter")
        await chat.until(lambda: "there is no command /renmae" in chat.shown())
        assert chat.screen.composer.text == "/renmae first"
        await chat.press("ctrl+down")
        assert chat.screen.composer.text == "draft"


async def test_a_message_that_looks_like_a_command_stays_one_when_it_is_refused(open_chat: Open) -> None:
    async with open_chat(script=["word " * 100]) as chat:
        chat.engine._pace = 0.05
        await chat.begin("hello")
        await chat.write(" /new")
        await chat.press("enter")
        await chat.until(lambda: "still being written" in chat.shown())
        assert chat.screen.composer.text == " /new"
        await chat.press("escape")
        await chat.settled()
        await chat.press("enter")
        await chat.until(lambda: len(chat.texts()) == 4)
        assert chat.texts()[2] == "/new"


async def test_what_is_typed_while_a_prompt_fails_stays_behind_it(
    open_chat: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def begin(*_: object) -> NoReturn:
        asked.set()
        go_on.wait(20)
        raise NotFound("it is gone")

    monkeypatch.setattr(Session, "begin", begin)
    async with open_chat() as chat:
        await chat.write("first")
        await chat.press("enter")
        await chat.until(asked.is_set)
        await chat.write("and more")
        go_on.set()
        await chat.until(lambda: "it is gone" in chat.shown())
        assert chat.screen.composer.text == "first\nand more"


async def test_a_thumb_far_up_is_known(open_chat: Open) -> None:
    async with open_chat() as chat:
        store, parent = chat.store.conversations, None
        conversation = store.create().id
        for number in range(70):
            parent = store.add(conversation, parent, "user", f"q{number}", "typed").id
            parent = store.add(
                conversation, parent, "assistant", f"a{number}", "model", finish_reason="stop"
            ).id
        chat.store.rankings.thumb(2, 1)
        await chat.app.session.do(lambda session: session.open(conversation))
        await chat.screen.show_path()
        assert chat.screen.snapshot.items[1].thumb == 1


async def test_a_paste_is_never_sent(open_chat: Open) -> None:
    async with open_chat() as chat:
        chat.screen.composer.post_message(events.Paste("one\r\ntwo\rthree\n"))
        await chat.until(lambda: chat.screen.composer.text)
        assert chat.screen.composer.text == "one\ntwo\nthree\n"
        assert chat.store.conversations.latest() is None


@pytest.mark.parametrize("key", ["ctrl+j", "shift+enter", "alt+enter"])
async def test_new_line_keys(open_chat: Open, key: str) -> None:
    async with open_chat() as chat:
        await chat.press("a", key, "b")
        assert chat.screen.composer.text == "a\nb"


async def test_every_letter_can_be_typed_into_the_prompt(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("first")
        typed = "reydutxs+-=123?R"
        await chat.press(*typed)
        assert chat.screen.composer.text == typed


async def test_escape_stops_and_keeps_what_came(open_chat: Open) -> None:
    words = " ".join(f"word{n}" for n in range(400))
    async with open_chat(script=[words], pace=0.01) as chat:
        await chat.write("go")
        await chat.press("enter")
        await chat.until(lambda: len(chat.texts()) == 2 and "word3" in chat.texts()[1])
        assert "Esc stop" in chat.key_line()
        await chat.press("escape")
        await chat.until(lambda: not chat.screen.writing)
        await chat.settled()
        reply = chat.store.conversations.path(1)[-1]
        assert reply.finish_reason == "cancelled"
        assert reply.text.startswith("word0 word1") and "word399" not in reply.text
        assert chat.texts()[1] == reply.text
        await chat.until(lambda: "stopped here" in chat.shown())
        assert "Esc stop" not in chat.key_line()


CUT = "cut at the limit of max_tokens; /continue goes on"


def test_how_a_reply_ended_and_goes_on_is_one_line_of_80_columns() -> None:
    assert all(len(f"{each}; /continue goes on") <= 74 for each in ENDINGS.values())


async def test_a_reply_that_was_cut_is_continued_as_another_version(open_chat: Open) -> None:
    words = [f"word{n}" for n in range(8)]
    cut = Settings(sampling=Sampling(max_tokens=3))
    async with open_chat(size=(80, 24), script=[" ".join(words)], settings=cut) as chat:
        await chat.write("/continue")
        await chat.press("enter")
        await chat.until(lambda: "There is no reply to continue yet." in chat.shown())
        await chat.send("go")
        assert chat.texts() == ["go", "word0 word1 word2 "]
        await chat.until(lambda: CUT in chat.lines())
        for came in (6, 8):
            await chat.write("/continue")
            await chat.press("enter")
            await chat.until(lambda came=came: chat.texts()[1].split() == words[:came])
            await chat.settled()
            assert chat.app.focused is chat.screen.composer
        await chat.until(lambda: "3/3" in chat.shown() and "/continue" not in chat.shown())
        assert chat.store.conversations.path(1)[-1].finish_reason == "stop"
        await chat.write("/continue")
        await chat.press("enter")
        await chat.until(lambda: "ended by itself, it was not cut: ask for another one" in chat.shown())
        await chat.settled()
        await chat.press("left", "left")
        await chat.until(lambda: chat.texts() == ["go", "word0 word1 word2 "] and CUT in chat.lines())
        assert len(chat.store.conversations.messages(1)) == 4


async def test_a_reply_that_was_stopped_goes_on_where_it_stands(open_chat: Open) -> None:
    words = " ".join(f"word{n}" for n in range(40))
    async with open_chat(script=[words, "second reply"], pace=0.02) as chat:
        await chat.begin("go")
        await chat.press("escape")
        await chat.settled()
        stopped = chat.texts()[1]
        await chat.send("more")
        seen: list[list[str]] = []
        chat.screen.select(chat.screen.transcript.views[1])
        await chat.press("ctrl+p")
        await chat.until(lambda: isinstance(chat.app.screen, CommandPalette))
        await chat.press(*"continue")
        await chat.until(lambda: "Continue the reply" in chat.shown())
        await chat.press("enter")

        def whole() -> bool:
            if not seen or chat.texts() != seen[-1]:
                seen.append(chat.texts())
            return chat.texts() == ["go", words]

        await chat.until(whole)
        await chat.settled()
        # It never showed less than was there, and what followed is on the other branch.
        assert all(len(each) > 1 and each[1].startswith(stopped) for each in seen)
        await chat.until(lambda: "2 messages follow version 1" in chat.shown())
        await chat.press("left")
        await chat.until(lambda: chat.texts() == ["go", stopped, "more", "second reply"])


async def test_nothing_is_continued_while_a_reply_is_written(open_chat: Open) -> None:
    async with open_chat(script=["word " * 400], pace=0.01) as chat:
        await chat.begin("go")
        await chat.write("/continue")
        await chat.press("enter")
        await chat.until(lambda: "A reply is still being written. Esc stops it." in chat.shown())
        await chat.press("escape")
        await chat.settled()
        assert len(chat.store.conversations.messages(1)) == 2
        await chat.until(lambda: "stopped here; /continue goes on" in chat.shown())
        # The engine ends before anything follows: the old version stands.
        chat.engine.fail_after(0)
        await chat.write("/continue")
        await chat.press("enter")
        await chat.until(lambda: "SIGKILL" in chat.shown())
        await chat.settled()
        assert chat.texts() == [each.text for each in chat.store.conversations.path(1)]
        assert len(chat.store.conversations.messages(1)) == 2


async def test_escape_right_after_enter_is_not_lost(open_chat: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    pressed = asyncio.Event()
    async with open_chat() as chat:
        show_path = chat.screen.show_path

        async def after_escape() -> None:
            await pressed.wait()
            await show_path()

        monkeypatch.setattr(chat.screen, "show_path", after_escape)
        await chat.write("go")
        await chat.press("enter")
        await chat.until(lambda: chat.store.conversations.latest() and "Esc stop" in chat.key_line())
        await chat.press("escape")
        pressed.set()
        await chat.settled()
        assert [each.text for each in chat.store.conversations.messages(1)] == ["go"]


async def test_ctrl_c_interrupts_and_never_quits(open_chat: Open) -> None:
    words = " ".join(f"word{n}" for n in range(400))
    async with open_chat(script=[words], pace=0.01) as chat:
        await chat.write("go")
        await chat.press("enter")
        await chat.until(lambda: len(chat.texts()) == 2 and "word3" in chat.texts()[1])
        await chat.press("ctrl+c")
        await chat.until(lambda: not chat.screen.writing)
        await chat.settled()
        assert chat.store.conversations.path(1)[-1].finish_reason == "cancelled"
        await chat.press("ctrl+c")
        await chat.until(lambda: "Ctrl+Q quits" in chat.shown())
        assert chat.app.is_running


async def test_ctrl_c_copies_the_selection_in_the_prompt(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.write("copy me")
        chat.screen.composer.select_all()
        await chat.press("ctrl+c")
        assert chat.app.clipboard == "copy me"
        assert "Ctrl+Q" not in chat.shown()


async def test_prompt_is_kept_while_a_reply_is_being_written(open_chat: Open) -> None:
    words = " ".join(f"word{n}" for n in range(400))
    async with open_chat(script=[words], pace=0.01) as chat:
        await chat.begin("go")
        await chat.write("next")
        await chat.press("enter")
        assert chat.screen.composer.text == "next"
        await chat.until(lambda: "Esc stops it" in chat.shown())
        await chat.press("escape")
        await chat.settled()
        await chat.until(lambda: "Esc stops it" not in chat.shown())


async def test_the_place_of_a_reply_is_there_before_its_first_word(
    open_chat: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = threading.Event()
    async with open_chat() as chat:
        generate = chat.engine.generate

        def slow(request: Request) -> Iterator[Event]:
            reading.wait(30)
            yield from generate(request)

        monkeypatch.setattr(chat.engine, "generate", slow)
        await chat.write("go")
        await chat.press("enter")
        await chat.until(lambda: re.search(r"Guide +…( \d+ s)? *$", chat.shown(), re.MULTILINE))
        await chat.until(lambda: re.search(r"Guide +… [1-9]\d* s$", chat.shown(), re.MULTILINE))
        reading.set()
        await chat.until(lambda: chat.texts() == ["go", "alpha one"])
        await chat.settled()
        await chat.until(lambda: "…" not in chat.shown() and chat.shown().count("Guide") == 1)


async def test_what_was_said_goes_with_the_next_command(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.write("/theme nope")
        await chat.press("enter")
        await chat.until(lambda: "No theme 'nope'" in chat.shown())
        await chat.write("/rename fruit")
        await chat.press("enter")
        await chat.until(lambda: "fruit" in chat.shown() and "No theme" not in chat.shown())
        await chat.write("/quitt")
        await chat.press("enter")
        await chat.until(lambda: "no command /quitt" in chat.shown())
        await chat.press("backspace")
        await chat.until(lambda: "no command" not in chat.shown())


async def test_an_engine_that_dies_is_one_line_and_the_next_message_works(open_chat: Open) -> None:
    async with open_chat(script=["one two three four five", "well again"]) as chat:
        chat.engine.fail_after(2, EngineDied("the engine was killed"))
        await chat.write("go")
        await chat.press("enter")
        await chat.until(lambda: "the engine was killed" in chat.shown())
        await chat.settled()
        await chat.until(lambda: "send the message again" in chat.shown())
        reply = chat.store.conversations.path(1)[-1]
        assert (reply.text, reply.finish_reason) == ("one two ", "error")
        await chat.until(lambda: "one two" in chat.shown())
        await chat.send("still there?")
        assert chat.texts()[-1] == "well again"


async def test_an_engine_that_dies_before_the_first_word(open_chat: Open) -> None:
    async with open_chat() as chat:
        chat.engine.fail_after(0)
        await chat.write("go")
        await chat.press("enter")
        await chat.until(lambda: "SIGKILL" in chat.shown())
        await chat.settled()
        await chat.press("ctrl+r")
        await chat.until(lambda: chat.texts() == ["go", "bravo two"])
        await chat.settled()


async def test_own_prompts_come_back_with_ctrl_up(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("first")
        await chat.send("second")
        await chat.write("draft")
        await chat.press("ctrl+up")
        assert chat.screen.composer.text == "second"
        await chat.press("ctrl+up")
        assert chat.screen.composer.text == "first"
        await chat.press("ctrl+down", "ctrl+down")
        assert chat.screen.composer.text == "draft"


async def test_a_recalled_prompt_comes_back_as_it_was_changed(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("first")
        await chat.send("second")
        await chat.write("draft")
        await chat.press("ctrl+up", "!", "ctrl+up")
        assert chat.screen.composer.text == "first"
        await chat.press("ctrl+down")
        assert chat.screen.composer.text == "second!"
        await chat.press("ctrl+down")
        assert chat.screen.composer.text == "draft"
        await chat.press("enter")
        await chat.until(lambda: chat.texts()[-2] == "draft")
        await chat.settled()
        await chat.press("ctrl+up", "ctrl+up")
        assert chat.screen.composer.text == "second"


async def test_arrows_move_the_cursor_in_a_text(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("first")
        await chat.write("ab\ncd")
        await chat.press("up", "left", "x")
        assert chat.screen.composer.text == "axb\ncd"
        await chat.press("right", "y", "down", "z")
        assert chat.screen.composer.text == "axby\ncdz"
        assert chat.screen.selected is None


async def test_selecting_and_going_back(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("first")
        await chat.press("up")
        assert chat.screen.selected.text == "alpha one"
        assert "+/- thumb" in chat.key_line()
        await chat.press("up")
        assert chat.screen.selected.text == "first"
        await chat.press("escape")
        assert chat.app.focused is chat.screen.composer
        await chat.press("up", "h", "i")
        assert chat.screen.composer.text == "hi"


async def test_thumbs(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("first")
        reply = chat.store.conversations.path(1)[-1].id
        await chat.press("up", "plus")
        await chat.until(lambda: chat.store.rankings.thumb_of(reply) == 1)
        await chat.press("minus")
        await chat.until(lambda: chat.store.rankings.thumb_of(reply) == -1)
        await chat.until(lambda: "−1" in chat.shown())
        await chat.press("u")
        await chat.until(lambda: chat.store.rankings.thumb_of(reply) == 1)


async def test_copy_delete_and_undo(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("first")
        await chat.press("up", "y")
        assert chat.app.clipboard == "alpha one"
        await chat.press("d")
        await chat.until(lambda: chat.texts() == ["first"])
        await chat.press("u")
        await chat.until(lambda: chat.texts() == ["first", "alpha one"])


async def test_up_selects_the_prompt_whose_only_reply_was_deleted(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("first")
        await chat.press("up", "d")
        await chat.until(lambda: chat.texts() == ["first"] and "↑ select" in chat.key_line())
        await chat.press("up")
        assert chat.screen.selected is chat.screen.transcript.views[-1]


async def test_walking_from_a_reply_that_was_deleted_a_moment_ago(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("first")
        reply = chat.screen.transcript.last_reply
        chat.store.conversations.delete_message(reply.message.id)
        await chat.screen.walk(reply, -1)
        await chat.until(lambda: chat.texts() == ["first"])


async def test_editing_ones_own_message_makes_a_branch_and_sends_it(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("first")
        await chat.press("up", "up", "e")
        await chat.until(lambda: len(chat.app.screen_stack) == 3)
        await chat.press(*" again", "enter")
        await chat.until(lambda: chat.texts() == ["first again", "bravo two"])
        await chat.settled()
        await chat.until(lambda: "1 reply on other branches" in chat.shown())
        await chat.press("up", "up", "left")
        await chat.until(lambda: chat.texts() == ["first", "alpha one"])


async def test_nothing_is_edited_while_a_reply_is_being_written(open_chat: Open) -> None:
    words = " ".join(f"word{n}" for n in range(400))
    async with open_chat(script=[words], pace=0.01) as chat:
        await chat.begin("go")
        await chat.press("up", "up", "e")
        await chat.until(lambda: "Esc stops it" in chat.shown())
        assert chat.app.screen is chat.screen
        await chat.press("escape")
        await chat.settled()


async def test_an_edit_that_cannot_be_stored_comes_back_in_the_prompt(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("first")
        await chat.send("second")
        await chat.press("up", "up", "e")
        await chat.until(lambda: len(chat.app.screen_stack) == 3)
        above = chat.store.conversations.path(1)[1].id
        chat.store.conversations.delete_message(above)
        await chat.press("!", "enter")
        await chat.until(lambda: f"message {above} was deleted" in chat.shown())
        assert chat.screen.composer.text == "second!"


async def test_editing_a_reply_is_a_demonstration(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("first")
        await chat.press("up", "e")
        await chat.until(lambda: len(chat.app.screen_stack) == 3)
        await chat.press("!", "enter")
        await chat.until(lambda: chat.texts() == ["first", "alpha one!"])
        (demonstration,) = chat.store.rankings.demonstrations()
        assert chat.store.conversations.message(demonstration.reply).origin == "edit"
        await chat.settled()
        await chat.press("u")
        await chat.until(lambda: chat.texts() == ["first", "alpha one"])
        assert chat.store.rankings.demonstrations() == []


async def test_first_message_and_resume(open_chat: Open) -> None:
    async with open_chat(first_message="from the shell") as chat:
        await chat.until(lambda: chat.texts() == ["from the shell", "alpha one"])
        await chat.settled()
    async with open_chat(resume="last") as chat:
        assert chat.texts() == ["from the shell", "alpha one"]
    async with open_chat(resume=1) as chat:
        assert chat.texts() == ["from the shell", "alpha one"]
    async with open_chat(resume=99) as chat:
        await chat.until(lambda: "no conversation 99" in chat.shown().lower())


@pytest.mark.parametrize(("text", "kept"), [("a secret", "a secret"), ("/new", " /new")])
async def test_nothing_else_answers_the_first_message(open_chat: Open, text: str, kept: str) -> None:
    async with open_chat(settings=Settings(adapter="r9"), first_message=text) as chat:
        await chat.until(lambda: "no adapter 'r9'" in chat.shown())
        assert (chat.screen.composer.text, chat.texts(), chat.engine.requests) == (kept, [], [])
        await chat.press("enter")
        await chat.until(lambda: chat.texts() == [text, "alpha one"])
        await chat.settled()


async def test_closing_while_a_reply_is_being_written_seals_it(open_chat: Open) -> None:
    words = " ".join(f"word{n}" for n in range(400))
    async with open_chat(script=[words], pace=0.01) as chat:
        await chat.write("go")
        await chat.press("enter")
        await chat.until(lambda: len(chat.texts()) == 2 and "word3" in chat.texts()[1])
        await chat.press("ctrl+q")
        await chat.until(lambda: not chat.app.is_running)
    async with open_chat(resume="last") as chat:
        reply = chat.store.conversations.path(1)[-1]
        assert reply.finish_reason == "cancelled"
        assert reply.text.startswith("word0 word1 word2 word3")


async def test_new_conversation_keeps_the_old_one(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("first")
        await chat.press("ctrl+n")
        await chat.until(lambda: chat.texts() == [])
        await chat.until(lambda: "A new conversation. ^S finds the earlier ones." in chat.shown())
        await chat.send("other")
        assert [each.title for each in chat.store.conversations.list()] == ["other", "first"]


async def test_a_click_selects_and_arrows_walk(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("first")
        await chat.rank("escape")
        reply = chat.screen.transcript.last_reply
        await chat.pilot.click(reply)
        assert chat.screen.selected is reply
        heading = reply.heading.render().plain
        assert "◂ 1/4 ▸" in heading
        await chat.pilot.click(reply.heading, offset=(heading.index("▸"), 0))
        await chat.until(lambda: "◂ 2/4 ▸" in chat.shown())


def test_what_cannot_be_used_is_left_out_and_no_more(tmp_path: Path) -> None:
    paths = find_paths({"CHATAPP_HOME": str(tmp_path)})
    other = str(make_model(tmp_path / "other.gguf"))
    for settings, kept in (
        (Settings(model=other, adapter="r9"), other),
        (Settings(model="gone"), "guide"),
    ):
        with House(paths, settings) as house:
            chat_app = ChatApp(house)
            session = chat_app._make_session()
            assert isinstance(chat_app.problem, NotFound)
            assert (session.spec, session.adapter) == (house.spec(kept), None)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(model="gone"), "no model 'gone': guide answers instead; `chatapp models list`"),
        (
            Settings(adapter="r9"),
            "there is no adapter 'r9': guide answers without an adapter; `chatapp train`",
        ),
    ],
)
async def test_it_says_who_answers_where_the_settings_name_what_is_not_there(
    tmp_path: Path, settings: Settings, said: str
) -> None:
    go_on = threading.Event()

    class Slow(ScriptedEngine):
        def load(self, spec: ModelSpec, progress: Callable[[float], None] | None = None) -> ModelInfo:
            go_on.wait(20)
            return super().load(spec, progress)

    with House(find_paths({"CHATAPP_HOME": str(tmp_path)}), settings) as house:
        house._engine = Slow(["alpha"], pace=0)  # not given: models are looked up
        app = ChatApp(house)
        async with app.run_test(size=(100, 30)) as pilot:
            chat = Chat(pilot, app, house, house._engine)
            await chat.until(lambda: said in " ".join(chat.shown().split()))
            await chat.until(lambda: "guide · loading" in chat.shown().splitlines()[0])
            go_on.set()
            await chat.until(lambda: "loading" not in chat.shown())
            assert said in " ".join(chat.shown().split())
            assert "gone" not in chat.screen.status.model


async def test_the_context_is_full_where_the_first_message_was_dropped(
    open_chat: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.until(lambda: "ctx ▱▱▱▱▱ 0%" in chat.shown())
        generate = chat.engine.generate

        def dropping(request: Request) -> Iterator[Event]:
            for event in generate(request):
                yield replace(event, dropped_turns=1) if isinstance(event, Started) else event

        monkeypatch.setattr(chat.engine, "generate", dropping)
        await chat.send("and now?")
        await chat.until(lambda: "The first message no longer fits into the context." in chat.lines())
        await chat.until(lambda: "ctx ▰▰▰▰▰ 100%" in chat.shown())


async def test_the_context_is_counted_anew_for_another_model(open_chat: Open) -> None:
    async with open_chat() as chat:
        store = chat.store.conversations
        conversation = store.create(title="other").id
        prompt = store.add(conversation, None, "user", "word " * 1000, "typed")
        written_by = Provenance("other", model_sha256="0" * 64, prompt_tokens=9, completion_tokens=1)
        reply = store.begin_reply(conversation, prompt.id, written_by, activate=True)
        store.finish(reply.id, "word " * 18, "stop", written_by)
        n_ctx = chat.engine.info.n_ctx
    async with open_chat(resume=conversation) as chat:
        await chat.until(lambda: f"{(1018 + 6) / n_ctx:.0%}" in chat.shown().splitlines()[0])


@pytest.mark.parametrize("selected", [False, True])
async def test_the_heading_of_a_version_is_seen_however_long_it_is(open_chat: Open, selected: bool) -> None:
    script = [
        f"{name}\n\n" + "\n\n".join(f"{name} {n}" for n in range(30)) for name in ("one", "two", "three")
    ]
    async with open_chat(size=(80, 24), script=[*script, "four"], settings=Settings(alternatives=3)) as chat:
        await chat.send("hello")
        await chat.compare()
        await chat.press("escape")
        await chat.ranked()
        if selected:
            await chat.press("up")
        for place in (2, 3, 4, 1, 2):
            await chat.press("right")
            await chat.until(lambda place=place: f"◂ {place}/4 ▸" in chat.shown())
            await chat.pilot.pause(0.2)
            assert f"◂ {place}/4 ▸" in chat.shown()


async def test_versions_are_offered_once_the_reply_is_complete(open_chat: Open) -> None:
    async with open_chat(script=["one", "two", "three", "four", "word " * 100], pace=0.01) as chat:
        await chat.send("hello")
        await chat.rank("1", "2", "3")
        await chat.press("escape")
        assert "versions" in chat.key_line()
        await chat.write("again")
        await chat.press("enter")
        await chat.until(lambda: chat.screen.writing and chat.texts()[-1].startswith("word"))
        assert "versions" not in chat.key_line() and "select" in chat.key_line()
        await chat.press("escape")
        await chat.settled()


@pytest.mark.parametrize(("width", "cells"), [(99, 24), (100, 40)])
async def test_the_first_line_is_narrow_below_100_columns(open_chat: Open, width: int, cells: int) -> None:
    async with open_chat(size=(width, 30)) as chat:
        chat.screen.status.model = "m" * 60
        await chat.pilot.pause()
        await chat.until(lambda: "m" * (cells - 1) + "…" in chat.shown().splitlines()[0])
        assert "m" * cells not in chat.shown().splitlines()[0]
