"""A program that dies while a reply is written: the text that came stays, and the reply is sealed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from chatapp.core.errors import StoreError
from chatapp.core.types import Provenance
from chatapp.store.database import Store, open_store
from chatapp.store.writer import _start, is_alive, this_process
from tests.store.conftest import ask

WRITE = """
import sys, time
from pathlib import Path
from chatapp.core.types import Provenance
from chatapp.store.database import open_store
store = open_store(Path(sys.argv[1]))
conversation = store.conversations.create()
prompt = store.conversations.add(conversation.id, None, "user", "count", "typed")
reply = store.conversations.begin_reply(conversation.id, prompt.id, Provenance("guide"))
text = ""
for n in range(10**9):
    text += f"{n} "
    store.conversations.journal(reply.id, text)
    print(n, flush=True)
"""


def written_until(store: Store, number: int) -> subprocess.Popen[str]:
    """A process in the middle of its reply."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(store.path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= number:
            return process
    raise AssertionError("the writer ended")


@pytest.mark.parametrize("number", [0, 1, 7, 40])
def test_a_killed_writer_leaves_its_text(store: Store, number: int) -> None:
    process = written_until(store, number)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with open_store(store.path) as after:
        prompt, reply = after.conversations.path(1)
        assert prompt.text == "count"
        assert reply.finish_reason == "interrupted"
        said = reply.text.split()
        assert said == [str(n) for n in range(len(said))]
        assert len(said) > number
        assert [hit.message for hit in after.search.query("count")] == [prompt.id]
        assert after.search.query("0")[0].message == reply.id
        assert after.integrity() == "ok"


def test_a_zombie_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    writer = (process.pid, _start(process.pid))
    assert is_alive(writer)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended and nobody has collected it
    assert writer[1] is None or not is_alive(writer)
    process.wait()
    assert not is_alive(writer)
    assert process.stdin is not None
    process.stdin.close()


def test_a_living_writer_is_left_alone(store: Store) -> None:
    process = written_until(store, 3)
    try:
        with open_store(store.path) as other:
            assert other.conversations.message(2).finish_reason is None
    finally:
        process.kill()
        process.wait()


def test_a_second_connection_of_the_same_program_is_left_alone(store: Store) -> None:
    prompt, _ = ask(store, replies=0)
    reply = store.conversations.begin_reply(prompt.conversation, prompt.id, Provenance("guide"))
    store.conversations.journal(reply.id, "so far")
    with open_store(store.path) as other:
        assert other.conversations.message(reply.id).text == "so far"
        assert other.conversations.message(reply.id).finish_reason is None
    store.conversations.finish(reply.id, "so far and on", "stop", Provenance("guide"))


def test_a_reused_process_id_is_not_the_writer(store: Store) -> None:
    pid, start = this_process()
    if start is None:
        pytest.skip("this system does not say when a process started")
    assert is_alive((pid, start))
    assert not is_alive((pid, "1@another-boot"))
    prompt, _ = ask(store, replies=0)
    reply = store.conversations.begin_reply(prompt.conversation, prompt.id, Provenance("guide"))
    store.conversations.journal(reply.id, "so far")
    store._connection.write("UPDATE messages SET writer_start = '1@another-boot' WHERE id = ?", (reply.id,))
    with open_store(store.path) as after:
        sealed = after.conversations.message(reply.id)
        assert (sealed.text, sealed.finish_reason) == ("so far", "interrupted")
    with pytest.raises(StoreError, match="finished"):
        store.conversations.journal(reply.id, "late")
