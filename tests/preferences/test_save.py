"""Writing preference files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from chatapp.core.errors import FormatError
from chatapp.core.types import Group, GroupReply, Turn
from chatapp.preferences.formats.save import rows, save

Q = (Turn("user", "q"),)
GROUPS = [
    Group(Q, (GroupReply("a"), GroupReply("b"), GroupReply("c")), ((1, 2), (0,))),
    Group(Q, (GroupReply("d"), GroupReply("e")), all_bad=True),
    Group(Q, (GroupReply("f", "edit"), GroupReply("g")), demonstration=0),
    Group(Q, (GroupReply("h", thumb=1),)),
    Group(Q, (GroupReply("i", thumb=-1),)),
    Group(Q, (GroupReply("b", thumb=1),)),
]


def said(format: str) -> list[tuple[object, ...]]:
    """The texts and labels of the rows, without their roles."""
    found = []
    for row in rows(GROUPS, format):
        assert row.pop("prompt") == [{"role": "user", "content": "q"}]
        found.append(tuple(each[0]["content"] if isinstance(each, list) else each for each in row.values()))
    return found


def test_preference_rows() -> None:
    assert said("trl-preference") == [("b", "a"), ("c", "a"), ("f", "g")]


def test_unpaired_rows_are_thumbs_and_all_bad() -> None:
    assert said("trl-unpaired") == [("d", False), ("e", False), ("h", True), ("i", False), ("b", True)]


def test_sft_rows_are_what_people_found_good_each_once() -> None:
    assert said("trl-sft") == [("b",), ("c",), ("f",), ("h",)]


def test_a_failed_write_leaves_the_old_file_and_a_good_one_replaces_it(tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    save(file, GROUPS, "trl-sft")
    before = file.read_bytes()
    with pytest.raises(UnicodeEncodeError):
        save(file, [Group(Q, (GroupReply("\ud800"),), ((0,),))], "trl-sft")
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]
    save(file, GROUPS, "trl-preference")
    assert len(file.read_text().splitlines()) == 3


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    for file, format, why in (
        ("out.csv", "rankings", "cannot tell"),
        ("out.jsonl", "xml", "unknown format"),
        ("absent/out.jsonl", "rankings", "cannot write"),
    ):
        with pytest.raises(FormatError, match=why):
            save(tmp_path / file, GROUPS, format)
    assert list(tmp_path.iterdir()) == []


def test_parquet_without_pyarrow_is_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FormatError, match="pyarrow") as error:
        save(tmp_path / "out.parquet", GROUPS, "rankings")
    assert "pip install pyarrow" in error.value.hint


def test_text_is_written_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    save(file, [Group(Q, (GroupReply("é\n\u2028京"),), ((0,),))], "trl-sft")
    lines = file.read_text(encoding="utf-8").split("\n")
    assert len(lines) == 2
    assert json.loads(lines[0])["completion"] == [{"role": "assistant", "content": "é\n\u2028京"}]


def test_a_file_is_for_its_owner_alone_and_its_neighbour_left_alone(tmp_path: Path) -> None:
    file, neighbour = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    neighbour.write_text("of the user")
    save(file, GROUPS, "rankings")
    with pytest.raises(FormatError):
        save(tmp_path / "out.csv", GROUPS, "rankings")
    assert neighbour.read_text() == "of the user"
    assert file.stat().st_mode & 0o777 == 0o600
