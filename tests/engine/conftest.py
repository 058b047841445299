"""Tiny models, made once, and clients that are always closed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatapp.engine.base import ModelSpec
from chatapp.engine.client import LlamaClient
from tests.engine.tiny_gguf import make_adapter, make_model

# As in the child process: threads that spin would slow every other test down.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def tiny(models: Path) -> Path:
    return make_model(models / "tiny.gguf")


@pytest.fixture(scope="session")
def adapter(models: Path) -> Path:
    return make_adapter(models / "tiny-lora.gguf")


@pytest.fixture(scope="session")
def endless(models: Path) -> Path:
    """Writes until it is stopped."""
    return make_model(models / "endless.gguf", n_ctx=8192, endless=True)


@pytest.fixture(scope="session")
def large(models: Path) -> Path:
    """Large enough for a long prompt to take seconds."""
    return make_model(models / "large.gguf", width=768, layers=8, n_ctx=8192, endless=True)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests, so that threads are measured once."""
    return tmp_path_factory.mktemp("cache")


Start = Callable[..., LlamaClient]


@pytest.fixture(scope="session")
def pool(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Clients with a model loaded, one thread each; tests that do not harm theirs share it."""
    log = tmp_path_factory.mktemp("log") / "engine.log"
    shared: dict[object, LlamaClient] = {}
    clients: list[LlamaClient] = []

    def make(path: Path, fresh: bool = False, **spec: object) -> LlamaClient:
        key = (path, tuple(spec.items()))
        if not fresh and key in shared:
            return shared[key]
        client = LlamaClient(cache, log)
        clients.append(client)
        client.load(ModelSpec(path, path.stem, **{"threads": 1, **spec}))  # type: ignore[arg-type]
        if not fresh:
            shared[key] = client
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def start(pool: Start) -> Start:
    """`start(path, n_ctx=...)` gives a client that may have answered before; `fresh=True` a new one."""
    return pool
