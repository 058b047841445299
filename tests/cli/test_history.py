"""`chatapp history`."""

from __future__ import annotations

import io
import json
import sqlite3
from pathlib import Path

import pytest

from chatapp.cli import import_display
from chatapp.engine.scripted import ScriptedEngine
from chatapp.session.session import Session
from chatapp.store.database import open_store
from tests.cli.conftest import Cli, stopped_at_once


@pytest.fixture
def session(cli: Cli) -> Session:
    """A conversation with branches, a ranking, a thumb and a demonstration in it."""
    cli.engine = ScriptedEngine(lambda request, lane, seed: f"reply{seed}", pace=0)
    made = type(cli.house)(cli.paths, cli.house.settings, cli.engine).session()
    prompt = made.begin("Where is a café?")
    list(made.stream(prompt.id))
    list(made.alternatives(prompt.id, 2))
    a, b, c = (each.id for each in made.messages()[1:])
    made.rank(prompt.id, (a, b, c), ((c,), (a, b)), tags=["short"], milliseconds=1200)
    made.thumb(a, -1)
    follow = made.begin("And tea?")
    list(made.stream(follow.id))
    made.edit(made.path()[-1].id, "Tea is next door.")
    made.edit(prompt.id, "Where is a bar?")
    return made


def test_list_has_the_shape(cli: Cli) -> None:
    cli.run("ask", "first")
    cli.run("ask", "second")
    newest, oldest = cli.json("history", "list")
    assert (newest["title"], oldest["title"]) == ("second", "first")
    assert (newest["messages"], newest["model"]) == (2, "guide")
    assert {"id", "created", "updated"} <= newest.keys()
    assert [each["title"] for each in cli.json("history", "list", "--limit", "1")] == ["second"]


def test_list_is_plain_lines_without_a_terminal(cli: Cli) -> None:
    cli.run("ask", "tea [bold]or[/] coffee\nor both")
    line = cli.run("history", "list")
    assert line.split("\t")[:4] == ["1", "tea [bold]or[/] coffee or both", "2", "guide"]


def test_show_has_every_branch(cli: Cli, session: Session) -> None:
    shown = cli.json("history", "show", "1")
    assert shown["id"] == 1
    stored = {each.id: each for each in session.messages()}
    assert [each["id"] for each in shown["messages"]] == list(stored)
    for each in shown["messages"]:
        assert each["text"] == stored[each["id"]].text
        assert (each["parent"], each["role"]) == (stored[each["id"]].parent, stored[each["id"]].role)
        assert (each["active"], each["origin"]) == (stored[each["id"]].active, stored[each["id"]].origin)
    assert [each["rank"] for each in shown["messages"]][:4] == [None, 2, 2, 1]


def test_show_is_readable(cli: Cli, session: Session) -> None:
    out = cli.run("history", "show", "last")
    lines = [line for line in out.splitlines() if "[" in line]
    assert lines[0] == "  [1] You  1/2"
    assert lines[1] == "    [2] guide  1/3  rank 2  thumb down"
    assert lines[3] == "    [4] guide  3/3 shown  rank 1"
    assert lines[4] == "    [5] You"
    assert lines[6] == "      [7] You, as the reply should be  2/2 shown"
    assert lines[7] == "  [8] You  2/2 shown"


def test_show_survives_a_very_long_conversation(cli: Cli) -> None:
    with open_store(cli.paths.database) as store:
        conversation = store.conversations.create("long").id
        parent = None
        for number in range(1500):
            line = f"line {number}"
            parent = store.conversations.add(conversation, parent, "user", line, "typed", activate=False).id
    assert "line 1499" in cli.run("history", "show", "1")


def test_unknown_and_impossible_ids(cli: Cli) -> None:
    assert cli.fails("history", "show", "7").startswith("error: there is no conversation 7\nhint: ")
    cli.fails("history", "show", "seven", code=2)
    cli.fails("history", "show", "²", code=2)
    cli.fails("history", "show", "9" * 30, code=2)
    cli.fails("history", "show", "last")


def test_search(cli: Cli) -> None:
    cli.engine = ScriptedEngine(["no such thing"], pace=0)
    cli.run("ask", "coffee by the lake")
    (hit,) = cli.json("history", "search", "lake")
    assert (hit["conversation"], hit["message"], hit["role"]) == (1, 1, "user")
    assert "lake" in hit["snippet"]
    assert cli.run("history", "search", "lake").startswith("1\tcoffee by the lake\t1\tuser\t")
    assert cli.json("history", "search", 'tea" OR 1') == []


def test_rename_delete_restore(cli: Cli) -> None:
    cli.run("ask", "one")
    cli.run("history", "rename", "1", "Another", "title")
    assert cli.json("history", "list")[0]["title"] == "Another title"
    cli.run("history", "rename", "1", "  ")
    assert cli.json("history", "list")[0]["title"] == ""
    assert "\tuntitled\t" in cli.run("history", "list")
    cli.run("history", "delete", "1")
    assert "history restore 1" in cli.notes
    assert cli.json("history", "list") == []
    assert [each["id"] for each in cli.json("history", "list", "--deleted")] == [1]
    cli.run("history", "restore", "1")
    assert [each["id"] for each in cli.json("history", "list")] == [1]


def test_export_and_import_lose_nothing(cli: Cli, session: Session, tmp_path: Path) -> None:
    out = tmp_path / "all.jsonl"
    cli.run("history", "export", "-o", str(out))
    assert out.stat().st_mode & 0o077 == 0
    other = Cli(tmp_path / "other")
    assert other.json("history", "import", str(out)) == {
        "conversations": [1],
        "known": 0,
        "problems": [],
    }
    again = tmp_path / "again.jsonl"
    other.run("history", "export", "-o", str(again))
    first, second = json.loads(out.read_text()), json.loads(again.read_text())
    for record in (first, second):
        for ranking in record["rankings"]:
            del ranking["created"]
    assert first == second
    assert len(first["messages"]) == 8
    assert (len(first["rankings"]), len(first["thumbs"]), len(first["demonstrations"])) == (1, 1, 1)
    assert [each["text"] for each in other.json("history", "show", "1")["messages"]] == [
        each.text for each in session.messages()
    ]


def test_the_ending_of_the_file_chooses_the_format(cli: Cli, tmp_path: Path) -> None:
    cli.run("ask", "one")
    markdown, jsonl = cli.run("history", "export", "--format", "markdown"), cli.run("history", "export")
    for name, options, written in (
        ("a.md", (), markdown),
        ("a.json", (), jsonl),
        ("a.txt", (), jsonl),
        ("b.md", ("--format", "jsonl"), jsonl),
        ("b.jsonl", ("--format", "markdown"), markdown),
    ):
        cli.run("history", "export", "-o", str(tmp_path / name), *options)
        assert (tmp_path / name).read_text() == written


def test_export_to_standard_output_is_safe_and_readable_again(cli: Cli, tmp_path: Path) -> None:
    cli.engine = ScriptedEngine(["\x1b[2J\u202e wiped"], pace=0)
    cli.run("ask", "one")
    out = cli.run("history", "export", "last")
    assert "\x1b" not in out
    assert json.loads(out)["messages"][1]["text"] == "\x1b[2J\u202e wiped"
    markdown = cli.run("history", "export", "--format", "markdown")
    assert markdown.startswith("# one\n\n## You\n\none\n\n## Guide\n\n")
    assert "\x1b" not in markdown


def test_markdown_begins_with_the_system_prompt(cli: Cli) -> None:
    cli.run("ask", "-s", "Be brief.", "one")
    markdown = cli.run("history", "export", "last", "--format", "markdown")
    assert markdown.startswith("# one\n\n## System\n\nBe brief.\n\n## You\n\none\n\n## Guide\n\n")


def test_import_passes_over_bad_lines_and_names_them(cli: Cli, session: Session, tmp_path: Path) -> None:
    good = cli.run("history", "export")
    record = json.loads(good)
    looped = {**record, "messages": [{**each, "parent": each["id"]} for each in record["messages"]]}
    strange = {**record, "messages": [{**each, "role": "wizard"} for each in record["messages"]]}
    file = tmp_path / "mixed.jsonl"
    file.write_text(f"not json\n{good}{json.dumps(looped)}\n{json.dumps(strange)}\n[]\n{'[' * 100_000}\n")
    other = Cli(tmp_path / "other")
    report = other.json("history", "import", str(file))
    assert (len(report["conversations"]), report["known"]) == (1, 0)
    assert [each.split(":")[0] for each in report["problems"]] == [f"line {n}" for n in (1, 3, 4, 5, 6)]
    assert len(other.json("history", "list")) == 1


def test_a_conversation_is_imported_once(cli: Cli, session: Session, tmp_path: Path) -> None:
    out = tmp_path / "all.jsonl"
    cli.run("history", "export", "-o", str(out))
    assert cli.json("history", "import", str(out)) == {"conversations": [], "known": 1, "problems": []}
    other = Cli(tmp_path / "other")
    out.write_text(2 * out.read_text())
    other.run("history", "import", str(out))
    assert other.notes == "read 1 conversations; 1 were there already\n"
    assert (len(other.json("history", "list")), len(other.json("rankings", "list"))) == (1, 1)
    # Whatever one did with it since, it is there; what somebody else did with it is not.
    other.run("history", "rename", "1", "Mine")
    other.run("rankings", "undo")
    other.run("ask", "-c", "1", "And then?")
    assert other.json("history", "import", str(out))["known"] == 2
    cli.run("rankings", "add", "--prompt", "1", "--order", "2>3>4")
    cli.run("history", "export", "-o", str(out))
    assert other.json("history", "import", str(out))["conversations"] == [2]
    for each in ("1", "2"):
        other.run("history", "delete", each)
    assert other.json("history", "import", str(out))["conversations"] == [3]


def test_an_import_that_is_stopped_keeps_what_was_read(
    cli: Cli, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.run("ask", "Another one")
    out = tmp_path / "all.jsonl"
    cli.run("history", "export", "-o", str(out))
    first = len(out.read_bytes().splitlines(keepends=True)[0]), out.stat().st_size
    heard: list[tuple[int, int]] = []

    other = Cli(tmp_path / "other")
    with monkeypatch.context() as patched:
        patched.setattr(import_display, "shown_import", stopped_at_once(heard))
        error = other.fails("history", "import", str(out), code=130)
    assert error.startswith("stopped; 1 conversations were read, 0 were there already; ")
    assert heard == [first]
    assert other.json("history", "import", str(out))["known"] == 1
    assert len(other.json("history", "list")) == 2


def test_the_progress_of_an_import_is_shown_on_a_terminal_once_it_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def shown(seconds: float, as_json: bool = False, stream: type[io.StringIO] = Terminal) -> str:
        now = 0.0
        written = stream()
        monkeypatch.setattr("sys.stderr", written)
        with import_display.shown_import(as_json, lambda: now) as told:
            now = seconds
            told(20, 100)
        return written.getvalue()

    long = shown(15.0)
    assert "20%" in long and "1:00 left" in long
    assert shown(0.9) == shown(15.0, as_json=True) == shown(15.0, stream=io.StringIO) == ""


def test_a_file_that_is_no_export_is_refused(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "bytes"
    file.write_bytes(b"\xff\xfe\x00")
    assert cli.fails("history", "import", str(file)).startswith("error: no conversation in")
    assert "cannot read" in cli.fails("history", "import", str(tmp_path / "missing"))
    assert "cannot read" in cli.fails("history", "import", str(tmp_path))


def test_backup_is_a_whole_database(cli: Cli, tmp_path: Path) -> None:
    cli.run("ask", "one")
    copy = tmp_path / "copy.db"
    cli.run("history", "backup", str(copy))
    with sqlite3.connect(copy) as connection:
        assert connection.execute("SELECT text FROM messages WHERE role = 'user'").fetchall() == [("one",)]
    assert "exists" in cli.fails("history", "backup", str(copy))
    missing = tmp_path / "missing" / "copy.db"
    error = f"error: cannot write {missing}: No such file or directory\n"
    assert cli.fails("history", "backup", str(missing)).startswith(error)
    assert not missing.parent.exists()


def test_path_prints_the_file(cli: Cli) -> None:
    assert cli.run("history", "path") == f"{cli.paths.database}\n"


def test_a_neighbour_of_what_is_written_is_left_alone(cli: Cli, tmp_path: Path) -> None:
    cli.run("ask", "one")
    for args in (("export", "-o", "out"), ("backup", "out"), ("export", "-o", "folder")):
        folder = tmp_path / "-".join(args)
        (folder / "folder").mkdir(parents=True)
        for name in ("out.part", "folder.part"):
            (folder / name).write_text("of the user")
        words = [str(folder / each) if each in ("out", "folder") else each for each in args]
        if args[-1] == "folder":
            assert "cannot write" in cli.fails("history", *words)
        else:
            cli.run("history", *words)
        assert {(folder / name).read_text() for name in ("out.part", "folder.part")} == {"of the user"}


def test_export_takes_a_dash_and_the_home_folder(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    cli.run("ask", "one")
    printed = cli.run("history", "export", "-o", "-")
    cli.run("history", "export", "--out=~/all.jsonl")
    assert printed == cli.run("history", "export") == (tmp_path / "all.jsonl").read_text()
    assert cli.json("history", "import", "~/all.jsonl")["known"] == 1
    assert not (tmp_path / "-").exists() and not (tmp_path / "~").exists()
