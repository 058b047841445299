"""What was found out about a file is remembered until the file changes."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from chatapp.core.errors import EngineError
from chatapp.engine.cache import read_table, sha256, write_table


def test_sha256_can_be_stopped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    with pytest.raises(EngineError, match="stopped"):
        sha256(path, tmp_path / "cache", lambda: True)
    assert not (tmp_path / "cache").exists()


def test_sha256_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    path, cache = tmp_path / "file", tmp_path / "cache"
    path.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(path, cache) == known == sha256(path)
    table = cache / "sha256.json"
    table.write_text(table.read_text().replace(known, "remembered"))
    assert sha256(path, cache) == "remembered"
    path.write_bytes(b"abcd")
    assert sha256(path, cache) != "remembered"
    table.write_text("{broken")
    assert len(sha256(path, cache)) == 64


def test_a_table_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "table.json"
    write_table(table, {"a": 1})
    with monkeypatch.context() as full:
        full.setattr(Path, "replace", no_space)
        write_table(table, {"a": 2})
    assert list(tmp_path.iterdir()) == [table] and read_table(table) == {"a": 1}


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
