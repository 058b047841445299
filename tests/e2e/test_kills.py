"""Sudden death, of the engine or of the whole program, in the middle of a reply.

`CHATAPP_KILLS=50` and `CHATAPP_APP_KILLS=100` set how often; the defaults keep the suite quick.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.database import finished, query, replies
from tests.e2e.terminal import Terminal
from tests.engine.tiny_gguf import make_model

pytestmark = pytest.mark.e2e
ENGINE_KILLS = int(os.environ.get("CHATAPP_KILLS", "5"))
APP_KILLS = int(os.environ.get("CHATAPP_APP_KILLS", "8"))
LOSS_LIMIT = 0.25
"""Seconds of a reply that a crash may cost."""


def test_the_screen_outlives_its_engine(tmp_path: Path) -> None:
    # A random model of some width writes slowly and seldom ends by itself: a kill hits it in mid-stream.
    model = make_model(tmp_path / "slow.gguf", n_ctx=1024, width=1024, layers=12, endless=True)
    environment = {**os.environ, "CHATAPP_HOME": str(tmp_path), "CHATAPP_MODEL": str(model)}
    rng = random.Random(0)
    with Terminal([sys.executable, "-m", "chatapp"], environment, 100, 30) as terminal:
        terminal.wait("Ask, or / for commands")
        for number in range(1, ENGINE_KILLS + 1):
            terminal.press(f"message {number}", "enter")
            before = len(wait_for_text(tmp_path, number))
            time.sleep(rng.uniform(0, 0.3))
            [worker] = workers(terminal.pid)
            os.kill(worker, signal.SIGKILL)
            screen = terminal.wait(lambda _, number=number: finished(tmp_path) == number)
            screen = terminal.wait("SIGKILL")
            assert "Traceback" not in screen
            assert "Ask, or / for commands" in screen
            text, reason = replies(tmp_path)[-1]
            assert reason == "error"
            assert len(text) >= before
        terminal.press("the one after", "enter")
        wait_for_text(tmp_path, ENGINE_KILLS + 1)
        terminal.press("escape")
        terminal.wait(lambda _: finished(tmp_path) == ENGINE_KILLS + 1)
        assert replies(tmp_path)[-1][1] == "cancelled"
        terminal.press("ctrl+q")
        assert terminal.wait_end() == 0
    assert not workers_of_model(model)


def test_a_killed_program_loses_no_prompt_and_hardly_any_reply(tmp_path: Path) -> None:
    environment = {**os.environ, "CHATAPP_HOME": str(tmp_path)}
    rng = random.Random(1)
    losses = []
    for number in range(1, APP_KILLS + 1):
        pace = rng.choice(["0.002", "0.02", "0.12"])
        with Terminal([sys.executable, "-m", "tests.e2e.chat_with_clock", pace], environment) as terminal:
            terminal.wait("Ask, or / for commands")
            terminal.press(f"prompt {number}", "enter")
            wait_for_text(tmp_path, number)
            time.sleep(rng.uniform(0, 0.8))
            killed = time.monotonic_ns()
            terminal.kill()
        prompts = query(tmp_path, "SELECT text FROM messages WHERE role = 'user' ORDER BY id")
        assert prompts == [(f"prompt {each}",) for each in range(1, number + 1)]
        last_word = int(replies(tmp_path)[-1][0].split()[-1])
        losses.append((killed - last_word) / 1e9 - float(pace))
        assert query(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    print(f"lost seconds: median {sorted(losses)[len(losses) // 2]:.3f}, most {max(losses):.3f}")
    assert max(losses) <= LOSS_LIMIT


def wait_for_text(home: Path, number: int, seconds: float = 60) -> str:
    """Wait until that many replies are there and the newest has some text."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        there = replies(home)
        if len(there) == number and there[-1][0].strip():
            return there[-1][0]
        time.sleep(0.005)
    raise AssertionError(f"reply {number} did not come")


def workers(parent: int) -> list[int]:
    """Process ids of the engine processes that belong to this program."""
    command = ["ps", "-ww", "-eo", "pid=,ppid=,args="]
    listing = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in listing.stdout.splitlines()]
    return [int(pid) for pid, owner, args in rows if int(owner) == parent and "chatapp.engine.worker" in args]


def workers_of_model(model: Path) -> list[int]:
    """Engine processes of anyone that still have this file open (Linux only; elsewhere none is found)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"chatapp.engine.worker" in folder.read_bytes() and str(model) in (
                folder.parent / "maps"
            ).read_text(errors="replace"):
                found.append(int(folder.parent.name))
        except OSError:
            continue
    return found
