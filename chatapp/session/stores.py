"""One open store for each thread: a SQLite connection belongs to the thread that opened it."""

from __future__ import annotations

import threading
from pathlib import Path

from chatapp.store.database import Store, open_store


class Stores:
    """Gives the calling thread its own `Store` on one database file, opened when it is first asked for."""

    def __init__(self, path: Path, first: Store | None = None) -> None:
        self.path = path
        self._local = threading.local()
        if first is not None:
            self._local.store = first

    def here(self) -> Store:
        """The store of the calling thread."""
        store: Store | None = getattr(self._local, "store", None)
        if store is None:
            store = self._local.store = open_store(self.path)
        return store

    def close(self) -> None:
        """Close the store of the calling thread; those of threads that have ended are closed already."""
        store: Store | None = getattr(self._local, "store", None)
        if store is not None:
            del self._local.store
            store.close()
