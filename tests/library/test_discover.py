"""Files that other programs keep, in folders as those programs lay them out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatapp.core.paths import Paths, find_paths
from chatapp.core.settings import Settings
from chatapp.library.catalogue import Catalogue
from chatapp.library.discover import Found, discover
from chatapp.library.places import (
    hugging_face_cache,
    llama_cpp_cache,
    lm_studio_folders,
    ollama_folders,
)
from tests.library.test_catalogue import write_gguf


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return find_paths({"CHATAPP_HOME": str(tmp_path / "chatapp")})


def found(home: Path, paths: Paths, **environment: str) -> dict[str, Found]:
    catalogue = Catalogue(paths, Settings()).list()
    known = {"HOME": str(home), "OLLAMA_MODELS": str(home / ".ollama/models"), **environment}
    return {each.name: each for each in discover(paths.models, known, catalogue)}


def made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_gguf(path)


def ollama(folder: Path, digest: str, *where: str) -> Path:
    """A manifest as `ollama pull` writes it."""
    manifest = folder.joinpath("manifests", *where)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    kind = "application/vnd.ollama.image."
    layers = [
        {"mediaType": f"{kind}template", "digest": "sha256:" + "e" * 64, "size": 5},
        {"mediaType": f"{kind}model", "digest": digest, "size": 5},
    ]
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return manifest


def test_each_place_is_looked_into(tmp_path: Path, paths: Paths) -> None:
    home = tmp_path / "home"
    blob = made(home / ".cache/huggingface/hub/models--a--b/blobs/abc")
    for commit in ("1" * 40, "2" * 40):
        snapshot = home / f".cache/huggingface/hub/models--a--b/snapshots/{commit}/sub/hf-Q8_0.gguf"
        snapshot.parent.mkdir(parents=True)
        snapshot.symlink_to(blob)
    made(home / ".cache/llama.cpp/org_repo_l.gguf")
    made(home / ".lmstudio/models/org/repo/s.gguf")
    (home / ".lmstudio/models/org/repo/notes.txt").write_text("no model")
    store = home / ".ollama/models"
    made(store / "blobs" / f"sha256-{'a' * 64}")
    made(store / "blobs" / f"sha256-{'b' * 64}")
    ollama(store, "sha256:" + "a" * 64, "registry.ollama.ai", "library", "llama3.2", "1b")
    ollama(store, "sha256:" + "b" * 64, "registry.ollama.ai", "someone", "own", "latest")
    Catalogue(paths, Settings()).add(blob, "linked")
    made(paths.models / "removed" / "old.gguf")
    there = found(home, paths)
    assert {name: (each.place, each.added) for name, each in there.items()} == {
        "hf-Q8_0": ("Hugging Face", "linked"),
        "org_repo_l": ("llama.cpp", None),
        "s": ("LM Studio", None),
        "llama3.2-1b": ("Ollama", None),
        "someone-own": ("Ollama", None),
        "old": ("chatapp", None),
    }
    for each in there.values():
        assert each.problem is None and each.header is not None
        assert each.header.architecture == "llama" and each.size == each.path.stat().st_size > 0


def test_equal_names_are_told_apart(tmp_path: Path, paths: Paths) -> None:
    for name in ("a/m", "b/m", "c/guide", "d/x y\x1b[1m"):
        made(tmp_path / f".lmstudio/models/{name}.gguf")
    assert list(found(tmp_path, paths)) == ["m", "m-2", "guide-2", "x-y-1m"]


def test_what_is_broken_is_listed_with_its_problem(tmp_path: Path, paths: Paths) -> None:
    folder = tmp_path / "llama"
    folder.mkdir()
    (folder / "half.gguf").write_bytes(b"GGUF\x03")
    (folder / "nothing.gguf").symlink_to(tmp_path / "none")
    (folder / "folder.gguf").mkdir()
    there = found(tmp_path, paths, LLAMA_CACHE=str(folder))
    assert list(there) == ["half"]
    assert there["half"].header is None and there["half"].problem


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        '{"layers": 5}',
        '{"layers": [5, {}]}',
        "[" * 100_000,
        json.dumps(
            {"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../../x"}]}
        ),
    ],
)
def test_manifests_that_are_none(tmp_path: Path, paths: Paths, manifest: str) -> None:
    file = ollama(tmp_path, "sha256:" + "a" * 64, "registry", "library", "m", "latest")
    file.write_text(manifest)
    made(tmp_path / "blobs" / f"sha256-{'a' * 64}")
    made(tmp_path / "x")
    assert found(tmp_path, paths, OLLAMA_MODELS=str(tmp_path)) == {}


def test_loops_and_depths_end(tmp_path: Path, paths: Paths) -> None:
    folder = tmp_path / "llama"
    made(folder / "a.gguf")
    (folder / "again").symlink_to(folder)
    made(folder.joinpath(*"123456789") / "deep.gguf")
    assert list(found(tmp_path, paths, LLAMA_CACHE=str(folder))) == ["a"]


def test_each_program_is_asked_where_it_keeps_its_files(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert hugging_face_cache(home) == tmp_path / ".cache/huggingface/hub"
    assert hugging_face_cache({**home, "XDG_CACHE_HOME": "/x"}) == Path("/x/huggingface/hub")
    assert hugging_face_cache({**home, "HF_HOME": "~/hf"}) == tmp_path / "hf/hub"
    assert hugging_face_cache({**home, "HF_HOME": "/x", "HF_HUB_CACHE": "/y"}) == Path("/y")
    assert llama_cpp_cache(home, "linux") == tmp_path / ".cache/llama.cpp"
    assert llama_cpp_cache(home, "darwin") == tmp_path / "Library/Caches/llama.cpp"
    assert llama_cpp_cache({**home, "LLAMA_CACHE": "/l"}) == Path("/l")
    assert ollama_folders({**home, "OLLAMA_MODELS": "/o"}) == [Path("/o")]
    assert ollama_folders(home)[0] == tmp_path / ".ollama/models"
    old = tmp_path / ".cache/lm-studio/models"
    assert lm_studio_folders(home) == [tmp_path / ".lmstudio/models", old]
    (tmp_path / ".lmstudio-home-pointer").write_bytes(bytes(4))
    assert lm_studio_folders(home) == [tmp_path / ".lmstudio/models", old]
    (tmp_path / ".lmstudio-home-pointer").write_text(f"{tmp_path}/studio\n")
    (tmp_path / "studio").mkdir()
    (tmp_path / "studio/settings.json").write_text('{"downloadsFolder": "/big"}')
    assert lm_studio_folders(home) == [Path("/big"), tmp_path / "studio/models", old]
    for broken in ("[]", "{", '{"downloadsFolder": 5}', "[" * 100_000):
        (tmp_path / "studio/settings.json").write_text(broken)
        assert lm_studio_folders(home) == [tmp_path / "studio/models", old]
