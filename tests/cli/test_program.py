"""The real program in a process of its own: errors, closed pipes, Ctrl+C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from chatapp.store.database import open_store

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
