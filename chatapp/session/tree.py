"""Questions about a conversation's message tree: pure functions over the list of its messages.

The lists hold every branch, in the order of ids; deleted messages may be in them and are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence

from chatapp.core.errors import NotFound
from chatapp.core.types import Message


def find(messages: Sequence[Message], message: int) -> Message:
    """The message with this id. Errors: `NotFound`."""
    for each in messages:
        if each.id == message:
            return each
    raise NotFound(f"no message {message} in this conversation")


def children(messages: Sequence[Message], parent: int | None) -> list[Message]:
    """The answers to `parent` (None: the roots), oldest first."""
    return [each for each in messages if each.parent == parent and not each.deleted]


def siblings(messages: Sequence[Message], message: int) -> list[Message]:
    """All versions that stand at the place of `message`, itself among them, oldest first."""
    return children(messages, find(messages, message).parent)


def position(messages: Sequence[Message], message: int) -> tuple[int, int]:
    """(i, n): `message` is the i-th of n siblings, counted from 1. Errors: `NotFound` when it is deleted."""
    family = [each.id for each in siblings(messages, message)]
    if message not in family:
        raise NotFound(f"message {message} is deleted", "take the deletion back first")
    return family.index(message) + 1, len(family)


def ancestors(messages: Sequence[Message], message: int) -> list[Message]:
    """From the root to `message`, both included."""
    by_id = {each.id: each for each in messages}
    way: list[Message] = []
    at: int | None = message
    while at is not None:
        if at not in by_id:
            raise NotFound(f"no message {at} in this conversation")
        way.append(by_id[at])
        at = by_id[at].parent
    return way[::-1]


def active_path(messages: Sequence[Message]) -> list[Message]:
    """From the active root down through the active child of each: what a person sees."""
    chosen = {each.parent: each for each in messages if each.active and not each.deleted}
    way: list[Message] = []
    at: int | None = None
    while at in chosen:
        way.append(chosen[at])
        at = chosen[at].id
    return way
