"""The written form of a ranking: `3>1=2>4`, best first, ties joined by `=`."""

from __future__ import annotations

import re

from chatapp.core.errors import UsageError
from chatapp.core.types import Tiers

_TOKEN = re.compile(r"\s*([0-9]+|[>=›])\s*")
_LONGEST_ID = 18
"""Digits; more than that is no id of a database row."""


def parse_order(text: str) -> Tiers:
    """Tiers of the ids in `text`.

    Errors: `UsageError` names the position (from 1) of what cannot be there.
    """
    tiers: list[list[int]] = []
    seen: set[int] = set()
    position = 0
    sign = ">"
    while position < len(text) or sign:
        token = _TOKEN.match(text, position)
        if token is None:
            found = repr(text[position]) if position < len(text) else "the end"
            raise _wrong(position, f"expected {'an id' if sign else '> or ='}, found {found}")
        value, start = token.group(1), token.start(1)
        if not sign:
            if value.isdecimal():
                raise _wrong(start, f"expected > or =, found {value}")
            sign = value
        else:
            if not value.isdecimal() or len(value) > _LONGEST_ID:
                raise _wrong(start, f"expected an id, found {value[:20]!r}")
            if (id := int(value)) in seen:
                raise _wrong(start, f"{id} stands twice")
            seen.add(id)
            if sign == "=":
                tiers[-1].append(id)
            else:
                tiers.append([id])
            sign = ""
        position = token.end()
    return tuple(tuple(tier) for tier in tiers)


def format_order(tiers: Tiers) -> str:
    """The inverse of `parse_order`; empty for no tiers."""
    return ">".join("=".join(str(id) for id in tier) for tier in tiers)


def _wrong(position: int, what: str) -> UsageError:
    return UsageError(f"order: at position {position + 1} {what}", 'write it like "3>1=2>4", best first')
