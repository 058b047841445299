"""The real program in a process of its own: errors, closed pipes, Ctrl+C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from chatapp.store.database import open_store
from tests.cli.conftest import Cli

ROOT = Path(__file__).parents[2]


def program(home: Path, *args: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """The real program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "chatapp", *args],
        cwd=ROOT,
        env={**os.environ, "CHATAPP_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        **more,
    )


def test_the_real_program_tells_errors_in_two_lines(tmp_path: Path) -> None:
    done = program(tmp_path, "history", "show", "5")
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]
    assert program(tmp_path, "history", "list", "--nonsense").returncode == 2
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text("n_ctx = [")
    done = program(tmp_path, "history", "list")
    assert done.returncode == 1
    assert "config.toml is not valid TOML" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_what_nobody_foresaw_is_told_in_two_lines(tmp_path: Path) -> None:
    code = (
        "import chatapp.store.database, sys\n"
        "def fail(path): raise RuntimeError('surprise')\n"
        "chatapp.store.database.open_store = fail\n"
        "from chatapp.cli.app import main\n"
        "sys.argv = ['chatapp', 'history', 'list', *sys.argv[1:]]\n"
        "main()\n"
    )
    environment = {**os.environ, "CHATAPP_HOME": str(tmp_path)}
    for more, traceback in (([], False), (["--debug"], True)):
        done = subprocess.run(
            [sys.executable, "-c", code.replace("'chatapp', ", f"'chatapp', *{more}, ")],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1
        assert ("Traceback" in done.stderr) == traceback
        assert traceback or done.stderr.startswith("error: RuntimeError: surprise\nhint: ")


def test_a_closed_pipe_is_silent(tmp_path: Path) -> None:
    program(tmp_path, "history", "list")
    with open_store(tmp_path / "data" / "chatapp.db") as store:
        conversation = store.conversations.create("long").id
        for _ in range(200):
            store.conversations.add(conversation, None, "user", "word " * 400, "typed", activate=False)
    process = subprocess.Popen(
        [sys.executable, "-m", "chatapp", "history", "show", "1"],
        cwd=ROOT,
        env={**os.environ, "CHATAPP_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait(timeout=60)


_SLOW = """
import sys
from chatapp.cli.app import app
from chatapp.core.paths import find_paths
from chatapp.core.settings import Settings
from chatapp.engine.scripted import ScriptedEngine
from chatapp.session.wiring import House

engine = ScriptedEngine(["word " * 10_000], pace=0.02)
with House(find_paths(), Settings(), engine) as house:
    app(["ask", "Do not lose this"], obj=house, prog_name="chatapp")
"""


def test_ctrl_c_keeps_what_came(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _SLOW],
        cwd=ROOT,
        env={**os.environ, "CHATAPP_HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    shown = process.stdout.read(50)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == b""
    with open_store(tmp_path / "data" / "chatapp.db") as store:
        prompt, reply = store.conversations.path(1)
    assert (prompt.text, reply.finish_reason) == ("Do not lose this", "cancelled")
    assert reply.text.strip() == (shown + rest).decode().strip()


def test_an_import_that_was_stopped_goes_on(tmp_path: Path) -> None:
    home, pipe, whole = tmp_path / "home", tmp_path / "pipe", tmp_path / "all.jsonl"
    other = Cli(tmp_path / "other")
    for number in range(3):
        other.run("ask", f"question {number}")
    other.run("history", "export", "-o", str(whole))
    program(home, "history", "list")
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [sys.executable, "-m", "chatapp", "history", "import", str(pipe)],
        cwd=ROOT,
        env={**os.environ, "CHATAPP_HOME": str(home)},
        stderr=subprocess.PIPE,
        text=True,
    )
    with pipe.open("w") as file, open_store(home / "data" / "chatapp.db") as store:
        file.writelines(whole.read_text().splitlines(keepends=True)[:2])
        file.flush()
        until = time.monotonic() + 60
        while len(store.conversations.list()) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.1)  # it waits for the third line
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (
        130,
        "stopped; 2 conversations were read, 0 were there already; the same command goes on with the rest\n",
    )
    done = program(home, "history", "import", str(whole))
    assert done.stderr == "read 1 conversations; 2 were there already\n"


def test_ctrl_c_in_the_first_moment_is_silent() -> None:
    code = (
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from chatapp.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, b"")
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"chatapp": "chatapp.__main__:main"}


def test_what_the_locale_cannot_encode_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(tmp_path / "data" / "chatapp.db") as store:
        store.conversations.create("“é” 京")
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1:strict")
    done = subprocess.run(
        [sys.executable, "-m", "chatapp", "history", "list"],
        cwd=ROOT,
        env={**os.environ, "CHATAPP_HOME": str(tmp_path)},
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode("latin-1").split("\t")[1] == "?é? ?"


def test_a_closed_standard_output_is_said(tmp_path: Path) -> None:
    done = subprocess.run(
        f'"{sys.executable}" -m chatapp history path >&-',
        shell=True,
        cwd=ROOT,
        env={**os.environ, "CHATAPP_HOME": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: standard output is closed\nhint: ")


def test_what_the_system_refuses_is_told_in_two_lines(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    long = "a" * 300
    for args, said in (
        (("models", "info", f"{long}/x"), f"cannot read or write {long}/x: File name too long"),
        (("models", "add", f"{long}.gguf"), "File name too long"),
        (("ask", "hi", "-a", f"{long}/x"), "File name too long"),
        (("models", "info", "~nosuch/x"), "no model '~nosuch/x'"),
        (("history", "export", "-o", ""), "Is a directory"),
        (("history", "backup", str(tmp_path / "file" / "folder" / "x")), "Not a directory"),
        (("rankings", "export", str(tmp_path / "file" / "x.jsonl")), "Not a directory"),
    ):
        error = cli.fails(*args)
        assert said in error and "Errno" not in error
        assert [line.split(":")[0] for line in error.splitlines()] == ["error", "hint"]
    home = program(tmp_path / "file" / "home", "ask", "hi")
    assert home.returncode == 1 and "Not a directory" in home.stderr and "Errno" not in home.stderr
