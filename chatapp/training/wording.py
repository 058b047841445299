"""What was said, in the fewest tokens that still say all of it: calls and answers of programs as plain words.

A dialogue with tools holds JSON, half of whose tokens are quotes and brackets, and identifiers that are
different each time although they mean the same.

    {"get_items":{"query":"espresso"}}           get items (query: espresso)
    {"id":"4299f6a2946644cf","tags":["a","b"]}   id: #1, tags: a | b
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from chatapp.core.types import Turn

_IDENTIFIER = re.compile(r"\b(?:(?=[a-f]*\d)[0-9a-f]{16,}|\d{5,})\b", re.IGNORECASE)
"""Hexadecimal of 16 digits and more, or a number of five and more."""


def plain(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """`turns` with each line of JSON as words, and long identifiers numbered in the order in which they
    come."""
    numbers: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return numbers.setdefault(found[0], f"#{len(numbers) + 1}")

    return tuple(
        Turn(turn.role, _IDENTIFIER.sub(number, "\n".join(map(_line, turn.text.split("\n")))))
        for turn in turns
    )


def _line(line: str) -> str:
    if not line.startswith(("{", "[")):
        return line
    try:
        return _words(json.loads(line))
    except (ValueError, RecursionError):
        return line


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(_member(key.replace("_", " "), each) for key, each in value.items())
    if isinstance(value, list):
        return " | ".join(map(_words, value))
    return str(value)


def _member(key: str, value: Any) -> str:
    parts = value if isinstance(value, list) else [value]
    if any(isinstance(part, dict | list) for part in parts):
        return f"{key} ({_words(value)})"
    return f"{key}: {_words(value)}"
