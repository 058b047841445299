"""`models pull`: chooses a file of a repository, downloads it, tries it, and puts it into the catalogue."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from chatapp.core.errors import EngineError, ModelError
from chatapp.core.sanitize import one_line
from chatapp.engine.base import Engine, ModelSpec
from chatapp.engine.gguf import read_header
from chatapp.engine.usable import require_model
from chatapp.library.catalogue import Catalogue, CatalogueEntry
from chatapp.library.choice import RemoteFile, choose
from chatapp.library.download import Listener, download
from chatapp.library.hub import Hub
from chatapp.library.wanted import Wanted

_TRIAL_CONTEXT = 256
"""Tokens; a trial needs no more memory than the weights."""


def pull(
    wanted: Wanted,
    hub: Hub,
    catalogue: Catalogue,
    engine: Engine,
    name: str | None = None,
    chosen: Callable[[RemoteFile], None] = lambda file: None,
    listener: Listener = lambda done, total: None,
    sleep: Callable[[float], None] = time.sleep,
) -> CatalogueEntry:
    """The model, in the catalogue as a link into the Hugging Face cache, under `name` or the file's own.

    Nothing is registered that the header check or llama.cpp, in its own process, refuses. Errors: `NotFound`,
    `DownloadError`, `ModelError`, `UsageError` when the name is taken by another model.
    """
    file = choose(hub.files(wanted.repo), wanted)
    own = file.name[: -len(".gguf")] if name is None else name
    link = catalogue.linked(own)
    known = link is not None and link.resolve().name == file.digest
    if not known:
        catalogue.require_free(own)
    chosen(file)
    path = download(hub, wanted.repo, file, listener, sleep)
    if known:
        return catalogue.find(own)
    _try(engine, path, own)
    return catalogue.add(path, own)


def _try(engine: Engine, path: Path, name: str) -> None:
    """Load it once in the engine's process and decode two tokens there. Errors: `ModelError`."""
    kept = f"it stays in the cache and is not added: {path}"
    shown = one_line(path.name, 80)
    try:
        require_model(read_header(path))
        engine.load(ModelSpec(path, name, n_ctx=_TRIAL_CONTEXT, threads=1, lanes=1))
    except ModelError as error:
        raise ModelError(f"{shown} cannot be used: {error}", kept) from error
    except EngineError as error:
        raise ModelError(f"llama.cpp cannot run {shown} here: {error}", kept) from error
