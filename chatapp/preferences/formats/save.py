"""Preference data into a file: JSON lines, or Parquet where pyarrow is installed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from chatapp.core.errors import FormatError
from chatapp.core.types import Group
from chatapp.core.whole_file import whole_file
from chatapp.preferences.formats import rankings, trl

FORMATS: dict[str, Callable[[Iterable[Group]], Iterator[dict[str, Any]]]] = {
    "trl-preference": trl.preference_rows,
    "trl-unpaired": trl.unpaired_rows,
    "trl-sft": trl.sft_rows,
    "rankings": rankings.rows,
}


def rows(groups: Iterable[Group], format: str) -> Iterator[dict[str, Any]]:
    """The rows that a file of `format` holds. Errors: `FormatError` for an unknown format."""
    if format not in FORMATS:
        raise FormatError(f"unknown format {format!r}", f"known: {', '.join(FORMATS)}")
    return FORMATS[format](groups)


def save(file: Path, groups: Iterable[Group], format: str) -> int:
    """Write `groups` to `file`, `.jsonl` or `.parquet` by its ending; how many rows it got.

    The file appears when it is complete, for its owner alone. Errors: `FormatError`.
    """
    found = rows(groups, format)
    if file.suffix not in (".parquet", ".jsonl", ".json"):
        raise FormatError(f"cannot tell what to write into {file.name}", "end its name in .jsonl or .parquet")
    try:
        with whole_file(file) as part:
            if file.suffix == ".parquet":
                return _write_parquet(part, list(found))
            with part.open("w", encoding="utf-8") as out:
                return write_jsonl(out, found)
    except OSError as error:
        raise FormatError(f"cannot write {file}: {error.strerror}", "choose another folder") from error


def write_jsonl(out: IO[str], found: Iterable[dict[str, Any]]) -> int:
    """One JSON object a line; how many."""
    count = 0
    for row in found:
        out.write(json.dumps(row, ensure_ascii=False) + "\n")
        count += 1
    return count


def _write_parquet(file: Path, found: list[dict[str, Any]]) -> int:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise FormatError(
            "writing Parquet needs pyarrow", "run `pip install pyarrow`, or end the file's name in .jsonl"
        ) from error
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(found), file)
    return len(found)
