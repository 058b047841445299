"""The active path of a conversation's message tree, from the list of its messages.

The list holds every branch, in the order of ids; deleted messages may be in it and are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence

from chatapp.core.types import Message


def active_path(messages: Sequence[Message]) -> list[Message]:
    """From the active root down through the active child of each: what a person sees."""
    chosen = {each.parent: each for each in messages if each.active and not each.deleted}
    way: list[Message] = []
    at: int | None = None
    while at in chosen:
        way.append(chosen[at])
        at = chosen[at].id
    return way
