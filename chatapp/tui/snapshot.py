"""What the screen shows, read from the store in one go in the session's thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.core.types import Conversation, Message
from chatapp.session import tree

if TYPE_CHECKING:
    from chatapp.session.session import Session


@dataclass(frozen=True, slots=True)
class Item:
    """One message of the active path with what is said of it elsewhere."""

    message: Message
    place: int = 1
    """It is the `place`-th of `versions` siblings, counted from 1."""
    versions: int = 1
    rank: int | None = None
    """Its place in the ranking in force."""
    thumb: int = 0
    elsewhere: int = 0
    """Replies on other branches: below the siblings of a message that was edited."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    conversation: Conversation | None
    model: str
    adapter: str | None
    items: tuple[Item, ...]
    """The active path, root first."""
    first_run: bool
    """Nothing was ever written to this store."""


def take(session: Session) -> Snapshot:
    """The open conversation."""
    messages = session.messages()
    path = tree.active_path(messages)
    conversation = session.conversation
    conversations = session.store.conversations
    return Snapshot(
        conversation=conversation,
        model=session.spec.name,
        adapter=None if session.adapter is None else session.adapter.name,
        items=() if conversation is None else _items(messages, path, session, conversation.id),
        first_run=conversation is None
        and not any(conversations.list(1, deleted) for deleted in (False, True)),
    )


def _items(
    messages: Sequence[Message], path: Sequence[Message], session: Session, conversation: int
) -> tuple[Item, ...]:
    families: dict[int | None, list[Message]] = {}
    for each in messages:
        families.setdefault(each.parent, []).append(each)
    rankings = session.store.rankings
    ranks = rankings.ranks(conversation)
    thumbs = {each.reply: each.value for each in rankings.thumbs(conversation)}
    items = []
    for message in path:
        family = families[message.parent]
        items.append(
            Item(
                message,
                place=[each.id for each in family].index(message.id) + 1,
                versions=len(family),
                rank=ranks.get(message.id),
                thumb=thumbs.get(message.id, 0),
                elsewhere=_replies_below(families, family, message) if message.role == "user" else 0,
            )
        )
    return tuple(items)


def _replies_below(
    families: dict[int | None, list[Message]], family: Sequence[Message], shown: Message
) -> int:
    count: Counter[str] = Counter()
    waiting = [each for each in family if each.id != shown.id]
    while waiting:
        at = waiting.pop()
        count[at.role] += 1
        waiting.extend(families.get(at.id, ()))
    return count["assistant"]
