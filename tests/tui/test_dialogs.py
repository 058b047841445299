"""The dialogs and the commands: conversations, models, system prompt, palette, slash commands."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input

from chatapp.core.errors import UsageError
from chatapp.core.settings import Settings, load_settings
from chatapp.tui.commands import COMMANDS, matching, parse
from chatapp.tui.screens.chats import ChatsScreen, Found
from chatapp.tui.screens.edit import EditScreen, LineScreen
from chatapp.tui.screens.help import HelpScreen
from chatapp.tui.screens.models import ModelsScreen
from chatapp.tui.widgets.composer import Composer
from tests.engine.tiny_gguf import make_model

from .conftest import Chat, Open


async def conversations(chat: Chat, count: int | None = None) -> ChatsScreen:
    await chat.press("ctrl+s")
    await chat.until(lambda: isinstance(chat.app.screen, ChatsScreen))
    screen = chat.app.screen
    assert isinstance(screen, ChatsScreen)
    await chat.until(lambda: count is None or len(screen._found) == count)
    await chat.pilot.pause()
    return screen


async def test_open_another_conversation(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("apples")
        await chat.press("ctrl+n")
        await chat.send("pears")
        await conversations(chat, 2)
        await chat.press("down", "enter")
        await chat.until(lambda: chat.texts() == ["apples", "alpha one"])


async def test_search_looks_into_titles_and_text(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("apples")
        await chat.press("ctrl+n")
        await chat.send("pears")
        screen = await conversations(chat, 2)
        screen.query_one(Input).value = "alpha"
        await chat.until(lambda: [each.conversation.title for each in screen._found] == ["apples"])
        await chat.until(lambda: "alpha one" in chat.shown())
        screen.query_one(Input).value = "pear"
        await chat.until(lambda: [each.conversation.title for each in screen._found] == ["pears"])
        screen.query_one(Input).value = "plums"
        await chat.until(lambda: "Nothing found." in chat.shown())
        line = screen.query_one(Input).region
        await chat.until(lambda: screen.query_one(".empty").region.y <= line.bottom + 1)


async def test_rename_delete_and_undo(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("apples")
        screen = await conversations(chat, 1)
        await chat.press("f2")
        await chat.until(lambda: isinstance(chat.app.screen, LineScreen))
        chat.app.screen.query_one(Input).value = "fruit"
        await chat.press("enter")
        await chat.until(lambda: chat.store.conversations.get(1).title == "fruit")
        await chat.until(lambda: chat.app.screen is screen)
        await chat.press("ctrl+d")
        await chat.until(lambda: chat.store.conversations.list() == [])
        await chat.until(lambda: "undo" in chat.key_line())
        await chat.press("ctrl+u")
        await chat.until(lambda: [each.title for each in chat.store.conversations.list()] == ["fruit"])
        await chat.press("escape")
        await chat.until(lambda: "fruit" in chat.shown())


async def test_a_title_that_was_not_saved_stands_in_the_next_dialog(open_chat: Open) -> None:
    async def rename(*keys: str) -> str:
        """The line as it was when the dialog opened."""
        await chat.press("f2")
        await chat.until(lambda: isinstance(chat.app.screen, LineScreen) and chat.app.screen.focused)
        shown = chat.app.screen.query_one(Input).value
        await chat.press(*keys)
        await chat.until(lambda: isinstance(chat.app.screen, ChatsScreen))
        return shown

    async with open_chat() as chat:
        await chat.send("apples")
        await conversations(chat, 1)
        assert await rename(*"12", "escape") == "apples"
        assert chat.store.conversations.get(1).title == "apples"
        await chat.press("escape")
        await chat.until(lambda: chat.app.screen is chat.screen)
        await conversations(chat, 1)
        chat.refuse("conversations")
        assert await rename("3", "enter") == "apples12"
        await chat.until(lambda: "it is full" in chat.shown())
        chat.accept()
        assert await rename("enter") == "apples123"
        await chat.until(lambda: chat.store.conversations.get(1).title == "apples123")
        chat.store.conversations.rename(1, "pears")
        chat.app.screen.look()
        await chat.until(lambda: "pears" in chat.shown())
        assert await rename("escape") == "pears"


async def test_deleting_the_open_conversation_leaves_an_empty_page(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("apples")
        await conversations(chat, 1)
        await chat.press("ctrl+d")
        await chat.until(lambda: chat.store.conversations.list() == [])
        await chat.press("escape")
        await chat.until(lambda: chat.texts() == [])


async def test_a_list_that_is_found_when_its_screen_is_being_taken_down_is_not_shown(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("apples")
        screen = await conversations(chat, 1)

        async def late(_: str) -> list[Found]:
            await screen.remove_children()
            return []

        screen._search = late  # type: ignore[method-assign]
        await screen.look().wait()


async def test_a_deleted_conversation_comes_back_after_the_list_was_left(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("apples")
        await conversations(chat, 1)
        await chat.press("ctrl+d")
        await chat.until(lambda: chat.store.conversations.list() == [])
        await chat.press("escape")
        await chat.until(
            lambda: "Deleted; `chatapp history restore 1` brings it back later.   u undo" in chat.shown()
        )
        await chat.press("u")
        await chat.until(lambda: chat.texts() == ["apples", "alpha one"])
        await chat.press("ctrl+n")
        await chat.send("pears")
        await conversations(chat, 2)
        await chat.press("down", "ctrl+d")
        await chat.until(lambda: len(chat.store.conversations.list()) == 1)
        await chat.press("escape")
        await chat.until(lambda: "u undo" in chat.shown())
        await chat.press("u")
        await chat.until(lambda: len(chat.store.conversations.list()) == 2)
        assert chat.texts()[0] == "pears"


async def test_the_same_conversation_is_deleted_once(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("apples")
        screen = await conversations(chat, 1)
        screen.action_delete()
        screen.action_delete()  # before the list is read anew
        await chat.until(lambda: chat.store.conversations.list() == [])
        await chat.press("ctrl+u")
        await chat.until(lambda: len(chat.store.conversations.list()) == 1)
        await chat.press("escape")
        await chat.until(lambda: chat.app.screen is chat.screen)
        await chat.pilot.pause(0.1)
        assert chat.texts() == ["apples", "alpha one"]
        assert "Deleted" not in chat.shown()


async def two_conversations(chat: Chat) -> ChatsScreen:
    """The list of them; `pears` is the first in it."""
    await chat.send("apples")
    await chat.press("ctrl+n")
    await chat.send("pears")
    return await conversations(chat, 2)


async def test_a_key_right_after_a_search_deletes_what_it_finds(open_chat: Open) -> None:
    async with open_chat() as chat:
        await two_conversations(chat)
        chat.press_at_once(*"apple", "ctrl+d", *"xyz")
        await chat.until(lambda: len(chat.store.conversations.list()) == 1)
        assert chat.store.conversations.latest().title == "pears"
        await chat.until(lambda: "Nothing found." in chat.shown())


async def test_a_key_right_after_a_search_opens_what_it_finds(open_chat: Open) -> None:
    async with open_chat() as chat:
        await two_conversations(chat)
        chat.press_at_once(*"apple", "enter", "enter", "ctrl+d")
        await chat.until(lambda: chat.texts() == ["apples", "alpha one"])
        await chat.until(lambda: chat.app.focused is chat.screen.composer)
        assert len(chat.store.conversations.list()) == 2


async def test_a_key_right_after_a_search_renames_what_it_finds(open_chat: Open) -> None:
    async with open_chat() as chat:
        await two_conversations(chat)
        chat.press_at_once(*"apple", "f2")
        await chat.until(lambda: isinstance(chat.app.screen, LineScreen) and chat.app.screen.query(Input))
        assert chat.app.screen.query_one(Input).value == "apples"
        chat.press_at_once(*" red", "enter", "enter")
        await chat.until(lambda: chat.store.conversations.get(1).title == "apples red")
        assert isinstance(chat.app.screen, ChatsScreen)


async def test_what_is_typed_before_a_line_is_there_is_saved(open_chat: Open) -> None:
    async with open_chat() as chat:
        saved: list[str | None] = []
        line = LineScreen("Rename", "apples")
        chat.app.push_screen(line, saved.append)
        chat.press_at_once(*" red", "enter", "enter")
        await chat.until(lambda: saved)
        assert saved == ["apples red"] and chat.app.screen is chat.screen


async def test_a_click_opens_a_conversation(open_chat: Open) -> None:
    async with open_chat() as chat:
        await two_conversations(chat)
        await chat.pilot.click("OptionList", offset=(4, 1))
        await chat.until(lambda: chat.texts() == ["apples", "alpha one"])
        await chat.until(lambda: chat.app.focused is chat.screen.composer)


async def test_conversations_open_while_a_reply_is_being_written(open_chat: Open) -> None:
    async with open_chat(script=["word " * 300], pace=0.01) as chat:
        await chat.begin("go")
        await conversations(chat, 1)
        assert chat.screen.writing
        await chat.press("escape", "escape")
        await chat.settled()


async def test_system_prompt_reaches_the_engine(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.press("f2")
        await chat.until(lambda: isinstance(chat.app.screen, EditScreen))
        await chat.press("slash", *"new")
        assert "Enter save" in chat.key_line()
        await chat.press(*["backspace"] * 4, *"Be brief", "enter")
        await chat.until(lambda: "system prompt holds" in chat.shown())
        await chat.send("hello")
        assert chat.engine.requests[-1].turns[0].text == "Be brief"
        assert chat.store.conversations.get(1).system == "Be brief"
        chat.refuse("conversations")
        await chat.write("/system Be long")
        await chat.press("enter")
        await chat.until(lambda: "it is full" in chat.shown())
        await chat.until(lambda: isinstance(chat.app.screen, EditScreen))
        assert chat.app.screen.query_one(Composer).text == "Be long"
        await chat.press("escape", "escape")
        await chat.until(lambda: chat.app.screen is chat.screen)
        await chat.press("f2")
        await chat.until(lambda: isinstance(chat.app.screen, EditScreen))
        await chat.until(lambda: "Be brief" in chat.shown())
        await chat.press("escape")


async def test_a_system_prompt_that_cannot_be_stored_stays_in_its_dialog(open_chat: Open) -> None:
    async def not_saved() -> None:
        before = chat.app.screen
        await chat.press("enter")
        await chat.until(lambda: chat.app.screen not in (before, chat.screen) and "Not saved" in chat.shown())

    async with open_chat() as chat:
        await chat.write("/system Be brief")
        await chat.press("enter")
        await chat.until(lambda: "system prompt holds" in chat.shown())
        await chat.send("hello")
        chat.refuse("conversations")
        await chat.press("f2")
        await chat.until(lambda: isinstance(chat.app.screen, EditScreen) and chat.app.screen.focused)
        await chat.press("!")
        await not_saved()
        assert chat.app.screen.query_one(Composer).text == "Be brief!"
        await chat.press("escape")
        await chat.until(lambda: "Esc again discards what you changed" in chat.shown())
        await chat.press(*["backspace"] * 9)
        await not_saved()
        assert chat.app.screen.query_one(Composer).text == ""
        await chat.press("escape")
        await chat.until(lambda: "Esc again discards what you changed" in chat.shown())
        chat.accept()
        await chat.press("?", "enter")
        await chat.until(lambda: "system prompt holds" in chat.shown())
        assert chat.store.conversations.get(1).system == "?"


async def test_what_was_changed_in_a_dialog_is_discarded_by_a_second_escape(open_chat: Open) -> None:
    def warned() -> bool:
        return "Esc again discards what you changed" in chat.shown()

    async with open_chat(size=(80, 24), script=["word " * 400]) as chat:
        await chat.send("hello")
        await chat.press("up", "e")
        await chat.until(lambda: isinstance(chat.app.screen, EditScreen))
        await chat.press("escape")
        await chat.until(lambda: chat.app.screen is chat.screen)
        await chat.press("e")
        await chat.until(lambda: isinstance(chat.app.screen, EditScreen))
        text = chat.app.screen.query_one(Composer)
        await chat.pilot.press("a", "escape")
        await chat.until(warned)
        assert "Esc discard" in chat.key_line()
        for key in ("left", "b", "ctrl+j"):
            await chat.press(key)
            await chat.until(lambda: not warned())
            assert "Esc leave" in chat.key_line()
            await chat.press("escape")
            await chat.until(warned)
        text.post_message(events.Paste("pasted"))
        await chat.until(lambda: not warned())
        await chat.press("escape")
        await chat.until(warned)
        assert text.text.endswith("b\npasteda")
        await chat.press("escape")
        await chat.until(lambda: chat.app.screen is chat.screen)
        assert chat.store.rankings.demonstrations() == []


async def test_what_was_changed_in_a_dialog_is_discarded_by_a_second_ctrl_q(open_chat: Open) -> None:
    def warned(key: str = "Ctrl+Q") -> bool:
        return f"{key} again discards what you changed" in chat.shown()

    async with open_chat(size=(80, 24)) as chat:
        await chat.press("f2")
        await chat.until(lambda: isinstance(chat.app.screen, EditScreen) and chat.app.screen.focused)
        text = chat.app.screen.query_one(Composer)
        await chat.press("a", "ctrl+q")
        await chat.until(warned)
        await chat.press("escape")  # one that was to go on
        await chat.until(lambda: warned("Esc"))
        await chat.press("ctrl+q")
        await chat.until(warned)
        await chat.press("b")
        await chat.until(lambda: not warned())
        await chat.press("ctrl+q")
        await chat.until(warned)
        assert chat.app.is_running and text.text == "ab"
        await chat.press("ctrl+q")
        await chat.until(lambda: not chat.app.is_running)


async def test_a_dialog_in_which_nothing_was_changed_is_quit_at_once(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.press("f2")
        await chat.until(lambda: isinstance(chat.app.screen, EditScreen))
        await chat.press("ctrl+q")
        await chat.until(lambda: not chat.app.is_running)


async def test_conversations_that_cannot_be_searched_say_why(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("apples")
        screen = await conversations(chat, 1)
        with closing(sqlite3.connect(chat.house.paths.database)) as database:
            database.execute("DROP TABLE messages_fts")
        screen.query_one(Input).value = "apples"
        await chat.until(lambda: "database: no such table" in chat.shown())


async def test_models_are_listed_and_a_bad_one_is_refused(open_chat: Open, tmp_path: Path) -> None:
    bad = tmp_path / "data" / "models" / "broken.gguf"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"not a model")
    async with open_chat() as chat:
        await chat.press("ctrl+o")
        await chat.until(lambda: isinstance(chat.app.screen, ModelsScreen) and "broken" in chat.shown())
        chat.app.screen.query_one(Input).value = "broken"
        await chat.pilot.pause()
        await chat.press("enter")
        await chat.until(lambda: "broken cannot be used" in chat.shown())


async def test_enter_right_after_a_search_takes_the_model_it_finds(open_chat: Open, tmp_path: Path) -> None:
    models = tmp_path / "data" / "models"
    models.mkdir(parents=True)
    make_model(models / "other.gguf")
    async with open_chat() as chat:
        await chat.press("ctrl+o")
        await chat.until(lambda: isinstance(chat.app.screen, ModelsScreen) and "other" in chat.shown())
        chat.press_at_once(*"other", "enter", "enter")
        await chat.until(lambda: "answers from now on." in chat.shown())
        assert chat.engine.info is not None and chat.engine.info.name == str(models / "other.gguf")


async def test_a_model_answers_under_its_name_where_settings_cannot_be_written(
    open_chat: Open, tmp_path: Path
) -> None:
    models = tmp_path / "data" / "models"
    models.mkdir(parents=True)
    make_model(models / "other.gguf")
    config = tmp_path / "config" / "config.toml"
    config.parent.mkdir()
    config.write_text("broken")
    async with open_chat() as chat:
        await chat.write("/model other")
        await chat.press("enter")
        await chat.until(lambda: "is not valid TOML" in " ".join(chat.shown().split()))
        assert "guide" not in chat.screen.status.model
        assert chat.engine.info is not None and chat.engine.info.name == str(models / "other.gguf")


async def test_slash_commands(open_chat: Open, tmp_path: Path) -> None:
    async with open_chat() as chat:
        await chat.send("apples")
        await chat.press("slash")
        for command in COMMANDS:
            await chat.until(lambda name=command.name: f"/{name}" in chat.shown())
        await chat.press(*"ren")
        await chat.until(lambda: "/rename TITLE" in chat.shown() and "/help" not in chat.shown())
        assert "Tab complete" in chat.key_line()
        await chat.press("tab")
        assert chat.screen.composer.text == "/rename"
        await chat.press("space", *"fruit", "enter")
        await chat.until(lambda: chat.store.conversations.get(1).title == "fruit")
        await chat.until(lambda: chat.screen.snapshot.conversation.title == "fruit")  # shown as well
        file = tmp_path / "out.md"
        await chat.write(f"/export {file}")
        await chat.press("enter")
        await chat.until(file.exists)
        assert file.read_text() == "# fruit\n\n## You\n\napples\n\n## Guide\n\nalpha one\n"
        assert file.stat().st_mode & 0o777 == 0o600
        await chat.screen.export(f"{tmp_path}/\0")
        await chat.until(lambda: "null byte" in " ".join(chat.shown().split()))
        await chat.write(f"/export {file}")
        await chat.press("enter")
        await chat.until(lambda: "File exists" in " ".join(chat.shown().split()))
        await chat.write("/regenerate")
        await chat.press("enter")
        await chat.until(lambda: chat.screen.ranker is not None and chat.ranker.all_there)
        await chat.press("escape")
        await chat.ranked()
        await chat.write("/help")
        await chat.press("enter")
        await chat.until(lambda: isinstance(chat.app.screen, HelpScreen))


async def test_an_export_is_what_the_ending_of_the_file_says(open_chat: Open, tmp_path: Path) -> None:
    async with open_chat() as chat:
        await chat.send("apples")
        await chat.rank("1", "2", "3")
        record = json.dumps(chat.store.archive.record(1))
        for name in ("out.jsonl", "OUT.JSON"):
            await chat.write(f"/export {tmp_path / name}")
            await chat.press("enter")
            await chat.until((tmp_path / name).exists)
            assert (tmp_path / name).read_text() == record + "\n"
        await chat.write(f"/export {tmp_path / 'out'}")
        await chat.press("enter")
        await chat.until((tmp_path / "out").exists)
        assert (tmp_path / "out").read_text().startswith("# apples\n")
        await chat.write(f"/export {tmp_path / 'out.html'}")
        await chat.press("enter")
        said = "cannot write a .html file: end its name in .md, .jsonl or .json"
        await chat.until(lambda: said in " ".join(chat.shown().split()))
        assert not (tmp_path / "out.html").exists()


async def test_a_text_with_a_slash_that_is_no_command_is_a_message(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("/etc/passwd is a file")
        assert chat.texts()[0] == "/etc/passwd is a file"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/new idea for a story", "/new takes nothing after it"),
        ("/quit now", "/quit takes nothing after it"),
        ("/help me\nwrite", "/help takes nothing after it"),
        ("/quitt", "there is no command /quitt: /quit?"),
        ("/renmae fruit", "there is no command /renmae: /rename?"),
        ("/re", "there is no command /re: /regenerate or /rename?"),
        ("/zzz", "there is no command /zzz: a space before the slash sends it as a message"),
        ("/zzz it all", "there is no command /zzz: a space before the slash sends it as a message"),
        ("/", "there is no command /: a space"),
        ("/rename", "/rename needs its TITLE"),
    ],
)
async def test_a_command_that_cannot_be_done_stays_in_the_prompt(
    open_chat: Open, text: str, said: str
) -> None:
    async with open_chat() as chat:
        await chat.send("apples")
        await chat.write(text)
        assert "Enter send" in chat.key_line()
        await chat.press("enter")
        await chat.until(lambda: said in " ".join(chat.shown().split()))
        assert chat.screen.composer.text == text
        assert chat.texts() == ["apples", "alpha one"] and len(chat.app.screen_stack) == 2
        chat.screen.composer.move_cursor((0, 0))
        await chat.press("space", "enter")
        await chat.until(lambda: len(chat.texts()) == 4)
        await chat.settled()
        assert chat.texts()[2] == text
        assert said not in " ".join(chat.shown().split())


async def test_a_click_on_a_command_loses_no_text(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("apples")
        await chat.write("/new idea")
        await chat.until(lambda: "begin an empty one" in chat.shown())
        await chat.pilot.click("SlashMenu", offset=(4, 0))
        await chat.until(lambda: "/new takes nothing after it" in chat.shown())
        assert chat.screen.composer.text == "/new idea"


async def test_the_beginning_of_one_command_alone_is_that_command(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("apples")
        await chat.press("slash", "n", "e")
        assert "Enter run" in chat.key_line()
        await chat.press("enter")
        await chat.until(lambda: chat.texts() == [])
        assert chat.screen.composer.text == ""


async def test_a_theme_is_kept(open_chat: Open, tmp_path: Path) -> None:
    async with open_chat() as chat:
        await chat.write("/theme chatapp-light")
        await chat.press("enter")
        await chat.until(lambda: chat.app.theme == "chatapp-light")
        assert load_settings(tmp_path / "config" / "config.toml", {}).theme == "chatapp-light"
        await chat.write("/theme chatapp-dark")
        await chat.press("enter")
        await chat.until(lambda: chat.app.theme == "chatapp-dark")
    assert load_settings(tmp_path / "config" / "config.toml", {}).theme == "chatapp-dark"


async def test_a_theme_of_the_settings_that_is_not_there_is_told(open_chat: Open) -> None:
    async with open_chat(settings=Settings(theme="pink")) as chat:
        await chat.until(lambda: chat.screen.ready)
        assert "No theme 'pink'. /theme shows them all." in chat.shown()
        assert chat.app.theme == "chatapp-dark"


async def test_the_palette_runs_a_command(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.send("apples")
        await chat.press("ctrl+p")
        await chat.until(lambda: len(chat.app.screen_stack) == 3)
        await chat.press(*"New conv")
        await chat.until(lambda: "begin an empty one" in chat.shown())
        await chat.press("enter", "enter")
        await chat.until(lambda: len(chat.app.screen_stack) == 2 and chat.texts() == [])


async def test_a_dialog_is_answered_before_another_command(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.press("f2")
        await chat.until(lambda: isinstance(chat.app.screen, EditScreen) and chat.app.screen.focused)
        assert "^P" not in chat.key_line()
        await chat.press("ctrl+p", "a")
        assert isinstance(chat.app.screen, EditScreen)
        assert chat.app.screen.query_one(Composer).text == "a"


def test_command_parsing() -> None:
    assert parse("hello") is None
    for text in ("/nothing like it", "/nothing\nlike it"):
        with pytest.raises(UsageError, match="there is no command /nothing"):
            parse(text)
    assert parse("/usr/bin is full") is None and parse("/2 of them") is None
    command, argument = parse("/rename  a b ") or (None, "")
    assert command is not None and (command.name, argument) == ("rename", "a b")
    assert parse("/etc/passwd") is None and parse("/ like this") is None and parse("/now, then") is None
    assert [each.name for each in matching("/re")] == ["regenerate", "rename"]
    assert [each.name for each in matching("/rename x")] == ["rename"]
    assert matching("no") == []


async def test_what_is_found_in_a_text_is_opened_where_it_stands(open_chat: Open) -> None:
    async with open_chat(size=(80, 24)) as chat:
        await chat.send("apples")
        await chat.rank("2", "1", "3", "4")
        hidden = next(each for each in chat.store.conversations.children(1, 1) if not each.active)
        parent = chat.store.conversations.path(1)[-1].id
        for number in range(40):
            parent = chat.store.conversations.add(1, parent, "user", f"ask {number}", "typed").id
            parent = chat.store.conversations.add(1, parent, "assistant", f"say {number}", "typed").id
        await chat.press("ctrl+n")
        await chat.send("pears")
        screen = await conversations(chat, 2)
        screen.query_one(Input).value = "say 2"
        await chat.until(lambda: [each.snippet for each in screen._found] == ["say 2"])
        await chat.press("enter")
        await chat.until(lambda: chat.screen.selected and chat.screen.selected.text == "say 2")
        await chat.until(lambda: "say 2" in chat.lines())
        screen = await conversations(chat, 2)  # also where it is the open one, and on another branch
        screen.query_one(Input).value = hidden.text
        await chat.until(lambda: [each.snippet for each in screen._found] == [hidden.text])
        await chat.press("enter")
        await chat.until(lambda: chat.screen.selected and chat.screen.selected.text == hidden.text)
        assert chat.texts() == ["apples", hidden.text]
