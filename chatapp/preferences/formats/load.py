"""Preference data out of a file of any known format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from chatapp.core.errors import FormatError
from chatapp.core.types import Group
from chatapp.preferences.formats import hh_rlhf, oasst, rankings, taskmaster, trl
from chatapp.preferences.formats.detect import detect
from chatapp.preferences.formats.fields import BadRow
from chatapp.preferences.formats.reader import Malformed, read_rows

FORMATS: dict[str, Callable[[dict[str, Any]], list[Group]]] = {
    "trl-preference": trl.preference_group,
    "trl-unpaired": trl.unpaired_group,
    "trl-sft": trl.sft_group,
    "hh-rlhf": hh_rlhf.group,
    "oasst": oasst.groups,
    "taskmaster": taskmaster.group,
    "rankings": rankings.group,
}
_LOOKED_AT = 20
"""How many rows `auto` looks at before it gives up."""


@dataclass(frozen=True, slots=True)
class Loaded:
    format: str
    groups: list[Group]
    malformed: list[Malformed]
    """Every line that was skipped, in the order of the file."""
    rows: int
    """Lines that were read, the skipped ones among them."""


def load(file: Path, format: str = "auto") -> Loaded:
    """Read all groups of `file`. A malformed line is skipped and named in the result.

    Errors: `FormatError` for an unknown format, a file that cannot be opened or is too large, and with `auto`
    for one in which no line is of a known format.
    """
    if format != "auto" and format not in FORMATS:
        raise FormatError(f"unknown format {format!r}", f"known: auto, {', '.join(FORMATS)}")
    found = read_rows(file)
    if format == "auto":
        looked_at: list[tuple[int, dict[str, Any] | Malformed]] = []
        for line in found:
            looked_at.append(line)
            if not isinstance(line[1], Malformed) and (known := detect(line[1])):
                format = known
                break
            if len(looked_at) == _LOOKED_AT:
                break
        if format == "auto":
            raise _unknown(file, [row for _, row in looked_at])
        found = chain(looked_at, found)
    loaded = Loaded(format, [], [], 0)
    count = 0
    for number, row in found:
        count += 1
        if isinstance(row, Malformed):
            loaded.malformed.append(row)
            continue
        try:
            loaded.groups.extend(FORMATS[format](row))
        except BadRow as problem:
            loaded.malformed.append(Malformed(number, str(problem)))
    return Loaded(format, loaded.groups, loaded.malformed, count)


def _unknown(file: Path, looked_at: list[dict[str, Any] | Malformed]) -> FormatError:
    """Why `auto` found no format."""
    if not looked_at:
        return FormatError(f"{file.name} is empty", "name a file with one JSON object a line")
    if isinstance(first := looked_at[0], Malformed) and all(isinstance(row, Malformed) for row in looked_at):
        nothing = "nothing" if len(looked_at) < _LOOKED_AT else f"none of the first {_LOOKED_AT} lines"
        return FormatError(
            f"{nothing} in {file.name} can be read: {first}", "write one JSON object a line, in UTF-8"
        )
    return FormatError(f"cannot tell which format {file.name} is in", f"known: {', '.join(FORMATS)}")


def load_some(file: Path, format: str = "auto") -> Loaded:
    """As `load`. Errors: `FormatError` also where there is no line, or none can be read as `format`."""
    loaded = load(file, format)
    if len(loaded.malformed) == loaded.rows:
        why = loaded.malformed[0] if loaded.rows else "it is empty"
        raise FormatError(
            f"nothing in {file.name} can be read as {loaded.format}: {why}",
            "another --format of `chatapp rankings import` may fit; auto tells by the columns",
        )
    return loaded
