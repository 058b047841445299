"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from chatapp.core.whole_file import whole_file


def write(file: Path, text: str) -> None:
    with whole_file(file) as part:
        part.write_text(text)


def test_it_appears_at_the_end_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "out"
    with whole_file(file) as part:
        part.write_text("new")
        assert not file.exists()
    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_what_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    file, neighbour = tmp_path / "out", tmp_path / "out.part"
    file.write_text("old")
    neighbour.write_text("of the user")
    with pytest.raises(ValueError, match="half way"), whole_file(file) as part:
        part.write_text("ne")
        raise ValueError("half way")
    assert (file.read_text(), neighbour.read_text()) == ("old", "of the user")
    write(file, "new")
    assert (file.read_text(), neighbour.read_text()) == ("new", "of the user")
    assert sorted(tmp_path.iterdir()) == [file, neighbour]


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "real", tmp_path / "link"
    link.symlink_to(real)
    for text in ("one", "two"):
        write(link, text)
        assert link.is_symlink() and real.read_text() == text


def test_a_pipe_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write(pipe, "through")
    reader.join(timeout=10)
    assert read == ["through"] and pipe.is_fifo()


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write(tmp_path, "text")
