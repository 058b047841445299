"""The models that can be chosen by name: the embedded guide, and the GGUF files in the models folder."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.core.errors import ChatappError, ModelError, NotFound, UsageError
from chatapp.core.paths import Paths, embedded_model
from chatapp.core.settings import Settings
from chatapp.library.config import set_value

if TYPE_CHECKING:
    from chatapp.engine.gguf import GgufHeader

GUIDE = "guide"
"""Name of the embedded model; it stands for the file that comes with the program, wherever that lies."""


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    name: str
    path: Path
    size: int
    """Bytes; 0 when the file is not there."""
    embedded: bool
    header: GgufHeader | None
    problem: str | None
    """Why it cannot be used, in one line; None when the header is sound."""


class Catalogue:
    """Reads the folder anew for each question, so that a file put there by hand is found."""

    def __init__(self, paths: Paths, settings: Settings) -> None:
        self._paths = paths
        self._settings = settings

    def list(self) -> list[CatalogueEntry]:
        """The embedded model first, then the others by name."""
        files = sorted(self._paths.models.glob("*.gguf"), key=lambda file: file.stem.casefold())
        return [_entry(GUIDE, embedded_model(), embedded=True)] + [
            _entry(file.stem, file) for file in files if file.stem != GUIDE
        ]

    def find(self, name_or_path: str) -> CatalogueEntry:
        """The model of this name, or the file at this path. Errors: `NotFound`."""
        if name_or_path == GUIDE:
            return _entry(GUIDE, embedded_model(), embedded=True)
        looks_like_path = os.sep in name_or_path or name_or_path.endswith(".gguf")
        if not looks_like_path:
            file = self._paths.models / f"{name_or_path}.gguf"
            if os.path.lexists(file):
                return _entry(name_or_path, file)
        file = Path(name_or_path).expanduser()
        if looks_like_path and file.is_file():
            return _entry(file.stem, file.absolute())
        raise NotFound(
            f"no model {name_or_path!r}",
            "`chatapp models list` shows what there is; a path to a GGUF file works too",
        )

    def current(self) -> CatalogueEntry:
        """The model that the settings name. Errors: `NotFound`."""
        return self.find(self._settings.model)

    def add(self, file: Path, name: str | None = None, copy: bool = False) -> CatalogueEntry:
        """Put a GGUF file into the models folder, as a link or as a copy.

        A copy is written under another name first and renamed, so that a file is never there by half.
        Errors: `NotFound`, `ModelError` when the header is not sound, `UsageError` when the name is taken.
        """
        file = file.expanduser().absolute()
        if not file.is_file():
            raise NotFound(f"no file {file}", "give the path of a GGUF file")
        chosen = file.stem if name is None else name
        if not chosen or chosen != Path(chosen).name or chosen.startswith("."):
            raise UsageError(f"{chosen!r} cannot be a model's name", "use letters, digits, dots and dashes")
        if chosen == GUIDE:
            raise UsageError(f"{GUIDE!r} is the embedded model's name", "choose another one with --name")
        problem = _entry(chosen, file).problem
        if problem is not None:
            raise ModelError(f"{file.name} cannot be used: {problem}", "choose another GGUF file")
        target = self._paths.models / f"{chosen}.gguf"
        if os.path.lexists(target):
            raise UsageError(f"there is a model {chosen!r} already", "choose another name with --name")
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if copy:
            partial = target.with_suffix(".part")
            try:
                shutil.copyfile(file, partial)
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
        else:
            target.symlink_to(file)
        return _entry(chosen, target)

    def use(self, name: str) -> CatalogueEntry:
        """Make this the model of the next start, in config.toml. Errors: `NotFound`, `ModelError`."""
        entry = self.find(name)
        if entry.problem is not None:
            raise ModelError(f"model {entry.name} cannot be used: {entry.problem}")
        listed = entry.embedded or entry.path.parent == self._paths.models
        value = entry.name if listed else str(entry.path)
        set_value(self._paths.settings, "model", value)
        self._settings = replace(self._settings, model=value)
        return entry


def _entry(name: str, path: Path, embedded: bool = False) -> CatalogueEntry:
    from chatapp.engine.gguf import read_header, require_model

    header: GgufHeader | None = None
    problem: str | None = None
    size = 0
    try:
        size = path.stat().st_size
        header = read_header(path)
        require_model(header)
    except FileNotFoundError:
        problem = f"the file is not there: {os.path.realpath(path)}"
    except ChatappError as error:
        problem = str(error)
    except OSError as error:
        problem = f"the file cannot be read: {error.strerror}"
    return CatalogueEntry(name, path, size, embedded, header, problem)
