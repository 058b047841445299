"""One SQLite connection: its pragmas, transactions, and SQLite's errors in the words of core.errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from chatapp.core.errors import StoreError, UsageError

Row = sqlite3.Row
PATIENCE = 60.0
"""Seconds to wait for another writer; a large import holds the lock for ten and more."""


class Connection:
    """Belongs to the thread that made it. Outside of `transaction` each statement commits by itself."""

    def __init__(self, path: Path) -> None:
        with sqlite_errors():
            raw = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
        raw.row_factory = sqlite3.Row
        self.db = Database(raw)

    def configure(self) -> None:
        """WAL, foreign keys, and a sync at each checkpoint (a killed program loses nothing)."""
        with sqlite_errors():
            for pragma in ("journal_mode = WAL", "foreign_keys = ON", "synchronous = NORMAL"):
                self.db.conn.execute(f"PRAGMA {pragma}").fetchall()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        with sqlite_errors():
            return self.db.conn.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        found = self.rows(sql, values)
        return found[0] if found else None

    def write(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement; how many rows it changed."""
        with sqlite_errors():
            return self.db.conn.execute(sql, values).rowcount

    def write_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        with sqlite_errors():
            self.db.conn.executemany(sql, rows)

    def insert(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one INSERT; the new row's id."""
        with sqlite_errors():
            return int(self.db.conn.execute(sql, values).lastrowid or 0)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Takes the write lock first, so that it cannot lose it to another half way."""
        if self.db.conn.in_transaction:
            yield
            return
        with sqlite_errors():
            self.db.conn.execute("BEGIN IMMEDIATE")
        try:
            yield
            with sqlite_errors():
                self.db.conn.execute("COMMIT")
        except BaseException:
            self.db.conn.rollback()
            raise

    def close(self) -> None:
        with sqlite_errors():
            self.db.conn.close()


@contextmanager
def sqlite_errors() -> Iterator[None]:
    """SQLite's errors as `StoreError`s with what to do."""
    try:
        yield
    except OverflowError as error:
        raise UsageError("a number is too large to be stored", "give a smaller one") from error
    except sqlite3.Error as error:
        raise StoreError(f"database: {error}", _hint(str(error))) from error


def _hint(message: str) -> str:
    if "locked" in message:
        return "another chatapp is writing to it for long; close it and try again"
    if "readonly" in message or "unable to open" in message:
        return "check who owns the file and its folder: `chatapp history path`"
    if "full" in message:
        return "free some space on this disk and try again"
    if "malformed" in message or "not a database" in message:
        return "restore a copy made with `chatapp history backup`"
    return StoreError.hint


def storable(text: str) -> str:
    """`text` without lone surrogates, which no UTF-8 file can hold; each becomes U+FFFD."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def now() -> str:
    """This moment as the database writes it: ISO 8601 in UTC with microseconds, so that text sorts."""
    return to_iso(datetime.now(UTC).timestamp())


def said_at(seconds: float | None) -> str:
    """A moment of the past that a file names, as the database writes it; this moment for any other."""
    this = datetime.now(UTC).timestamp()
    return to_iso(seconds if seconds is not None and 0 < seconds <= this else this)


def to_iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def from_iso(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
