"""What `chatapp doctor` looks at: each check tries the real thing and says in a line what came of it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from chatapp.core.errors import in_words
from chatapp.core.sanitize import one_line
from chatapp.core.size import bytes_in_words
from chatapp.core.types import Sampling, Turn

if TYPE_CHECKING:
    from chatapp.session.wiring import House

_PACKAGES = ("llama-cpp-python", "textual", "typer", "sqlite-utils", "numpy")
_LITTLE_SPACE = 500_000_000
"""Bytes; below this a conversation still fits, a model does not."""
_NO_SPACE = 20_000_000
_FLAGS = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    status: Literal["ok", "note", "broken"]
    detail: str
    hint: str | None = None


def run_checks(house: House) -> Iterator[Check]:
    """All checks, each when its turn comes. The last ones load the model and write one token with it.

    One that cannot be made is broken, and the next has its turn.
    """
    for name, look in _CHECKS.items():
        try:
            yield from look(house)
        except Exception as error:
            told = in_words(error)
            yield Check(name, "broken", str(told), told.hint)


def _versions(house: House) -> Iterator[Check]:
    from chatapp import __version__

    system = f"{platform.system()} {platform.machine()}"
    yield Check("chatapp", "ok", f"{__version__} on Python {platform.python_version()}, {system}")
    for package in _PACKAGES:
        try:
            yield Check(package, "ok", importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            yield Check(package, "broken", "is not installed", f"pip install {package}")


def _places(house: House) -> Iterator[Check]:
    paths = house.paths
    places = {
        "settings": paths.settings,
        "database file": paths.database,
        "models": paths.models,
        "adapters": paths.adapters,
        "trainings": paths.runs,
        "log": paths.log,
        "cache": paths.cache,
    }
    for name, place in places.items():
        nearest = _nearest(place)
        folder = nearest if nearest.is_dir() else nearest.parent
        if nearest not in (place, folder):
            yield Check(name, "broken", f"{place} cannot be made: {nearest} is no folder")
        elif os.access(nearest, os.W_OK) and os.access(folder, os.W_OK | os.X_OK):
            yield Check(name, "ok", str(place) if nearest == place else f"{place} (not there yet)")
        else:
            yield Check(name, "broken", f"{place} cannot be written to", f"check who owns {folder}")


def _nearest(place: Path) -> Path:
    """`place` itself where it is there, else the innermost of the folders above it that is."""
    while not os.access(place, os.F_OK):
        place = place.parent
    return place


def _disk(house: House) -> Iterator[Check]:
    free = shutil.disk_usage(_nearest(house.paths.data)).free
    detail = f"{bytes_in_words(free)} free where the data lies"
    if free < _NO_SPACE:
        yield Check("disk", "broken", detail, "free some space: new messages may not fit")
    elif free < _LITTLE_SPACE:
        yield Check("disk", "note", detail, "new models may not fit")
    else:
        yield Check("disk", "ok", detail)


def _permissions(house: House) -> Iterator[Check]:
    """Looked at before the database is opened, since opening it closes it to others."""
    if os.name != "posix":
        return
    for place in (house.paths.data, house.paths.database):
        if place.exists():
            mode = place.stat().st_mode & 0o777
            if mode & 0o077 and place.is_file():
                yield Check("privacy", "broken", f"others can open {place} ({mode:o})", f"chmod go= {place}")
            elif mode & 0o022:
                yield Check(
                    "privacy", "note", f"others can write into {place} ({mode:o})", f"chmod go= {place}"
                )


def _database(house: House) -> Iterator[Check]:
    store = house.store()
    found = store.integrity()
    if found != "ok":
        problem, _, more = found.partition("\n")
        count = f" and {more.count(chr(10)) + 1} more findings" if more else ""
        yield Check(
            "database",
            "broken",
            f"{problem}{count}",
            "restore a copy: `chatapp history backup` makes them",
        )
        return
    conversations = len(store.conversations.list())
    rankings = len(store.rankings.list())
    size = house.stores.path.stat().st_size / 1e6
    yield Check(
        "database", "ok", f"{conversations} conversations, {rankings} rankings, {size:.1f} MB, no damage"
    )


def _model(house: House) -> Iterator[Check]:
    entry = house.catalogue.current()
    if entry.problem is not None or entry.header is None:
        yield Check(
            "model", "broken", f"{entry.name}: {entry.problem}", "choose another with `chatapp models use`"
        )
        return
    header = entry.header
    template = "" if header.chat_template else ", no chat template of its own"
    yield Check(
        "model",
        "ok",
        f"{entry.name}: {header.architecture}, {header.quantisation}, {entry.size / 1e6:.1f} MB{template}",
    )


def _engine(house: House) -> Iterator[Check]:
    """Load the model in the engine's process and write one token."""
    from chatapp.engine.base import Request, gather

    begun = time.monotonic()
    try:
        engine = house.engine()
        info = engine.load(house.spec())
        loaded = time.monotonic() - begun
        request = Request([Turn("user", "Hello")], Sampling(seed=1, temperature=0.0, max_tokens=1))
        done = gather(engine.generate(request), 1).replies[0].done
    except ImportError as error:
        yield Check("engine", "broken", str(error), "pip install llama-cpp-python")
        return
    if done is None or done.completion_tokens < 1 or done.first_token_seconds is None:
        yield Check(
            "engine", "broken", "no token came from the model", "try another model: `chatapp models use`"
        )
        return
    yield Check(
        "engine",
        "ok",
        f"{info.description}, context {info.n_ctx}: loaded in {loaded:.2f} s, first token after "
        f"{done.first_token_seconds:.3f} s",
    )
    if info.notice:
        yield Check("engine notice", "note", info.notice)
    yield from _findings(house)


def _adapter(house: House) -> Iterator[Check]:
    """The adapter in use, put on the model where that is loaded."""
    adapter = house.adapter()
    if house.engine().info is not None:
        house.engine().set_adapter(adapter)
    known = len(house.store().adapters.list())
    in_use = "none, the model answers as it came" if adapter is None else one_line(adapter.name, 80)
    yield Check("adapter", "ok", f"{in_use}; {known} in `chatapp adapters list --all`")


def _training(house: House) -> Iterator[Check]:
    from chatapp.training.extra import install_command, missing

    if lacking := missing():
        detail = f"not installed: {', '.join(lacking)}; the chat needs none of it"
        yield Check("training", "note", detail, install_command())
        return
    versions = (f"{each} {importlib.metadata.version(each)}" for each in ("torch", "transformers", "peft"))
    yield Check("training", "ok", ", ".join(versions))


def _how_to_rebuild() -> str:
    version = importlib.metadata.version("llama-cpp-python").partition("+")[0]
    return (
        "on x86, this builds llama.cpp without the kernels that crash: "
        f"CMAKE_ARGS=\"-DCMAKE_C_FLAGS='{_FLAGS}' -DCMAKE_CXX_FLAGS='{_FLAGS}'\" pip install "
        f"--force-reinstall --no-deps --no-binary llama-cpp-python llama-cpp-python=={version}"
    )


def _findings(house: House) -> Iterator[Check]:
    """What earlier loads found out about this machine with this build of llama.cpp."""
    from chatapp.engine import probe

    for each in probe.read_findings(house.paths.cache):
        if (each.machine, each.build) != (probe.machine(), probe.build()):
            continue
        name = f"fast kernels, {each.quantisation}"
        if each.extra_buffers:
            yield Check(name, "ok", "work")
        else:
            yield Check(name, "note", f"crash here and are off ({each.reason})", _how_to_rebuild())


_CHECKS: dict[str, Callable[[House], Iterator[Check]]] = {
    "programs": _versions,
    "places": _places,
    "disk": _disk,
    "privacy": _permissions,
    "database": _database,
    "model": _model,
    "engine": _engine,
    "adapter": _adapter,
    "training": _training,
}
