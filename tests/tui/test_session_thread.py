"""Batches of updates."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from chatapp.session.updates import Dropped, Text
from chatapp.tui import session_thread
from chatapp.tui.session_thread import SessionThread, joined


async def test_the_end_waits_for_no_job_that_cannot_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_thread, "_PATIENCE", 0.1)
    done: list[str] = []

    class Loading:
        """Ends when its engine is closed, and not before."""

        def __init__(self) -> None:
            self.engine, self.closed = self, threading.Event()

        def cancel(self) -> None:
            done.append("cancelled")

        def close(self) -> None:
            self.closed.set()

    thread: Any = SessionThread(Loading)  # type: ignore[arg-type]
    loading = await thread.do(lambda session: session)
    thread._pool.submit(lambda: done.append("ended" if loading.closed.wait(60) else "hung"))
    await thread.close(lambda: done.append("last"))
    assert done == ["cancelled", "ended", "last"]


def test_pieces_of_a_reply_are_joined_and_nothing_changes_places_with_another_update() -> None:
    batch = [Text(1, 0, "a"), Text(2, 1, "x"), Text(1, 0, "b"), Dropped(3), Text(2, 1, "y"), Text(2, 1, "z")]
    assert joined(batch) == [Text(1, 0, "ab"), Text(2, 1, "x"), Dropped(3), Text(2, 1, "yz")]
    assert joined([]) == []
