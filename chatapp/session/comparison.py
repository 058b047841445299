"""Which prompts show what a training changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.core.types import Turn
from chatapp.training.data import is_held_out, split_key

if TYPE_CHECKING:
    from chatapp.session.session import Session


def prompts_to_compare(session: Session, limit: int = 6) -> list[list[Turn]]:
    """First messages of the newest conversations as the model is given them; first those that no training
    learns from, none of them twice."""
    conversations = session.store.conversations
    held: list[list[Turn]] = []
    others: list[list[Turn]] = []
    for each in conversations.list(limit=200):
        asked = [message for message in conversations.path(each.id) if message.role == "user"]
        if not asked:
            continue
        turns = session.turns(asked[0].id)
        if turns not in held and turns not in others:
            (held if is_held_out(split_key(turns)) else others).append(turns)
        if len(held) >= limit:
            break
    return [*held, *others][:limit]
