"""Reading the fields of a row from outside: each either has the expected type or is named in a `BadRow`."""

from __future__ import annotations

from typing import Any

from chatapp.core.types import Role, Turn

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


class BadRow(ValueError):
    """Why a row cannot be read as what it was said to be; one line."""


def text(value: Any, name: str) -> str:
    """`value` as text that UTF-8 can hold: lone surrogates, which JSON can spell, become U+FFFD."""
    if not isinstance(value, str):
        raise BadRow(f"{name} is not text")
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def array(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadRow(f"{name} is not a list")
    return value


def record(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRow(f"{name} is not an object")
    return value


def turns(value: Any, name: str) -> tuple[Turn, ...]:
    """A list of `{"role": ..., "content": ...}`; content may also be a list of text parts."""
    found = []
    for each in array(value, name):
        message = record(each, f"a message of {name}")
        role = message.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise BadRow(f"{name} has a message of role {str(role)[:40]!r}")
        found.append(Turn(_ROLES[role], _content(message.get("content"), name)))
    return tuple(found)


def _content(value: Any, name: str) -> str:
    if not isinstance(value, list):
        return text(value, f"the content of a message of {name}")
    parts = [record(part, f"a part of a message of {name}") for part in value]
    if any(part.get("type") != "text" for part in parts):
        raise BadRow(f"{name} has a message with something other than text")
    return "".join(text(part.get("text"), f"a part of a message of {name}") for part in parts)


def messages(turns: tuple[Turn, ...]) -> list[dict[str, str]]:
    """The inverse of `turns`."""
    return [{"role": turn.role, "content": turn.text} for turn in turns]
