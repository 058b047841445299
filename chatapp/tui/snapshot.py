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
    """What is on other branches: replies below the siblings of a message that was edited, messages below the
    other versions of a reply."""
    followed: int | None = None
    """The place of the only other version of a reply that messages follow."""

    @property
    def branches(self) -> str:
        """In words what is on other branches: `2 messages follow version 1`."""
        many = self.elsewhere != 1
        if not self.elsewhere:
            return ""
        if self.message.role == "user":
            return f"{self.elsewhere} {'replies' if many else 'reply'} on other branches"
        which = "other versions" if self.followed is None else f"version {self.followed}"
        return f"{self.elsewhere} {'messages follow' if many else 'message follows'} {which}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    conversation: Conversation | None
    model: str
    adapter: str | None
    items: tuple[Item, ...]
    """The active path, root first."""
    used: float | None
    """Share of the context of the model in use that it takes."""
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
        used=session.used(),
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
        below = {
            place: _below(families, each)
            for place, each in enumerate(family, start=1)
            if each.id != message.id
        }
        followed = [place for place, count in below.items() if count.total()]
        total = sum(below.values(), Counter[str]())
        items.append(
            Item(
                message,
                place=[each.id for each in family].index(message.id) + 1,
                versions=len(family),
                rank=ranks.get(message.id),
                thumb=thumbs.get(message.id, 0),
                elsewhere=total["assistant"] if message.role == "user" else total.total(),
                followed=followed[0] if len(followed) == 1 else None,
            )
        )
    return tuple(items)


def _below(families: dict[int | None, list[Message]], message: Message) -> Counter[str]:
    """How many messages of each role are below `message`, on all its branches."""
    count: Counter[str] = Counter()
    waiting = list(families.get(message.id, ()))
    while waiting:
        at = waiting.pop()
        count[at.role] += 1
        waiting.extend(families.get(at.id, ()))
    return count
