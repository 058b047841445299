"""The main job in a real terminal with the embedded model: chat, alternatives, rank, quit, come back."""

import os
import sqlite3
import sys
from pathlib import Path

import pytest

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
        terminal.press("ctrl+r")
        terminal.wait(lambda screen: "Best first" in screen and finished(tmp_path) == 4)
        keystrokes = ["2", "3", "1"]
        terminal.press(*keystrokes)
        terminal.wait("saved as ranking")
        assert 1 + len(keystrokes) <= 6
        terminal.press("ctrl+q")
        assert terminal.wait_end() == 0

    placed = query(tmp_path, "SELECT position FROM ranking_event_replies ORDER BY tier")
    assert placed == [(2,), (3,), (1,), (4,)]
    [(winner,)] = query(tmp_path, "SELECT reply FROM ranking_event_replies WHERE tier = 1")
    [(active,)] = query(tmp_path, "SELECT id FROM messages WHERE role = 'assistant' AND active")
    assert active == winner
    assert query(tmp_path, "SELECT count(*) FROM messages WHERE role = 'assistant'") == [(4,)]

    with Terminal([*CHATAPP, "--resume", "last"], environment, columns, rows) as terminal:
        screen = terminal.wait(lambda screen: "/4" in screen and "1st" in screen)
        assert "What can you do?" in screen
        terminal.press("right")
        terminal.wait(lambda now: "/4" in now and "1st" not in now)
        terminal.press("ctrl+q")
        assert terminal.wait_end() == 0


def query(home: Path, sql: str) -> list[tuple]:
    with sqlite3.connect(f"file:{home}/data/chatapp.db?mode=ro", uri=True) as database:
        return database.execute(sql).fetchall()


def finished(home: Path) -> int:
    """How many replies are complete in the database."""
    done = "SELECT count(*) FROM messages WHERE role = 'assistant' AND finish_reason IS NOT NULL"
    return query(home, done)[0][0]
