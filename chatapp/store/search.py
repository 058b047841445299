"""Full-text search over finished messages."""

from __future__ import annotations

from dataclasses import dataclass

from chatapp.core.types import Role
from chatapp.store.connection import Connection, Row, from_iso, storable


@dataclass(frozen=True, slots=True)
class Hit:
    """One message that matches. `snippet` is a piece of its raw text: make it terminal-safe to show it."""

    conversation: int
    message: int
    title: str
    role: Role
    snippet: str
    created: float


# CROSS JOIN keeps the order of the tables: the index is walked from the newest match on, up to the limit.
_VISIBLE = """
    CROSS JOIN conversations ON conversations.id = messages.conversation
    AND messages.deleted IS NULL AND conversations.deleted IS NULL
"""
_WORDS = f"""
    SELECT messages.*, title, snippet(messages_fts, 0, '', '', '…', 16) AS snippet
    FROM messages_fts CROSS JOIN messages ON messages.id = messages_fts.rowid {_VISIBLE}
    WHERE messages_fts MATCH ?1 ORDER BY messages_fts.rowid DESC LIMIT ?2
"""
_SUBSTRING = f"""
    SELECT messages.*, title,
        substr(messages.text, max(1, instr(lower(messages.text), lower(?3)) - 40), 120) AS snippet
    FROM messages {_VISIBLE}
    WHERE messages.text LIKE ?1 ESCAPE '\\' AND writer_pid IS NULL ORDER BY messages.id DESC LIMIT ?2
"""


class Search:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def query(self, text: str, limit: int = 50) -> list[Hit]:
        """Messages that hold every word of `text`, newest first.

        Case and accents do not matter. Where no message holds the whole words, their beginnings count; where
        that finds nothing either (signs, languages without spaces), any place in the text does.
        """
        text = storable(text).replace("\0", " ").strip()
        words = ['"' + word.replace('"', '""') + '"' for word in text.split()]
        if not words:
            return []
        return (
            self._hits(_WORDS, " ".join(words), limit)
            or self._hits(_WORDS, " ".join(f"{word}*" for word in words), limit)
            or self._hits(_SUBSTRING, f"%{_escaped(text)}%", limit, text)
        )

    def _hits(self, sql: str, *values: str | int) -> list[Hit]:
        return [_hit(row) for row in self._connection.rows(sql, values)]


def _hit(row: Row) -> Hit:
    return Hit(
        row["conversation"], row["id"], row["title"], row["role"], row["snippet"], from_iso(row["created"])
    )


def _escaped(text: str) -> str:
    """`text` for a LIKE pattern that takes every character as itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
