"""`chatapp bench` as a person and a script get it; no speed is asserted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chatapp.cli.app import app
from chatapp.core.paths import embedded_model, find_paths
from chatapp.core.settings import Settings
from chatapp.session.wiring import House
from tests.cli.conftest import Cli

ROOT = Path(__file__).parents[2]
needs_guide = pytest.mark.skipif(not embedded_model().exists(), reason="the embedded model is not built")


def bench(home: Path, *args: str) -> tuple[str, str]:
    pytest.importorskip("llama_cpp")
    with House(find_paths({"CHATAPP_HOME": str(home)}), Settings(threads=1)) as house:
        done = CliRunner().invoke(app, ["bench", *args], obj=house)
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


@needs_guide
def test_one_json_object_with_progress_beside_it(tmp_path: Path) -> None:
    out, err = bench(tmp_path, "-n", "1", "--tokens", "8", "--seconds", "600", "--json")
    found = json.loads(out)
    assert (found["model"], found["rounds"], found["reply_tokens"]) == ("guide", 1, 8)
    assert found["measures"]["prompt"]["ratio"]["median"] > 0
    assert err.splitlines()[0].startswith("preparing, at most 10:00 left")
    assert err.splitlines()[1].startswith("round 1 of at most 1, chatapp: load, at most ")


@needs_guide
def test_a_line_for_each_measure(tmp_path: Path) -> None:
    out, err = bench(tmp_path, "-m", str(embedded_model()), "-a", "base", "-n", "1", "--seconds", "0")
    lines = out.splitlines()
    assert lines[1].startswith("rounds: 1, prompt of ")
    rows = [line.split("\t") for line in lines[2:]]
    assert [row[0] for row in rows] == [
        "reads a prompt",
        "writes one reply",
        "writes 4 at once",
        "first token after",
        "loads in",
    ]
    assert all(len(row) == 4 for row in rows)
    assert "tokens/s (" in rows[0][1] and "s (" in rows[4][2]
    assert "one round says little" in err


def test_what_cannot_be_measured_is_told_in_two_lines(cli: Cli) -> None:
    for args, why in (((), "a scripted engine has no model"), (("-a", "r9"), "r9")):
        lines = cli.fails("bench", *args).splitlines()
        assert [line.split(":")[0] for line in lines[-2:]] == ["error", "hint"]
        assert why in lines[-2]
    for args in (("--tokens", "1"), ("-n", "0"), ("--seconds", "-1"), ("-n", "x")):
        cli.fails("bench", *args, code=2)


@needs_guide
def test_ctrl_c_ends_it_with_130_and_its_processes_too(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    process = subprocess.Popen(
        [sys.executable, "-m", "chatapp", "bench", "--json"],
        cwd=ROOT,
        env={**os.environ, "CHATAPP_HOME": str(tmp_path), "CHATAPP_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("round 1"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "stopped; nothing was measured to the end"
    shown = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in shown
