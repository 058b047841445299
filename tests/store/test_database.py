"""Opening: permissions, foreign files, migrations, backups."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlite_utils import Database

from chatapp.core.errors import NotFound, StoreError, UsageError
from chatapp.core.types import Turn
from chatapp.store.database import Store, open_store
from chatapp.store.migrations import migrations
from tests.store.conftest import ask


def test_only_the_owner_can_read_it(store: Store) -> None:
    ask(store)
    folder = store.path.parent
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}
    assert modes == {"chatapp.db": 0o600, "chatapp.db-wal": 0o600, "chatapp.db-shm": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "chatapp.db"
    open_store(path).close()
    path.chmod(0o644)
    with open_store(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_pragmas(store: Store) -> None:
    read = store._connection.rows
    assert read("PRAGMA journal_mode")[0][0] == "wal"
    assert read("PRAGMA foreign_keys")[0][0] == 1
    assert read("PRAGMA synchronous")[0][0] == 1
    assert read("PRAGMA busy_timeout")[0][0] == 60_000


def test_opening_again_finds_everything(store: Store) -> None:
    prompt, replies = ask(store, replies=2)
    with open_store(store.path) as again:
        assert again.conversations.path(prompt.conversation) == [prompt, replies[0]]


def test_opening_again_keeps_the_locks(store: Store) -> None:
    """Else the next program to close the database deletes the log that this one goes on writing to."""
    ask(store)
    open_store(store.path).close()
    count = (
        "import sys; from pathlib import Path; from chatapp.store.database import open_store\n"
        "with open_store(Path(sys.argv[1])) as store: print(len(store.conversations.list()))"
    )

    def seen_by_another_program() -> int:
        found = subprocess.run(
            [sys.executable, "-c", count, str(store.path)], capture_output=True, text=True, check=True
        )
        return int(found.stdout)

    assert seen_by_another_program() == 1
    assert store.path.with_name("chatapp.db-wal").exists()
    ask(store)
    assert seen_by_another_program() == 2


@pytest.mark.parametrize("content", [b"hello, this is no database", b"\x00" * 4096])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "chatapp.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="not an SQLite database"):
        open_store(path)
    assert path.read_bytes() == content


def test_a_damaged_database_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "chatapp.db"
    path.write_bytes(b"SQLite format 3\0" + os.urandom(4000))
    with pytest.raises(StoreError):
        open_store(path)


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "chatapp.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE messages (id)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        open_store(path)
    assert path.read_bytes() == before


def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "chatapp.db"
    open_store(path).close()
    with sqlite3.connect(path) as newer:
        newer.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('chatapp', 'm9999_x', '')"
        )
    newer.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer chatapp") as error:
        open_store(path)
    assert "upgrade" in error.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [each.name for each in migrations._migrations][3:])
def test_a_database_of_an_earlier_version_loses_nothing(tmp_path: Path, version: str) -> None:
    path, new = tmp_path / "chatapp.db", tmp_path / "new.db"
    old = Database(path)
    migrations.apply(old, stop_before=version)
    with old.conn:
        old.conn.executescript(
            """
            INSERT INTO conversations VALUES (1, 'Lakes', 'Be brief.', '2025-01-01', '2025-01-01', NULL);
            INSERT INTO messages (id, conversation, parent, role, text, origin, active, created) VALUES
                (1, 1, NULL, 'user', 'Where?', 'typed', 1, '2025-01-01'),
                (2, 1, 1, 'assistant', 'There.', 'edit', 1, '2025-01-01'),
                (3, 1, 1, 'assistant', 'Here.', 'edit', 0, '2025-01-01');
            INSERT INTO ranking_events VALUES (1, 1, 0, '[]', NULL, 'chat', NULL, '2025-01-01');
            INSERT INTO ranking_event_replies VALUES (1, 1, 2, 2, 1), (1, 2, 3, 1, 1);
            """
        )
    old.close()
    open_store(new).close()
    with open_store(path) as store:
        assert Database(path).schema == Database(new).schema
        assert [each.text for each in store.conversations.messages(1)] == ["Where?", "There.", "Here."]
        (group,) = store.groups.list()
        assert group.prompt == (Turn("system", "Be brief."), Turn("user", "Where?"))
        assert group.tiers == ((1,), (0,))
        assert store.integrity() == "ok"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot open"):
        open_store(tmp_path / "file" / "chatapp.db")


def test_programs_that_open_it_first_at_once(tmp_path: Path) -> None:
    path = tmp_path / "chatapp.db"
    code = (
        "import sys; from pathlib import Path; from chatapp.store.database import open_store;"
        "sys.stdin.readline(); store = open_store(Path(sys.argv[1])); store.conversations.create('x')"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    for each in started:
        assert each.stdin is not None
        each.stdin.write(b"go\n")
        each.stdin.flush()
    for each in started:
        _, errors = each.communicate(timeout=30)
        assert (each.returncode, errors) == (0, b"")
    with open_store(path) as store:
        assert len(store.conversations.list()) == 4


def test_backup_is_whole_and_private(store: Store, tmp_path: Path) -> None:
    prompt, replies = ask(store)
    copy = tmp_path / "copies" / "copy.db"
    copy.parent.mkdir()
    store.backup(copy)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [each.name for each in copy.parent.iterdir()] == ["copy.db"]
    with open_store(copy) as copied:
        assert copied.conversations.path(prompt.conversation) == [prompt, *replies]
        assert copied.integrity() == "ok"
    with pytest.raises(StoreError, match="exists"):
        store.backup(copy)


def test_integrity_tells_of_a_dangling_row(store: Store) -> None:
    ask(store)
    assert store.integrity() == "ok"
    with sqlite3.connect(store.path) as raw:  # foreign keys are off on a plain connection
        raw.execute("INSERT INTO thumb_events (reply, value, created) VALUES (999, 1, '')")
    raw.close()
    assert "thumb_events" in store.integrity()


def test_the_schema_explains_itself(store: Store) -> None:
    schema = " ".join(row["sql"] or "" for row in store._connection.rows("SELECT sql FROM sqlite_master"))
    assert "-- A tree: regenerating a reply adds a sibling" in schema
    assert "-- One ranking of replies to one message" in schema


def test_a_number_too_large_for_an_id(store: Store) -> None:
    with pytest.raises((NotFound, UsageError), match="too large to be stored"):
        store.conversations.message(10**30)


def test_another_writer_is_waited_for_and_then_named(store: Store) -> None:
    store._connection.write("PRAGMA busy_timeout = 50")
    blocker = sqlite3.connect(store.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked") as error:
        store.conversations.create()
    assert "another chatapp" in error.value.hint
    blocker.execute("ROLLBACK")
    blocker.close()
    assert store.conversations.create().id == 1
