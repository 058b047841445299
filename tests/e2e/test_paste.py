"""Bytes as a terminal sends them, which no key of a test could."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.database import query
from tests.e2e.terminal import Terminal

pytestmark = pytest.mark.e2e


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Terminal]:
    environment = {**os.environ, "CHATAPP_HOME": str(tmp_path)}
    with Terminal([sys.executable, "-m", "chatapp"], environment) as terminal:
        terminal.wait("Ask, or / for commands")
        yield terminal
        terminal.press("ctrl+q")
        assert terminal.wait_end() == 0


def test_a_paste_with_escapes_stays_in_its_order_and_is_not_sent(chat: Terminal, tmp_path: Path) -> None:
    chat.send(b"\x1b[200~one\rtwo \x1b[31mred\x1b[0m\rthree\rfour\x1b[201~")

    def in_order(screen: str) -> bool:
        lines = [line.strip(" >┃│▌") for line in screen.splitlines()]
        pasted = ["one", "two ␛[31mred␛[0m", "three", "four"]
        return "one" in lines and lines[lines.index("one") :][:4] == pasted

    chat.wait(in_order)
    assert query(tmp_path, "SELECT text FROM messages") == []
    chat.press("enter")
    chat.wait(lambda _: query(tmp_path, "SELECT text FROM messages WHERE role = 'user'") != [])
    sent = query(tmp_path, "SELECT text FROM messages WHERE role = 'user'")
    assert sent == [("one\ntwo \x1b[31mred\x1b[0m\nthree\nfour",)]


def test_bytes_that_are_no_utf8_end_nothing(chat: Terminal) -> None:
    chat.send(b"caf\xe9 au lait")
    chat.wait("caf\ufffd au lait")
