"""Conversations as jsonl, which can be read in again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chatapp.core.errors import ChatappError, FormatError
from chatapp.core.sanitize import one_line
from chatapp.core.types import Conversation
from chatapp.store.database import Store

_LONGEST_LINE = 256 << 20
"""Bytes of one conversation in a file, at most."""


def as_jsonl(store: Store, conversations: Sequence[Conversation]) -> Iterator[str]:
    """One line for each conversation, with all of its branches."""
    for each in conversations:
        yield json.dumps(store.archive.record(each.id)) + "\n"


def read_jsonl(store: Store, file: Path) -> dict[str, Any]:
    """Read every conversation of a file; a line that cannot be read is reported and passed over.

    Gives `{"conversations": [ids], "problems": ["line 3: ..."]}`. Errors: `FormatError` when the file cannot
    be opened or no line of it could be read.
    """
    ids: list[int] = []
    problems: list[str] = []
    try:
        with file.open("rb") as source:
            for place, line in enumerate(iter(lambda: source.readline(_LONGEST_LINE), b""), start=1):
                if not line.strip():
                    continue
                try:
                    ids.append(store.archive.add(json.loads(line)).id)
                except (ChatappError, ValueError, RecursionError) as error:
                    problems.append(f"line {place}: {one_line(str(error))}")
    except OSError as error:
        raise FormatError(
            f"cannot read {file}: {error.strerror}", "give a file that `history export` wrote"
        ) from error
    if not ids:
        why = problems[0] if problems else "it is empty"
        raise FormatError(f"no conversation in {file}: {why}", "give a file that `history export` wrote")
    return {"conversations": ids, "problems": problems}
