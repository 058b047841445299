"""A crash loses at most a quarter of a second of text, for fast and for slow models."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

from chatapp.core.settings import Settings
from chatapp.core.types import Sampling
from chatapp.engine.base import Delta, Event, LaneDone, Request, Started
from chatapp.engine.scripted import ScriptedEngine
from chatapp.session.journal import Journal
from chatapp.session.session import Session
from chatapp.session.stores import Stores
from chatapp.session.updates import Finished
from chatapp.store.database import Store, open_store
from tests.session.conftest import SPEC


class WatchingEngine(ScriptedEngine):
    """Writes a word only when the one before it is in the database, and notes how long that took."""

    def __init__(self, path: Path, words: int) -> None:
        super().__init__()
        self._path = path
        self._words = words
        self.waited: list[float] = []

    def generate(self, request: Request) -> Iterator[Event]:
        yield Started(1, 0, 0, 100, 1)
        text = ""
        with open_store(self._path) as store:
            for number in range(self._words):
                text += f"word{number} "
                yield Delta(0, f"word{number} ")
                begun = time.monotonic()
                while not self._is_stored(store, text) and time.monotonic() - begun < 3:
                    time.sleep(0.002)
                self.waited.append(time.monotonic() - begun)
        yield LaneDone(0, "stop", self._words, 0.1, 1.0, 1)

    def _is_stored(self, store: Store, text: str) -> bool:
        return any(each.text == text for each in store.conversations.messages(1))


def test_text_is_in_the_database_while_the_engine_keeps_still(tmp_path: Path) -> None:
    path = tmp_path / "chatapp.db"
    engine = WatchingEngine(path, words=5)
    with open_store(path) as store:
        session = Session(store, engine, Settings(), SPEC)
        list(session.stream(session.begin("Go").id))
    assert len(engine.waited) == 5
    assert median(engine.waited) < 0.25


def test_a_fast_model_is_written_ten_times_a_second_at_most(tmp_path: Path) -> None:
    path = tmp_path / "chatapp.db"
    written: list[float] = []

    class CountingStores(Stores):
        def here(self) -> Store:
            store = super().here()
            journal = store.conversations.journal

            def count(reply: int, text: str) -> None:
                written.append(time.monotonic())
                journal(reply, text)

            store.conversations.journal = count  # type: ignore[method-assign]
            return store

    with open_store(path) as store:
        session = Session(store, ScriptedEngine(["x"], pace=0), Settings(), SPEC)
        updates = session.stream(session.begin("Go").id)
        reply = next(updates).reply.id  # type: ignore[union-attr]
        with Journal(CountingStores(path)) as journal:
            ends = time.monotonic() + 1.0
            while time.monotonic() < ends:
                journal.write(reply, "text so far")
                time.sleep(0.001)
        list(updates)
    assert 2 <= len(written) <= 11
    assert min(b - a for a, b in pairwise(written)) > 0.09


def test_a_reply_that_is_gone_on_with_never_lacks_what_it_goes_on_from(tmp_path: Path) -> None:
    with open_store(tmp_path / "chatapp.db") as store:
        engine = ScriptedEngine(["one two three four five six"], pace=0.06)
        session = Session(store, engine, Settings(sampling=Sampling(max_tokens=2)), SPEC)
        *_, done = session.stream(session.begin("Count").id)
        assert isinstance(done, Finished)
        seen = set()
        for update in session.write_on(done.reply.id, sampling=Sampling()):
            reply = store.conversations.messages(1)[-1]
            assert reply.id > done.reply.id and reply.text.startswith("one two ")
            if not isinstance(update, Finished):
                assert reply.finish_reason is None
                seen.add(reply.text)
        assert "one two " in seen and len(seen) > 1
        assert reply.text == "one two three four five six"


_KILLED = """
import sys
from pathlib import Path
from chatapp.core.settings import Settings
from chatapp.engine.scripted import ScriptedEngine
from chatapp.session.session import Session
from chatapp.store.database import open_store
from tests.session.conftest import SPEC

session = Session(
    open_store(Path(sys.argv[1])), ScriptedEngine(["word " * 10_000], pace=0.01), Settings(), SPEC
)
for update in session.stream(session.begin("Do not lose this").id):
    print(type(update).__name__, getattr(update, "delta", ""), flush=True)
"""


def test_a_killed_program_loses_neither_prompt_nor_text(tmp_path: Path) -> None:
    path = tmp_path / "chatapp.db"
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(path)], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    came: list[float] = []
    for line in process.stdout:
        if line.startswith("Text"):
            came.append(time.monotonic())
        if len(came) == 100:
            break
    os.kill(process.pid, signal.SIGKILL)
    killed = time.monotonic()
    process.communicate()
    with open_store(path) as store:
        prompt, reply = store.conversations.messages(1)
    assert prompt.text == "Do not lose this"
    assert reply.finish_reason == "interrupted"
    # A margin for a busy machine: the thread that writes may be late, not the promise.
    safe = sum(killed - each > 0.4 for each in came)
    assert reply.text.count("word") >= safe > 10
