"""Told to end from outside: the terminal is as it was, what was said is sealed, no engine is left."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.database import replies
from tests.e2e.terminal import Terminal
from tests.e2e.test_kills import wait_for_text, workers_of_model
from tests.engine.tiny_gguf import make_model

pytestmark = pytest.mark.e2e


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Writes slowly, and never ends by itself."""
    return make_model(tmp_path / "slow.gguf", n_ctx=1024, width=1024, layers=12, endless=True)


@pytest.fixture
def chat(tmp_path: Path, model: Path) -> Iterator[Terminal]:
    environment = {**os.environ, "CHATAPP_HOME": str(tmp_path), "CHATAPP_MODEL": str(model)}
    with Terminal([sys.executable, "-m", "chatapp"], environment, 100, 30) as terminal:
        terminal.wait("Ask, or / for commands")
        assert {1003, 1049, 2004} <= terminal.modes and 25 not in terminal.modes
        yield terminal
        assert not workers_of_model(model)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_signal_ends_the_chat_in_order(
    chat: Terminal, tmp_path: Path, number: signal.Signals, streaming: bool
) -> None:
    said = ""
    if streaming:
        chat.press("hello", "enter")
        said = wait_for_text(tmp_path, 1)
    os.kill(chat.pid, number)
    assert chat.wait_end() == 128 + number
    assert chat.modes == Terminal.USUAL_MODES
    assert "Traceback" not in chat.text
    sealed = replies(tmp_path)
    assert [reason for _, reason in sealed] == ["cancelled"] * streaming
    assert all(text.startswith(said) for text, _ in sealed)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_terminal_that_closes_ends_the_chat_in_order(
    chat: Terminal, tmp_path: Path, streaming: bool
) -> None:
    if streaming:
        chat.press("hello", "enter")
        wait_for_text(tmp_path, 1)
    chat.hang_up()
    assert chat.wait_end() == 128 + signal.SIGHUP
    assert [reason for _, reason in replies(tmp_path)] == ["cancelled"] * streaming
