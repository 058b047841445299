"""Tiny models, made once, and clients that are always closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatapp.engine.base import ModelSpec
from chatapp.engine.client import LlamaClient
from tests.engine.tiny_gguf import make_adapter, make_model


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
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests, so that threads are measured once."""
    return tmp_path_factory.mktemp("cache")


Start = Callable[..., LlamaClient]


@pytest.fixture
def start(cache: Path, tmp_path: Path) -> Iterator[Start]:
    """Makes clients with a model loaded, one thread each, and closes them."""
    clients: list[LlamaClient] = []

    def make(path: Path, **spec: object) -> LlamaClient:
        client = LlamaClient(cache, tmp_path / "engine.log")
        clients.append(client)
        client.load(ModelSpec(path, path.stem, **{"threads": 1, **spec}))  # type: ignore[arg-type]
        return client

    yield make
    for client in clients:
        client.close()
