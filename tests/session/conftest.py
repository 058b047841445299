"""A session on a real database with an engine that answers from a script at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatapp.core.settings import Settings
from chatapp.engine.base import ModelSpec
from chatapp.engine.scripted import Script, ScriptedEngine
from chatapp.session.session import Session
from chatapp.store.database import Store, open_store

SPEC = ModelSpec(Path("scripted.gguf"), "scripted")
Build = Callable[..., Session]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "chatapp.db") as opened:
        yield opened


@pytest.fixture
def build(store: Store) -> Build:
    """Makes a session from a script, or from an engine."""

    def make(script: Script | ScriptedEngine | None = None, **settings: object) -> Session:
        engine = script if isinstance(script, ScriptedEngine) else ScriptedEngine(script, pace=0)
        return Session(store, engine, Settings(**settings), SPEC)  # type: ignore[arg-type]

    return make
