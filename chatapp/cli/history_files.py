"""Reads conversations that were written as jsonl."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chatapp.core.errors import ChatappError, FormatError
from chatapp.core.sanitize import one_line
from chatapp.store.database import Store

_LONGEST_LINE = 256 << 20
"""Bytes of one conversation in a file, at most."""


@dataclass(slots=True)
class Imported:
    """What came of a file so far."""

    conversations: list[int] = field(default_factory=list)
    """Ids of those that were taken."""
    known: int = 0
    """How many were there already."""
    problems: list[str] = field(default_factory=list)
    """`line 3: ...` for each line that was passed over."""


def read_jsonl(store: Store, file: Path, result: Imported, told: Callable[[int, int], None]) -> None:
    """Read every conversation of a file that is not there already; a line that cannot be read is passed over.

    `result` is filled line by line, so that it is right also where this is interrupted. `told` hears of the
    bytes that are read, and of all there are. Errors: `FormatError` when the file cannot be opened or no line
    of it could be read.
    """
    try:
        with file.open("rb") as source:
            done, total = 0, os.fstat(source.fileno()).st_size
            for place, line in enumerate(iter(lambda: source.readline(_LONGEST_LINE), b""), start=1):
                if done and total:  # a pipe has no size
                    told(done, total)
                done += len(line)
                if not line.strip():
                    continue
                try:
                    taken = store.archive.add_new(json.loads(line))
                except (ChatappError, ValueError, RecursionError) as error:
                    result.problems.append(f"line {place}: {one_line(str(error))}")
                    continue
                if taken is None:
                    result.known += 1
                else:
                    result.conversations.append(taken.id)
    except OSError as error:
        raise FormatError(
            f"cannot read {file}: {error.strerror}", "give a file that `history export` wrote"
        ) from error
    if not result.conversations and not result.known:
        why = result.problems[0] if result.problems else "it is empty"
        raise FormatError(f"no conversation in {file}: {why}", "give a file that `history export` wrote")
