"""Writes growing replies to the store from a thread of its own: a crash loses at most 0.25 s of text.

A timer cannot sit in the loop that reads the engine: that loop blocks while the engine thinks, and whoever
shows the text may hold it up as well. The thread writes `INTERVAL` after the first text that is not yet in
the store, whatever the others do, and sleeps when there is none.
"""

from __future__ import annotations

import threading
from types import TracebackType

from chatapp.session.stores import Stores

INTERVAL = 0.1
"""Seconds between two writes; leaves room under the bound for the write itself on a busy machine."""


class Journal:
    """Use as a context manager around one request. `write` never blocks for longer than one transaction."""

    def __init__(self, stores: Stores, interval: float = INTERVAL) -> None:
        self._stores = stores
        self._interval = interval
        self._pending: dict[int, str] = {}
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def __enter__(self) -> Journal:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        with self._changed:
            self._changed.notify()
        self._thread.join()

    def write(self, reply: int, text: str) -> None:
        """Note the whole text of a reply so far. Raises what went wrong in an earlier write."""
        with self._changed:
            if self._error is not None:
                raise self._error
            self._pending[reply] = text
            self._changed.notify()

    def forget(self, reply: int) -> None:
        """The reply is about to be sealed by another hand; no write to it comes after this."""
        with self._changed:
            self._pending.pop(reply, None)

    def _run(self) -> None:
        try:
            conversations = self._stores.here().conversations
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._pending or self._stop.is_set())
                if self._stop.wait(self._interval):
                    return
                with self._changed:
                    pending, self._pending = self._pending, {}
                    for reply, text in pending.items():
                        conversations.journal(reply, text)
        except Exception as error:
            with self._changed:
                self._error = error
        finally:
            self._stores.close()
