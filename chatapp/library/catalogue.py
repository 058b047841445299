"""The models that can be chosen by name: the embedded guide, and the GGUF files in the models folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.core.errors import ChatappError, ModelError, NotFound, UsageError
from chatapp.core.paths import Paths, embedded_model, expanded
from chatapp.core.settings import Settings, load_settings
from chatapp.core.whole_file import whole_file
from chatapp.library.config import set_value

if TYPE_CHECKING:
    from chatapp.engine.gguf import GgufHeader

GUIDE = "guide"
"""Name of the embedded model; it stands for the file that comes with the program, wherever that lies."""
_LONGEST_NAME = 200
"""Bytes."""


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


@dataclass(frozen=True, slots=True)
class Removed:
    """What became of a model that was taken out of the catalogue."""

    name: str
    file: Path
    """Where its file is, or was."""
    deleted: bool
    kept: bool
    """Whether the file is still there."""
    in_use: bool
    """Whether the settings named it; now they name the guide."""


class Catalogue:
    """Reads the folder anew for each question, so that a file put there by hand is found."""

    def __init__(self, paths: Paths, settings: Settings) -> None:
        self._paths = paths
        self._settings = settings

    def list(self) -> list[CatalogueEntry]:
        """The embedded model first, then the others by name."""
        files = sorted(self._paths.models.glob("*.gguf"), key=lambda file: file.stem.casefold())
        return [entry_of(GUIDE, embedded_model(), embedded=True)] + [
            entry_of(file.stem, file) for file in files if file.stem != GUIDE
        ]

    def find(self, name_or_path: str) -> CatalogueEntry:
        """The model of this name, or the file at this path. Errors: `NotFound`."""
        if name_or_path == GUIDE:
            return entry_of(GUIDE, embedded_model(), embedded=True)
        if os.sep not in name_or_path:
            file = self._paths.models / f"{name_or_path}.gguf"
            if os.path.lexists(file):
                return entry_of(name_or_path, file)
        file = expanded(name_or_path)
        if _is_path(name_or_path) and file.is_file():
            return entry_of(file.stem, file.absolute())
        raise NotFound(
            f"no model {name_or_path!r}",
            "`chatapp models list` shows what there is; a path to a GGUF file works too",
        )

    def list_with_current(self) -> Sequence[CatalogueEntry]:
        """As `list`, and at its end the file that the settings name by its path, under that as its name."""
        model, entries = self._settings.model, self.list()
        if model not in (each.name for each in entries) and _is_path(model):
            entries.append(entry_of(model, expanded(model)))
        return entries

    def current(self) -> CatalogueEntry:
        """The model that the settings name. Errors: `NotFound`."""
        return self.find(self._settings.model)

    def add(self, file: Path, name: str | None = None, copy: bool = False) -> CatalogueEntry:
        """Put a GGUF file into the models folder, as a link or as a copy.

        Errors: `NotFound`, `ModelError` when the header is not sound, `UsageError` when the name is taken.
        """
        file = expanded(file).absolute()
        if not file.is_file():
            raise NotFound(f"no file {file}", "give the path of a GGUF file")
        chosen = file.stem if name is None else name
        target = self._target(chosen)
        entry = entry_of(chosen, file)
        if entry.problem is not None:
            raise ModelError(f"{file.name} cannot be used: {entry.problem}", "choose another GGUF file")
        if entry.header is not None and entry.header.parts > 1:
            # llama.cpp finds the other parts by the name of the first, which a name of ours would hide.
            raise ModelError(
                f"{file.name} is one of {entry.header.parts} files of a model",
                f"join them with llama-gguf-split --merge, or chat with it by its path: chatapp -m {file}",
            )
        self.require_free(chosen)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if copy:
            with whole_file(target) as part:
                shutil.copyfile(file, part)
        else:
            target.symlink_to(file)
        return entry_of(chosen, target)

    def require_free(self, name: str) -> None:
        """Errors: `UsageError` where a new model cannot have this name."""
        if name.endswith(".gguf"):  # it would be taken for a file's
            raise UsageError(
                f"{name!r} is a file's name", f"call it {name.removesuffix('.gguf')!r} with --name"
            )
        if os.path.lexists(self._target(name)):
            raise UsageError(f"there is a model {name!r} already", "choose another name with --name")

    def linked(self, name: str) -> Path | None:
        """The link in the models folder that has this name; None where there is none or a file."""
        target = self._target(name)
        return target if target.is_symlink() else None

    def _target(self, name: str) -> Path:
        """Where a model of this name lies or will lie. Errors: `UsageError` for what cannot be a name."""
        sound = name == Path(name).name and not name.startswith(".") and "\0" not in name
        if not name or not sound or len(os.fsencode(name)) > _LONGEST_NAME:
            raise UsageError(
                f"{name[:80]!r} cannot be a model's name", "use letters, digits, dots and dashes"
            )
        if name == GUIDE:
            raise UsageError(f"{GUIDE!r} is the embedded model's name", "choose another one with --name")
        return self._paths.models / f"{name}.gguf"

    def remove(self, name: str, delete_file: bool = False) -> Removed:
        """Take a model out of the catalogue; its file goes only with `delete_file`.

        A link is dropped and what it leads to stays; a file of the models folder moves to `removed/` in it,
        where `discover` finds it. Where the settings name the model, they name the guide afterwards.
        Errors: `NotFound`; `UsageError` for the embedded model, where another name leads to the file that
        would be moved or deleted, and where `delete_file` would reach a file outside the models folder. Then
        nothing is changed.
        """
        if name == GUIDE:
            raise UsageError(
                "the embedded model comes with the program and stays",
                "to chat with another one: `chatapp models use NAME`",
            )
        if os.sep in name or not os.path.lexists(self._target(name)):
            raise NotFound(
                f"no model {name!r} in {self._paths.models}", "`chatapp models list` shows what there is"
            )
        target = self._target(name)
        file = target.resolve()
        if delete_file:
            self._require_own(name, file)
        if delete_file or not target.is_symlink():
            self._require_alone(name, file)
        if target.is_symlink():
            target.unlink()
            if delete_file:
                file.unlink(missing_ok=True)
        elif delete_file:
            target.unlink()
        else:
            file = self._aside(target)
        in_use = load_settings(self._paths.settings, {}).model in (name, str(target))
        if in_use:
            set_value(self._paths.settings, "model", GUIDE)
        return Removed(name, file, deleted=delete_file, kept=file.exists(), in_use=in_use)

    def _require_own(self, name: str, file: Path) -> None:
        """Errors: `UsageError` unless `file` may be deleted with the model `name`."""
        folder = self._paths.models.resolve()
        if not file.is_relative_to(folder) or file == embedded_model().resolve():
            raise UsageError(
                f"the file of {name} is not in chatapp's own folder and is not deleted: {file}",
                f"`chatapp models remove {name}` alone takes it out of the list",
            )

    def _require_alone(self, name: str, file: Path) -> None:
        """Errors: `UsageError` where another name leads to `file`, which is going to be away."""
        others = [
            each.stem
            for each in self._paths.models.glob("*.gguf")
            if each.stem != name and each.resolve() == file
        ]
        if others:
            raise UsageError(
                f"{', '.join(others)} is the same file as {name}", f"remove {others[0]} first, or both alone"
            )

    def _aside(self, target: Path) -> Path:
        """Move a file to where it is no model any more, under a name that is free there."""
        folder = self._paths.models / "removed"
        folder.mkdir(exist_ok=True, mode=0o700)
        new, number = folder / target.name, 1
        while os.path.lexists(new):
            number += 1
            new = folder / f"{target.stem}-{number}.gguf"
        target.rename(new)
        return new

    def use(self, name: str) -> CatalogueEntry:
        """Make this the model of the next start, in config.toml: by its name, or by its path where it is not
        listed. Errors: `NotFound`, `ModelError`."""
        entry = self.find(name)
        if entry.problem is not None:
            raise ModelError(f"model {entry.name} cannot be used: {entry.problem}")
        listed = entry.embedded or entry.path.parent == self._paths.models
        entry = entry if listed else replace(entry, name=str(entry.path))
        set_value(self._paths.settings, "model", entry.name)
        self._settings = replace(self._settings, model=entry.name)
        return entry


def _is_path(name: str) -> bool:
    return os.sep in name or name.endswith(".gguf")


def entry_of(name: str, path: Path, embedded: bool = False) -> CatalogueEntry:
    """What the header of `path` says, or why it cannot be used."""
    from chatapp.engine.gguf import read_header
    from chatapp.engine.usable import require_model

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
