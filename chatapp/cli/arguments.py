"""What the commands have in common: the house they work in, and how they read ids and optional values."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatapp.core.errors import NotFound, UsageError
from chatapp.core.settings import RANGES

if TYPE_CHECKING:
    from chatapp.core.types import Conversation
    from chatapp.session.wiring import House

ModelOption = Annotated[
    str | None,
    typer.Option("-m", "--model", metavar="NAME", help="Name of a model, or the path of a GGUF file."),
]

AdapterOption = Annotated[
    str | None,
    typer.Option("-a", "--adapter", metavar="NAME", help="Name or file of an adapter; `base` for none."),
]

MOST = 2**63 - 1
"""The largest number that the database takes."""
_DEMO = "chatapp.demo"


def in_range(name: str) -> dict[str, Any]:
    """The ends of a setting's range as `typer.Option` takes them."""
    low, high = RANGES[name]
    return {"min": low, "max": high}


def choose_demo(ctx: typer.Context) -> None:
    """Let `house_of` build a demonstration: scripted replies, a folder that is thrown away."""
    ctx.meta[_DEMO] = True


def house_of(ctx: typer.Context) -> House:
    """The house that this run works in, built on the first call and closed when the run ends.

    One that is handed in as the context's object is used as it is, and not closed.
    """
    from chatapp.session.wiring import House

    root = ctx.find_root()
    if isinstance(root.obj, House):
        return root.obj
    house = House.demo() if ctx.meta.get(_DEMO) else House.found()
    root.call_on_close(house.close)
    root.obj = house
    return house


def conversation_of(house: House, which: str) -> Conversation:
    """The conversation with this id; `last` is the one that was changed last. Errors: `NotFound`."""
    conversations = house.store().conversations
    if which == "last":
        latest = conversations.latest()
        if latest is None:
            raise NotFound("there is no conversation yet", 'start one with `chatapp ask "…"`')
        return latest
    return conversations.get(number(which))


def number(text: str) -> int:
    """An id. Errors: `UsageError`."""
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"{text!r} is not an id", "ids are numbers; the list commands show them")
    return int(text)


def with_optional_value(args: Sequence[str], names: frozenset[str], default: str) -> list[str]:
    """`args` with `default` put after each option in `names` that no id follows.

    So `--resume`, `--resume last` and `--resume 12` are all possible, and `--continue TEXT` keeps its text.
    """
    filled: list[str] = []
    for at, each in enumerate(args):
        if each == "--":
            return [*filled, *args[at:]]
        filled.append(each)
        following = args[at + 1] if at + 1 < len(args) else ""
        if each in names and not (following.isdigit() or following == default):
            filled.append(default)
    return filled


def is_terminal() -> bool:
    """Whether a screen can be opened: a person at a keyboard in front of a terminal."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
