"""Opening the database: folders, permissions, migrations, and replies that a dead process left unfinished."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from types import TracebackType

from chatapp.core.errors import StoreError
from chatapp.core.whole_file import whole_file
from chatapp.store.adapters import Adapters
from chatapp.store.archive import Archive
from chatapp.store.connection import Connection, sqlite_errors
from chatapp.store.conversations import Conversations
from chatapp.store.groups import Groups
from chatapp.store.migrations import migrations
from chatapp.store.rankings import Rankings
from chatapp.store.search import Search
from chatapp.store.writer import is_alive


class Store:
    """One open database. Belongs to the thread that opened it; open another for another thread."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self.path = path
        self._connection = connection
        self.conversations = Conversations(connection)
        self.rankings = Rankings(connection)
        self.adapters = Adapters(connection)
        self.search = Search(connection)
        self.groups = Groups(connection, self.conversations, self.rankings)
        self.archive = Archive(connection, self.conversations, self.rankings)

    def transaction(self) -> AbstractContextManager[None]:
        """What is written inside is stored together, or not at all."""
        return self._connection.transaction()

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def backup(self, to: Path) -> None:
        """A whole, consistent copy at `to`, also while others write. `StoreError` where `to` exists."""
        if to.exists():
            raise StoreError(f"{to} exists", "name a file that does not exist yet")
        try:
            with whole_file(to) as part, sqlite_errors(), closing(sqlite3.connect(part)) as target:
                self._connection.db.conn.backup(target)
        except OSError as error:
            raise StoreError(f"cannot write {to}: {error.strerror}", "choose another folder") from error

    def integrity(self) -> str:
        """`ok`, or what SQLite finds wrong with the file, one finding a line."""
        found = [str(row[0]) for row in self._connection.rows("PRAGMA integrity_check")]
        found += [
            f"{row['table']} row {row['rowid']} refers to a row of {row['parent']} that is not there"
            for row in self._connection.rows("PRAGMA foreign_key_check")
        ]
        if found == ["ok"]:
            self._connection.write("INSERT INTO messages_fts (messages_fts) VALUES ('integrity-check')")
        return "\n".join(line for line in found if line != "ok") or "ok"


def open_store(path: Path) -> Store:
    """Open the database at `path`, making it if it is not there.

    Errors: `StoreError` for a file that is not this program's database, that a newer program has migrated, or
    that cannot be opened; such a file is left as it was.
    """
    path = path.absolute()
    _prepare_file(path)
    connection = Connection(path)
    try:
        _refuse_foreign(path, connection)
        connection.configure()
        _migrate(connection)
        _seal_abandoned(connection)
    except BaseException:
        connection.close()
        raise
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        _make_private(name)
    return Store(path, connection)


def _prepare_file(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileExistsError):
            _create_private(path)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except OSError as error:
        raise StoreError(
            f"cannot open {path}: {error.strerror}", "check who owns it and its folder"
        ) from error


def _create_private(path: Path) -> None:
    """An empty new file of mode 0600; SQLite gives the -wal and -shm files beside it the same mode.

    Never opens one that is there: closing any descriptor of a database drops the locks of all this process's
    connections to it (sqlite.org, "How To Corrupt An SQLite Database File", 2.2).
    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _make_private(path: Path) -> None:
    try:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError:  # not there, or another user's: nothing that opening could do about it
        pass


def _refuse_foreign(path: Path, connection: Connection) -> None:
    try:
        connection.rows("PRAGMA schema_version")
    except StoreError as error:
        if (
            isinstance(error.__cause__, sqlite3.Error)
            and error.__cause__.sqlite_errorcode == sqlite3.SQLITE_NOTADB
        ):
            raise StoreError(
                f"{path} is not an SQLite database", "move it away, or name another data folder"
            ) from error
        raise
    with sqlite_errors():
        tables = set(connection.db.table_names())
        applied = {each.name for each in migrations.applied(connection.db)}
        known = applied | {each.name for each in migrations.pending(connection.db)}
    ours = {each.name for each in migrations._migrations}
    if newer := sorted(applied - ours):
        raise StoreError(
            f"{path} was written by a newer chatapp (it has {newer[-1]})",
            "upgrade chatapp; the file was not touched",
        )
    if tables and not applied and known:
        raise StoreError(
            f"{path} is the database of another program", "move it away, or name another data folder"
        )


def _migrate(connection: Connection) -> None:
    with sqlite_errors():
        if migrations.pending(connection.db):
            with connection.transaction():  # two programs that start at once take turns
                migrations.apply(connection.db)


def _seal_abandoned(connection: Connection) -> None:
    """Give the unfinished replies of processes that are gone the finish reason `interrupted`."""
    writers = connection.rows(
        "SELECT DISTINCT writer_pid, writer_start FROM messages WHERE writer_pid IS NOT NULL"
    )
    for pid, start in writers:
        if not is_alive((pid, start)):
            connection.write(
                "UPDATE messages SET finish_reason = 'interrupted', writer_pid = NULL, writer_start = NULL"
                " WHERE writer_pid = ? AND writer_start IS ?",
                (pid, start),
            )
