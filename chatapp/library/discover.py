"""Finds GGUF files that are on this machine already: chatapp's own and those of other programs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.library import places
from chatapp.library.catalogue import GUIDE, CatalogueEntry, entry_of

if TYPE_CHECKING:
    from chatapp.engine.gguf import GgufHeader

_MOST_FILES = 1000
_DEEPEST = 8
"""Folders below the one that is searched."""
_MOST_FOLDERS = 20_000
_LONGEST_MANIFEST = 1 << 20
_OLLAMA_MODEL = "application/vnd.ollama.image.model"
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Found:
    """A GGUF file on this machine."""

    name: str
    """What `models add` can call it; no two have the same."""
    path: Path
    place: str
    """Whose folder it lies in."""
    size: int
    """Bytes."""
    header: GgufHeader | None
    problem: str | None
    """Why it cannot be used, in one line."""
    added: str | None
    """Its name in the catalogue, where it is there."""


def discover(
    models: Path, environment: Mapping[str, str], catalogue: Sequence[CatalogueEntry]
) -> list[Found]:
    """Every file once, with what its header says. Places that are not there, or closed to us, are left out.

    `models` is chatapp's own folder, searched last: what it links to is named where it lies.
    """
    added = {identity: each.name for each in catalogue if (identity := _identity(each.path)) is not None}
    seen: set[tuple[int, int]] = set()
    names = {GUIDE}
    found: list[Found] = []
    for place, name, path in islice(_candidates(models, environment), _MOST_FILES):
        identity = _identity(path)
        if identity is None or identity in seen:
            continue
        seen.add(identity)
        read = entry_of(name, path)
        one = Found(name, path, place, read.size, read.header, read.problem, added.get(identity))
        found.append(replace(one, name=_unused(_plain(name), names)))
    return found


def _candidates(models: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, str, Path]]:
    """Place, name and path of each file, some twice."""
    cache = places.hugging_face_cache(environment)
    folders = [("Hugging Face", each / "snapshots") for each in _below(cache, "models--*")]
    folders.append(("llama.cpp", places.llama_cpp_cache(environment)))
    folders += [("LM Studio", each) for each in places.lm_studio_folders(environment)]
    for place, folder in folders:
        for path in _gguf_files(folder):
            yield place, path.stem, path
    for folder in places.ollama_folders(environment):
        for name, path in _ollama(folder):
            yield "Ollama", name, path
    for path in _gguf_files(models):
        yield "chatapp", path.stem, path


def _below(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _files(folder: Path) -> Iterator[Path]:
    """Files at most `_DEEPEST` below, in order of their paths; links to folders are not followed."""
    depth = len(folder.parts)
    for here, folders, files in islice(os.walk(folder), _MOST_FOLDERS):
        folders[:] = sorted(folders) if len(Path(here).parts) - depth < _DEEPEST else []
        for name in sorted(files):
            yield Path(here, name)


def _gguf_files(folder: Path) -> Iterator[Path]:
    return (each for each in _files(folder) if each.name.lower().endswith(".gguf"))


def _ollama(folder: Path) -> Iterator[tuple[str, Path]]:
    """The models of Ollama by their own names; its manifests say which blob is which."""
    for manifests in _below(folder, "manifest*"):
        for file in _files(manifests):
            digest = _model_digest(file)
            if digest is not None:
                *registry, model, tag = file.relative_to(manifests).parts
                owner = [each for each in registry[1:] if each != "library"]
                yield (
                    "-".join([*owner, model, *([] if tag == "latest" else [tag])]),
                    (folder / "blobs" / f"sha256-{digest}"),
                )


def _model_digest(manifest: Path) -> str | None:
    """The digest of the weights that a manifest names; None where it names none or is no manifest."""
    try:
        if len(manifest.parts) < 3 or manifest.stat().st_size > _LONGEST_MANIFEST:
            return None
        said = json.loads(manifest.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    layers = said.get("layers") if isinstance(said, dict) else None
    for layer in layers if isinstance(layers, list) else []:
        match layer:
            case {"mediaType": str(kind), "digest": str(digest)} if kind == _OLLAMA_MODEL:
                match = _DIGEST.fullmatch(digest)
                return match[1] if match else None
    return None


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file this is, through all links; None where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _plain(name: str) -> str:
    """`name` as the catalogue takes it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:100].strip("-.") or "model"


def _unused(name: str, names: set[str]) -> str:
    """`name`, with a number where it is taken."""
    number, new = 1, name
    while new in names:
        number += 1
        new = f"{name}-{number}"
    names.add(new)
    return new
