"""Builds the parts and hands them to each other: the one place that chooses which engine and which files."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from chatapp.core.errors import EngineError, ModelError, NotFound
from chatapp.core.paths import Paths, embedded_model, expanded, find_paths
from chatapp.core.sanitize import one_line
from chatapp.core.settings import Settings, load_settings
from chatapp.core.types import Adapter, Sampling
from chatapp.engine.base import AdapterSpec, Engine, ModelSpec
from chatapp.engine.recommended import recommended_sampling
from chatapp.library.catalogue import Catalogue
from chatapp.session.session import Session
from chatapp.session.stores import Stores
from chatapp.store.database import Store

if TYPE_CHECKING:
    from chatapp.engine.tuning import TuningClient


class House:
    """All that a command or a screen needs, each part built when it is first asked for. Close it at the end.

    With an `engine` of the caller's (a scripted one), models are known by name alone and no file is read.
    """

    def __init__(self, paths: Paths, settings: Settings, engine: Engine | None = None) -> None:
        self.paths = paths
        self.settings = settings
        self.stores = Stores(paths.database)
        self.catalogue = Catalogue(paths, settings)
        self._registry = self.stores
        """Where the adapters are known; `forget` leaves it alone."""
        self._given = engine
        self._engine = engine
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def found(cls) -> House:
        """The user's own folders and settings. Errors: `SettingsError`."""
        paths = find_paths()
        return cls(paths, load_settings(paths.settings))

    @classmethod
    def with_defaults(cls) -> House:
        """The user's own folders, and settings as the program has them."""
        return cls(find_paths(), Settings())

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
        if not self._registry.path.exists():
            self._registry = self.stores

    def store(self) -> Store:
        """The store of the calling thread."""
        return self.stores.here()

    def engine(self) -> Engine:
        """llama.cpp in a child process, which starts with the first model that is loaded."""
        if self._engine is None:
            self._engine = self.another_engine()
        return self._engine

    def another_engine(self) -> TuningClient:
        """llama.cpp in a child process of its own, for the caller to close.

        Errors: `EngineError` where a scripted engine stands for it.
        """
        if self._given is not None:
            raise EngineError("a scripted engine has no model to run", "leave out --demo")
        from chatapp.engine.tuning import TuningClient

        self.paths.make()
        return TuningClient(cache=self.paths.cache, log=self.paths.log)

    def spec(self, model: str | None = None) -> ModelSpec:
        """The model named (by default the one in the settings), found and checked.

        Errors: `NotFound`, `ModelError`.
        """
        settings = self.settings
        wanted = settings.model if model is None else model
        own = Sampling()
        if self._given is not None:
            name, path = wanted, embedded_model()
        else:
            entry = self.catalogue.find(wanted)
            if entry.problem is not None:
                raise ModelError(f"model {entry.name} cannot be used: {entry.problem}")
            name, path = entry.name, entry.path
            if entry.header is not None:
                own = recommended_sampling(entry.header.metadata)
        return ModelSpec(
            path,
            name,
            n_ctx=settings.n_ctx,
            threads=settings.threads,
            gpu_layers=settings.gpu_layers,
            sampling=own,
        )

    def sampling(self, model: ModelSpec | None = None) -> Sampling:
        """How a first reply of `model` (by default the one in the settings) is sampled."""
        return self.settings.sampling_with((self.spec() if model is None else model).sampling)

    def model_sha256(self, model: ModelSpec | None = None) -> str:
        """Of the file of `model` (by default the one in the settings): what adapters are bound to."""
        spec = self.spec() if model is None else model
        if self._given is not None:
            return (self._given.info or self._given.load(spec)).sha256
        from chatapp.engine.cache import sha256

        return sha256(spec.path, self.paths.cache)

    def adapter(self, name: str | None = None, model: ModelSpec | None = None) -> AdapterSpec | None:
        """The adapter named (by default the one in the settings) for `model`, checked to fit it.

        `active` is the one chosen last for this model, `base` is none; else a name or a file.
        Errors: `NotFound`; `ModelError` for an adapter of another model.
        """
        wanted = self.settings.adapter if name is None else name
        adapters = self._registry.here().adapters if wanted != "base" else None
        # Where no adapter was ever chosen, a large model need not be read through to be recognised.
        if adapters is None or (wanted == "active" and not adapters.any_chosen()):
            return None
        spec = self.spec() if model is None else model
        if wanted == "active":
            active = adapters.active(self.model_sha256(spec))
            return None if active is None else self._registered(active)
        file = expanded(wanted)
        if file.is_file() and not re.fullmatch("r[0-9]+", wanted):
            return self._from_file(file, spec)
        found = adapters.get(wanted)
        if found.deleted:
            self.require_adapter_file(wanted)
            raise NotFound(f"{wanted} was deleted", f"bring it back: `chatapp adapters restore {wanted}`")
        if found.model_sha256 != self.model_sha256(spec):
            raise ModelError(
                f"{wanted} was trained on another model file ({one_line(found.model, 80)})",
                "name that model with -m, or choose another adapter: `chatapp adapters list`",
            )
        return self._registered(found)

    def require_adapter_file(self, name: str) -> None:
        """Errors: `NotFound` for an adapter that was deleted with its files."""
        if not self.adapter_file(name).is_file():
            raise NotFound(f"the files of {name} were freed", "`chatapp train` makes a new adapter")

    def adapter_file(self, name: str) -> Path:
        """Where the file of a training's adapter lies, or lay."""
        return self.paths.adapters / name / "adapter.gguf"

    def _registered(self, adapter: Adapter) -> AdapterSpec:
        file = self.adapter_file(adapter.name)
        if self._given is None and not file.is_file():
            raise NotFound(
                f"the file of {adapter.name} is gone: {file}",
                "`chatapp adapters off` goes on without it, `-a base` does so once",
            )
        return AdapterSpec(adapter.name, file)

    def _from_file(self, file: Path, model: ModelSpec) -> AdapterSpec:
        from chatapp.engine.gguf import read_header
        from chatapp.engine.usable import require_adapter
        from chatapp.training.export import BASE, require_base

        file = file.absolute()
        header = read_header(file)
        require_adapter(header, read_header(model.path))
        if (recorded := header.metadata.get(BASE)) is not None:
            require_base(one_line(file.name, 80), recorded, self.model_sha256(model))
        # With its folder, so that it cannot be taken for the name of a training's adapter.
        return AdapterSpec(f"{file.parent.name}/{file.name}", file)

    def session(self, conversation: int | None = None) -> Session:
        """A session with the model and adapter of the settings. Errors: `NotFound`, `ModelError`."""
        spec = self.spec()
        session = Session(self.stores, self.engine(), self.settings, spec, self.adapter(model=spec))
        session.open(conversation)
        return session

    def close(self) -> None:
        """End the engine and close the calling thread's store; idempotent."""
        if self._engine is not None:
            self._engine.close()
        self.stores.close()
        self._registry.close()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> House:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
