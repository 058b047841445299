"""`chatapp rankings`."""

from __future__ import annotations

import gzip
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from chatapp.cli import import_display
from tests.cli.conftest import Cli, stopped_at_once


@pytest.fixture
def asked(cli: Cli) -> list[int]:
    """Ids of three replies to message 1."""
    return [each["id"] for each in cli.json("ask", "-n", "3", "--seed", "1", "Well?")["replies"]]


def test_add_list_show_undo(cli: Cli, asked: list[int]) -> None:
    a, b, c = asked
    added = cli.json("rankings", "add", "--prompt", "1", "--order", f"{c}>{a}={b}", "--tags", "short, kind")
    assert added["tiers"] == [[c], [a, b]]
    (listed,) = cli.json("rankings", "list")
    assert listed == added
    assert (listed["prompt"], listed["shown"], listed["all_bad"]) == (1, [a, b, c], False)
    assert (listed["tags"], listed["milliseconds"]) == (["short", "kind"], None)
    assert cli.run("rankings", "list").split("\t")[:4] == ["1", "1", f"{c}>{a}={b}", "short, kind"]
    assert cli.run("rankings", "show", "1").startswith("Ranking 1 of message 1, ")
    assert cli.run("rankings", "show", "1").splitlines()[0].endswith(", in force")
    assert cli.json("history", "show", "1")["messages"][-1]["active"]
    cli.run("rankings", "undo")
    assert cli.json("rankings", "list") == []
    (all_of_them,) = cli.json("rankings", "list", "--all")
    assert cli.json("rankings", "show", "1")["state"] == all_of_them["state"] == "taken back"
    assert cli.run("rankings", "show", "1").splitlines()[0].endswith(", taken back")
    assert "no ranking to take back" in cli.fails("rankings", "undo")


def test_all_bad_takes_every_reply(cli: Cli, asked: list[int]) -> None:
    added = cli.json("rankings", "add", "--prompt", "1", "--all-bad")
    assert (added["all_bad"], added["tiers"], added["shown"]) == (True, [], asked)


@pytest.mark.parametrize("order", ["2>2", "2>", "two", "2>99", "1>2", ""])
def test_orders_that_make_no_sense(cli: Cli, asked: list[int], order: str) -> None:
    code = 1 if "99" in order else 2
    assert cli.fails("rankings", "add", "--prompt", "1", "--order", order, code=code).startswith("error: ")
    assert cli.json("rankings", "list") == []


def test_an_order_or_all_bad_and_not_both(cli: Cli, asked: list[int]) -> None:
    for more in ([], ["--all-bad", "--order", "2>3"]):
        hint = 'hint: for example --order "7>5=8>6"'
        assert hint in cli.fails("rankings", "add", "--prompt", "1", *more, code=2)


def test_ids_that_are_no_replies_say_where_to_find_some(cli: Cli, asked: list[int]) -> None:
    error = cli.fails("rankings", "add", "--prompt", "1", "--order", "1>2", code=2)
    assert error.splitlines()[1] == "hint: see the ids with `chatapp history show ID --json`"


def test_stats(cli: Cli, asked: list[int]) -> None:
    a, b, c = asked
    cli.run("rankings", "add", "--prompt", "1", "--order", f"{a}>{b}={c}")
    counted = cli.json("rankings", "stats")
    assert (counted["rankings"], counted["pairs"], counted["all_bad"]) == (1, 2, 0)
    assert {"demonstrations", "thumbs", "duplicates", "conflicts"} <= counted.keys()
    assert "pairs:" in cli.run("rankings", "stats")


def test_export_for_trl(cli: Cli, asked: list[int], tmp_path: Path) -> None:
    a, b, c = asked
    cli.run("rankings", "add", "--prompt", "1", "--order", f"{a}>{b}>{c}")
    out = tmp_path / "pairs.jsonl"
    cli.run("rankings", "export", str(out), "--format", "trl-preference")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 3
    assert rows[0]["prompt"] == [{"role": "user", "content": "Well?"}]
    printed = cli.run("rankings", "export", "-", "--format", "trl-preference")
    assert [json.loads(line) for line in printed.splitlines()] == rows
    assert "cannot tell" in cli.fails("rankings", "export", str(tmp_path / "pairs.txt"))


def test_a_file_is_taken_once(cli: Cli, asked: list[int], tmp_path: Path) -> None:
    a, b, c = asked
    cli.run("rankings", "add", "--prompt", "1", "--order", f"{a}>{b}={c}")
    out = tmp_path / "rankings.jsonl"
    cli.run("rankings", "export", str(out))
    # What one has oneself is not taken from a file again.
    assert cli.json("rankings", "import", str(out))["groups"] == 0
    other = Cli(tmp_path / "other")
    first = other.json("rankings", "import", str(out))
    assert (first["format"], first["groups"], first["known"]) == ("rankings", 1, 0)
    second = other.json("rankings", "import", str(out))
    assert (second["groups"], second["known"]) == (0, 1)
    (ranking,) = other.json("rankings", "list")
    texts = other.json("rankings", "show", str(ranking["id"]))["texts"]
    mine = cli.json("rankings", "show", "1")["texts"]
    assert [texts[str(each)] for each in ranking["tiers"][0]] == [mine[str(a)]]
    assert ranking["source"] == "import:rankings.jsonl"
    shown = other.json("history", "show", "1")["messages"]
    assert shown[0]["origin"] == "import"


def row(**changes: Any) -> str:
    turn = {"role": "user", "content": "Hi"}
    row = {
        "prompt": [turn],
        "chosen": [{"role": "assistant", "content": "a"}],
        "rejected": [{"role": "assistant", "content": "b"}],
    }
    return json.dumps(row | changes)


def test_repeats_inside_a_file_are_kept_and_known_again(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl.gz"
    file.write_bytes(gzip.compress(f"{row()}\n{row()}\nnot json\n".encode()))
    first = cli.json("rankings", "import", str(file))
    assert (first["format"], first["groups"]) == ("trl-preference", 2)
    assert [each.split(":")[0] for each in first["malformed"]] == ["line 3"]
    second = cli.json("rankings", "import", str(file))
    assert (second["groups"], second["known"]) == (0, 2)
    file.write_bytes(gzip.compress(f"{row()}\n{row()}\n{row()}\n".encode()))
    assert cli.json("rankings", "import", str(file))["groups"] == 1


def test_an_import_that_is_stopped_leaves_nothing(
    cli: Cli, asked: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, heard = tmp_path / "rankings.jsonl", []
    a, b, c = asked
    for order in (f"{c}>{a}={b}", f"{a}>{b}"):
        cli.run("rankings", "add", "--prompt", "1", "--order", order)
    cli.run("rankings", "export", str(out))

    other = Cli(tmp_path / "other")
    with monkeypatch.context() as patched:
        patched.setattr(import_display, "shown_import", stopped_at_once(heard))
        error = other.fails("rankings", "import", str(out), code=130)
    assert error == "stopped; nothing of the file was taken, and nothing has changed\n"
    assert heard == [(1, 2)]
    assert other.json("history", "list") == other.json("rankings", "list") == []
    assert other.json("rankings", "import", str(out))["groups"] == 2


def test_a_number_too_large_is_a_malformed_line(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "rankings.jsonl"
    groups = [
        {
            "prompt": [{"role": "user", "content": f"q{milliseconds}"}],
            "replies": [{"text": "a"}, {"text": "b"}],
            "tiers": [[0], [1]],
            "milliseconds": milliseconds,
        }
        for milliseconds in (1, 2**63, 2**63 - 1)
    ]
    file.write_text("\n".join(map(json.dumps, groups)))
    report = cli.json("rankings", "import", str(file))
    assert (report["format"], report["groups"]) == ("rankings", 2)
    assert report["malformed"] == ["line 2: milliseconds is negative or too large"]
    assert [each["milliseconds"] for each in cli.json("rankings", "list")] == [1, 2**63 - 1]


def test_replies_that_read_the_same_are_no_pair(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "rankings.jsonl"
    turn = {"role": "user", "content": "q"}
    replies = [{"text": "a"}, {"text": "a"}, {"text": "b"}]
    file.write_text(json.dumps({"prompt": [turn], "replies": replies, "tiers": [[0], [1], [2]]}))
    cli.run("rankings", "import", str(file))
    exported = cli.run("rankings", "export", "-", "--format", "trl-preference").splitlines()
    pairs = [
        tuple(json.loads(each)[side][0]["content"] for side in ("chosen", "rejected")) for each in exported
    ]
    assert pairs == [("a", "b"), ("a", "b")]
    assert cli.json("rankings", "stats")["pairs"] == 2


def test_what_is_no_preference_data_is_refused(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "other.jsonl"
    file.write_text('{"a": 1}\n')
    assert "cannot tell which format" in cli.fails("rankings", "import", str(file))
    assert cli.fails("rankings", "import", str(tmp_path / "missing.jsonl")).count("\n") == 2
    cli.fails("rankings", "import", str(file), "--format", "nonsense", code=2)


def test_a_file_of_which_nothing_can_be_read_is_refused(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    for text, why in (
        (f"{row()}\n{row()}\n", "line 1: "),
        ("not json\n", "line 1: not JSON"),
        ("\n", "it is empty"),
    ):
        file.write_text(text)
        error = cli.fails("rankings", "import", str(file), "--format", "taskmaster")
        assert f"error: nothing in pairs.jsonl can be read as taskmaster: {why}" in error
        assert "hint: another --format of" in error
    assert cli.json("history", "list") == []


def test_a_pipe_is_read_as_a_file_is(cli: Cli, tmp_path: Path) -> None:
    plain = f"{row()}\n{row(prompt='Ho')}\n".encode()
    for content, groups, known in ((plain, 2, 0), (gzip.compress(plain), 0, 2)):
        pipe = tmp_path / f"pipe{known}"
        os.mkfifo(pipe)
        writer = threading.Thread(target=pipe.write_bytes, args=(content,))
        writer.start()
        found = cli.json("rankings", "import", str(pipe))
        writer.join(timeout=10)
        assert (found["groups"], found["known"]) == (groups, known)


def test_what_was_taken_back_is_marked_and_cannot_be_again(cli: Cli, asked: list[int]) -> None:
    a, b, c = asked
    for order in (f"{a}>{b}", f"{b}>{a}>{c}", f"{c}>{a}>{b}"):
        cli.run("rankings", "add", "--prompt", "1", "--order", order)
    cli.run("rankings", "undo", "2")
    error = cli.fails("rankings", "undo", "2")
    assert error.startswith(
        "error: ranking 2 was taken back already\nhint: list them with `chatapp rankings list --all`"
    )
    found = {each["id"]: each["state"] for each in cli.json("rankings", "list", "--all")}
    assert found == {1: "replaced", 2: "taken back", 3: "in force"}
    assert [line.split("\t")[-1] for line in cli.run("rankings", "list", "--all").splitlines()] == [
        "replaced",
        "taken back",
        "in force",
    ]
    assert [each["id"] for each in cli.json("rankings", "list")] == [3]
