"""What was written and not sent is there at the next start."""

from __future__ import annotations

from pathlib import Path

from chatapp.tui.draft import keep_draft, take_draft
from tests.tui.conftest import Open


async def test_a_draft_outlives_the_program(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.write("first line\nhalf a se")
        await chat.press("ctrl+q")
        await chat.until(lambda: not chat.app.is_running)
    file = chat.house.paths.draft
    assert file.stat().st_mode & 0o077 == 0
    async with open_chat() as chat:
        assert chat.screen.composer.text == "first line\nhalf a se"
        assert not file.exists()
        await chat.press("n", "t", "enter")
        await chat.until(lambda: chat.texts() == ["first line\nhalf a sent", "alpha one"])
        await chat.settled()
    # It was sent, and an empty prompt leaves nothing.
    assert not file.exists()


async def test_a_message_of_the_command_line_is_sent_and_the_draft_stays(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.write("later")
    async with open_chat(first_message="now") as chat:
        await chat.until(lambda: chat.texts() == ["now", "alpha one"])
        await chat.settled()
        assert chat.screen.composer.text == "later"


def test_two_chats_that_end_leave_both_drafts(tmp_path: Path) -> None:
    file = tmp_path / "state" / "draft.txt"
    keep_draft(file, "one\r\n")
    keep_draft(file, " ")
    keep_draft(file, "two \ud800")
    assert take_draft(file) == "one\r\n\ntwo ?"
    assert take_draft(file) == ""
    file.write_text("")
    keep_draft(file / "none", "nowhere to write it")
