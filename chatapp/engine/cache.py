"""What the engine remembers in the cache folder between runs: small JSON tables, SHA-256 of model files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chatapp.core.errors import EngineError, ModelError
from chatapp.core.sanitize import one_line
from chatapp.core.whole_file import whole_file

_KEPT = 500
_PIECE = 4 << 20


def sha256(path: Path, cache: Path | None = None, stopped: Callable[[], bool] = lambda: False) -> str:
    """Hex digest of `path`, from `cache` when path, size and time of change are those of last time.

    Errors: `ModelError` when the file cannot be read; `EngineError` when it was `stopped` on the way.
    """
    try:
        status = path.stat()
        key = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
        known = read_table(cache / "sha256.json") if cache else {}
        digest = known.get(key)
        if isinstance(digest, str):
            return digest
        sum_so_far = hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                sum_so_far.update(piece)
                if stopped():
                    raise EngineError("loading was stopped")
        digest = sum_so_far.hexdigest()
    except OSError as error:
        raise ModelError(f"{one_line(path.name, 80)} cannot be read: {error.strerror}") from error
    if cache:
        newest = list(known.items())[-_KEPT:]
        write_table(cache / "sha256.json", {**dict(newest), key: digest})
    return digest


def read_table(file: Path) -> dict[str, Any]:
    """The JSON object in a cache file; empty when there is none or it is broken."""
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


def write_table(file: Path, table: dict[str, Any]) -> None:
    """Replace a cache file in one step. One that cannot be written is no error: it is found out again."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with whole_file(file) as part:
            part.write_text(json.dumps(table, indent=1), encoding="utf-8")
    except OSError:
        return
