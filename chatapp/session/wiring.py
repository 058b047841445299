"""Builds the parts and hands them to each other: the one place that chooses which engine and which files."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from chatapp.core.errors import ModelError, NotFound
from chatapp.core.paths import Paths, embedded_model, find_paths
from chatapp.core.settings import Settings, load_settings
from chatapp.engine.base import AdapterSpec, Engine, ModelSpec
from chatapp.library.catalogue import Catalogue
from chatapp.session.session import Session
from chatapp.session.stores import Stores
from chatapp.store.database import Store


class House:
    """All that a command or a screen needs, each part built when it is first asked for. Close it at the end.

    With an `engine` of the caller's (a scripted one), models are known by name alone and no file is read.
    """

    def __init__(self, paths: Paths, settings: Settings, engine: Engine | None = None) -> None:
        self.paths = paths
        self.settings = settings
        self.stores = Stores(paths.database)
        self.catalogue = Catalogue(paths, settings)
        self._given = engine
        self._engine = engine
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def found(cls) -> House:
        """The user's own folders and settings. Errors: `SettingsError`."""
        paths = find_paths()
        return cls(paths, load_settings(paths.settings))

    @classmethod
    def demo(cls) -> House:
        """A scripted engine and a folder that is thrown away: nothing of the user's is touched."""
        from chatapp.engine.scripted import ScriptedEngine

        folder = tempfile.TemporaryDirectory(prefix="chatapp-demo-")
        root = Path(folder.name)
        paths = Paths(root / "config", root / "data", root / "state", root / "cache")
        house = cls(paths, Settings(model="demo"), ScriptedEngine())
        house._folder = folder
        return house

    def with_settings(self, **changes: object) -> House:
        """Change settings for this run alone, as flags do."""
        self.settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        self.catalogue = Catalogue(self.paths, self.settings)
        return self

    def forget(self, copy: bool = False) -> None:
        """Keep nothing of what comes: the database is thrown away, empty or a copy of the real one."""
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="chatapp-")
        path = Path(self._folder.name) / "forgotten.db"
        if copy:
            self.stores.here().backup(path)
        self.stores.close()
        self.stores = Stores(path)

    def store(self) -> Store:
        """The store of the calling thread."""
        return self.stores.here()

    def engine(self) -> Engine:
        """llama.cpp in a child process, which starts with the first model that is loaded."""
        if self._engine is None:
            from chatapp.engine.client import LlamaClient

            self.paths.make()
            self._engine = LlamaClient(cache=self.paths.cache, log=self.paths.log)
        return self._engine

    def spec(self, model: str | None = None) -> ModelSpec:
        """The model named (by default the one in the settings), found and checked.

        Errors: `NotFound`, `ModelError`.
        """
        settings = self.settings
        wanted = settings.model if model is None else model
        if self._given is not None:
            name, path = wanted, embedded_model()
        else:
            entry = self.catalogue.find(wanted)
            if entry.problem is not None:
                raise ModelError(f"model {entry.name} cannot be used: {entry.problem}")
            name, path = entry.name, entry.path
        return ModelSpec(
            path, name, n_ctx=settings.n_ctx, threads=settings.threads, gpu_layers=settings.gpu_layers
        )

    def adapter(self, name: str | None = None) -> AdapterSpec | None:
        """The adapter named: `base` is none, a file is taken as it is. Errors: `NotFound`."""
        wanted = self.settings.adapter if name is None else name
        if wanted == "base":
            return None
        for file in (self.paths.adapters / wanted / "adapter.gguf", Path(wanted).expanduser()):
            if file.is_file():
                return AdapterSpec(wanted if file.parent.name == wanted else file.stem, file)
        raise NotFound(f"no adapter named {wanted!r}", "`base` is the model without an adapter")

    def session(self, conversation: int | None = None) -> Session:
        """A session with the model and adapter of the settings. Errors: `NotFound`, `ModelError`."""
        session = Session(self.stores, self.engine(), self.settings, self.spec(), self.adapter())
        session.open(conversation)
        return session

    def close(self) -> None:
        """End the engine and close the calling thread's store; idempotent."""
        if self._engine is not None:
            self._engine.close()
        self.stores.close()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> House:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
