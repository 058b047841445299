"""`pull` with the embedded model's file on a hub, tried by llama.cpp in its own process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.core.errors import ModelError, UsageError
from chatapp.core.paths import Paths, embedded_model, find_paths
from chatapp.core.settings import Settings
from chatapp.engine.client import LlamaClient
from chatapp.library.catalogue import Catalogue, CatalogueEntry
from chatapp.library.hub import Hub
from chatapp.library.hub_settings import HubSettings
from chatapp.library.pull import pull
from chatapp.library.wanted import read_wanted
from tests.library.hub_server import REPO, FakeHub, serving
from tests.library.test_catalogue import write_gguf

GUIDE = embedded_model().read_bytes()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaClient]:
    client = LlamaClient(tmp_path_factory.mktemp("cache"))
    yield client
    client.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[FakeHub]:
    # Its header is sound; llama.cpp knows better.
    odd = write_gguf(tmp_path / "odd.gguf").read_bytes()
    adapter = write_gguf(tmp_path / "adapter.gguf", "adapter").read_bytes()
    files = {"m-Q8_0.gguf": GUIDE, "odd.gguf": odd, "adapter.gguf": adapter, "page.gguf": b"<html>" * 99}
    with serving(files) as hub:
        yield hub


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return find_paths({"CHATAPP_HOME": str(tmp_path / "home")})


def pulled(
    what: str, served: FakeHub, paths: Paths, engine: LlamaClient, name: str | None = None
) -> CatalogueEntry:
    settings = {"HF_ENDPOINT": served.endpoint, "HF_HOME": str(paths.cache / "hf")}
    catalogue = Catalogue(paths, Settings())
    return pull(read_wanted(what), Hub(HubSettings.found(settings)), catalogue, engine, name)


def test_it_is_tried_and_added(served: FakeHub, paths: Paths, engine: LlamaClient) -> None:
    entry = pulled(f"{REPO}:q8_0", served, paths, engine)
    assert (entry.name, entry.problem, entry.size) == ("m-Q8_0", None, len(GUIDE))
    assert entry.path.parent == paths.models and entry.path.is_symlink()
    assert engine.info is not None and engine.info.name == "m-Q8_0"
    # A second time nothing is downloaded and nothing changes.
    assert pulled(f"{REPO}:Q8_0", served, paths, engine) == entry
    assert served.sent == ["all"]
    assert pulled(f"{REPO}:Q8_0", served, paths, engine, "other").name == "other"
    assert served.sent == ["all"]


@pytest.mark.parametrize(
    ("file", "why"),
    [("odd.gguf", "llama.cpp"), ("adapter.gguf", "LoRA adapter"), ("page.gguf", "does not begin with GGUF")],
)
def test_what_cannot_be_used_is_not_added(
    served: FakeHub, paths: Paths, engine: LlamaClient, file: str, why: str
) -> None:
    with pytest.raises(ModelError, match=why) as error:
        pulled(f"{REPO}/{file}", served, paths, engine)
    assert "is not added" in error.value.hint
    assert not paths.models.exists()


def test_a_taken_name_is_told_before_the_download(
    served: FakeHub, paths: Paths, engine: LlamaClient, tmp_path: Path
) -> None:
    Catalogue(paths, Settings()).add(write_gguf(tmp_path / "m-Q8_0.gguf"))
    for name in (None, "guide", "a/b"):
        with pytest.raises(UsageError):
            pulled(f"{REPO}:Q8_0", served, paths, engine, name)
    assert served.sent == []
