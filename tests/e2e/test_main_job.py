"""The main job in a real terminal with the embedded model: chat, alternatives, rank, quit, come back."""

import os
import sys
from pathlib import Path

import pytest

from tests.e2e.database import finished, query, replies
from tests.e2e.terminal import Terminal

pytestmark = pytest.mark.e2e
CHATAPP = [sys.executable, "-m", "chatapp"]


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 36)])
def test_chat_rank_quit_and_resume(tmp_path: Path, columns: int, rows: int) -> None:
    environment = {**os.environ, "CHATAPP_HOME": str(tmp_path)}
    with Terminal(CHATAPP, environment, columns, rows) as terminal:
        terminal.wait("Ask, or / for commands")
        terminal.press("What can you do?", "enter")
        terminal.wait(lambda _: finished(tmp_path) == 1)
        terminal.wait("^R alternatives")
        terminal.press("ctrl+r")
        terminal.wait(lambda screen: "1-4 best" in screen and ready_to_rank(tmp_path, screen))
        terminal.press("2")
        terminal.wait("Best first:  2")
        terminal.press("3", "1")  # with ^R that is four keystrokes; the last reply places itself
        terminal.wait("saved as ranking")
        terminal.press("ctrl+q")
        assert terminal.wait_end() == 0

    placed = query(tmp_path, "SELECT position FROM ranking_event_replies ORDER BY tier")
    assert placed == [(2,), (3,), (1,), (4,)]
    [(winner,)] = query(tmp_path, "SELECT reply FROM ranking_event_replies WHERE tier = 1")
    [(active,)] = query(tmp_path, "SELECT id FROM messages WHERE role = 'assistant' AND active")
    assert active == winner
    assert len(replies(tmp_path)) == 4

    with Terminal([*CHATAPP, "--resume", "last"], environment, columns, rows) as terminal:
        screen = terminal.wait(lambda screen: "/4" in screen and "1st" in screen)
        assert "What can you do?" in screen
        terminal.press("right")
        terminal.wait(lambda now: "/4" in now and "1st" not in now)
        terminal.press("ctrl+q")
        assert terminal.wait_end() == 0


def ready_to_rank(home: Path, screen: str) -> bool:
    """Four different replies are there and none is being written again in place of a duplicate. What is on
    the screen may be older than what is stored."""
    waiting = "still writing" in screen or "reading the prompt" in screen
    return not waiting and finished(home) == len(replies(home)) == 4
