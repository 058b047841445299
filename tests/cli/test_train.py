"""`chatapp train` where nothing is trained: the plan, and what is refused in which words. No torch needed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from chatapp.cli.train import _interrupts, size
from chatapp.core.errors import UsageError
from chatapp.core.types import Group, GroupReply, Turn
from chatapp.engine.scripted import ScriptedEngine
from chatapp.preferences.formats import rankings
from chatapp.session.wiring import House
from tests.cli.conftest import Cli

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cli(cli: Cli) -> Iterator[Cli]:
    """Without the scripted engine: the plan counts tokens."""
    with House(cli.paths, cli.house.settings) as cli.house:
        cli.engine = None
        yield cli


def groups(count: int) -> list[Group]:
    replies = (GroupReply("Yes, gladly.", "model"), GroupReply("No.", "model"))
    return [Group((Turn("user", f"Shall we talk about {n}?"),), replies, ((0,), (1,))) for n in range(count)]


def ranked(cli: Cli, count: int) -> None:
    cli.house.store().groups.add(groups(count), "Ranked", "chat")


def runs(cli: Cli) -> list[Path]:
    return list(cli.paths.runs.glob("*"))


def test_a_dry_run_says_the_plan_and_leaves_nothing(cli: Cli) -> None:
    ranked(cli, 12)
    shown = cli.run("train", "--dry-run")
    assert "12 rankings" in shown and "expect" in shown and "GiB of memory" in shown
    plan = cli.json("train", "--dry-run")["plan"]
    assert plan["stages"] == ["dpo"] and "\n".join(plan["lines"]) + "\n" == shown
    assert cli.json("train", "ppo", "--dry-run")["plan"]["stages"] == ["reward", "ppo"]
    assert not runs(cli)


def test_a_scripted_engine_is_refused(cli: Cli) -> None:
    cli.engine = ScriptedEngine(pace=0)
    assert "a scripted engine has no model to run" in cli.fails("train", "--dry-run")


def test_files_take_the_place_of_the_store(cli: Cli, tmp_path: Path) -> None:
    ranked(cli, 3)
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    every = [json.dumps(row) + "\n" for row in rankings.rows(groups(50))]
    one.write_text("".join(every[:20]))
    two.write_text("".join(every[20:]))
    assert "50 rankings" in cli.run("train", "--dry-run", "--data", str(one), "--data", str(two))
    assert "cannot read" in cli.fails("train", "--dry-run", "--data", str(tmp_path / "none.jsonl"))


def test_lines_that_cannot_be_read_are_told(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    every = [json.dumps(row) + "\n" for row in rankings.rows(groups(9))]
    file.write_text("".join(every) + "not json\n" * 2)
    shown = cli.run("train", "--dry-run", "--data", str(file))
    assert shown.startswith("there are 9 rankings")
    assert "2 lines were passed over in some.jsonl, the first: line 10: " in shown
    file.write_text(json.dumps(json.loads(every[0]) | {"tiers": 7}) + "\n")
    error = cli.fails("train", "--data", str(file))
    assert "nothing in some.jsonl can be read as rankings: line 1: " in error


def test_contradictions_and_repeats_are_told(cli: Cli, tmp_path: Path) -> None:
    [group] = groups(1)
    turned = Group(group.prompt, group.replies, ((1,), (0,)))
    file = tmp_path / "both.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rankings.rows([group, turned, group])))
    shown = cli.run("train", "--dry-run", "--data", str(file))
    assert "1 pair of replies stand both ways round" in shown and "1 judgement came twice" in shown


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["train"], 1, "nothing to learn from yet: 3 rankings"),
        (["train", "sft"], 1, "nothing to imitate yet"),
        (["train", "--resume", "last"], 1, "no training was stopped before its end"),
        (["train", "--resume", "20200101-000000"], 1, "there is no run '20200101-000000'"),
        (["train", "dpo", "--resume", "last"], 2, "a run goes on as it began"),
        (["train", "--resume", "last", "--seed", "3"], 2, "--seed cannot be changed"),
        (["train", "--max-memory", "lots"], 2, "'lots' is no size"),
        (["train", "--from", "r7"], 1, "there is no adapter 'r7'"),
        (["train", "everything"], 2, "everything"),
    ],
)
def test_what_cannot_be_is_one_line_and_a_hint(cli: Cli, args: list[str], code: int, said: str) -> None:
    ranked(cli, 3)
    error = cli.fails(*args, code=code)
    assert said in error
    if "everything" not in args:
        assert error.startswith("error: ") and "\nhint: " in error and len(error.splitlines()) == 2
    assert not runs(cli)


def test_the_help_says_what_a_run_goes_on_without(cli: Cli) -> None:
    assert "without the limits of steps and minutes" in " ".join(cli.run("train", "--help").split())


def test_without_the_train_extra_one_line_with_the_command(tmp_path: Path) -> None:
    """The plan needs no torch; the training says how to get it, before any work."""
    home = tmp_path / "home"
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rankings.rows(groups(20))))
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'peft'): sys.modules[name] = None\n"
        "from chatapp.cli.app import main\n"
        "main()\n"
    )

    def chatapp(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, "train", "--data", str(data), *args],
            cwd=ROOT,
            env={**os.environ, "CHATAPP_HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=120,
        )

    planned = chatapp("--dry-run")
    assert (planned.returncode, planned.stderr) == (0, "") and "20 rankings" in planned.stdout
    empty = home.parent / "empty.jsonl"
    empty.write_text('{"no": "dialogue"}\n')
    for flag, value, why in (
        ("--mix", "/nope", "cannot read /nope"),
        ("--mix", str(empty), "empty.jsonl holds no conversation"),
        ("--max-memory", "1kb", "GiB of memory and may take 0.0 GiB"),
    ):
        done = chatapp("--dry-run", flag, value)
        assert (done.returncode, done.stdout) == (1, "") and why in done.stderr
    refused = chatapp("--json")
    assert (refused.returncode, refused.stdout) == (1, "")
    error, hint = refused.stderr.splitlines()
    assert error.startswith("error: training needs torch, transformers, peft")
    assert hint.startswith(f"hint: {sys.executable} -m pip install ") and "torch" in hint
    assert not (home / "state" / "runs").exists()


def test_sizes() -> None:
    assert [size(text) for text in ("3GB", "2.5 GiB", "800m", "12")] == [3 * 10**9, 5 * 2**29, 8 * 10**8, 12]
    for text in ("", "GB", "3TB", "-1GB", "1e9"):
        with pytest.raises(UsageError):
            size(text)


def test_ctrl_c_while_a_line_is_written(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stop = Event()

    class Interrupting(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            if not stop.is_set():
                signal.raise_signal(signal.SIGINT)
            return len(data)

    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(Interrupting())))
    with _interrupts(stop):
        sys.stderr.write("half a line")
        sys.stderr.flush()
    assert stop.is_set()
    assert "stops after this step" in capfd.readouterr().err
