"""What the program has written so far, read from outside while it runs."""

import sqlite3
from pathlib import Path


def query(home: Path, sql: str) -> list[tuple]:
    """Rows; none while the program has not made the database or its tables yet."""
    try:
        with sqlite3.connect(f"file:{home}/data/chatapp.db?mode=ro", uri=True, timeout=5) as database:
            return database.execute(sql).fetchall()
    except sqlite3.OperationalError as error:
        if "unable to open" in str(error) or "no such table" in str(error):
            return []
        raise


def replies(home: Path) -> list[tuple[str, str | None]]:
    """Text and finish_reason of each reply that is there, oldest first."""
    return query(
        home,
        "SELECT text, finish_reason FROM messages WHERE role = 'assistant' AND deleted IS NULL ORDER BY id",
    )


def finished(home: Path) -> int:
    """How many replies are complete."""
    return sum(reason is not None for _, reason in replies(home))
