"""Which prompts of stored conversations to ask about in a ranking session."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from chatapp.core.types import Message
from chatapp.session.tree import children
from chatapp.store.database import Store

Pick = Literal["random", "uncertain", "recent"]


@dataclass(frozen=True, slots=True)
class RankRequest:
    """What `chatapp rank` asks for."""

    k: int = 4
    """How many replies are shown beside each other."""
    pick: Pick = "random"
    """`uncertain` begins where the model's replies so far differ most from one another."""
    limit: int | None = None
    """After how many prompts the session ends; None is when there are no more."""


def prompts_to_rank(store: Store, request: RankRequest, seed: int | None = None) -> Iterator[int]:
    """Ids of messages that a model answered and nobody ranked yet, in the order of `request.pick`.

    Whether a message is ranked is looked at when its turn comes.
    """
    found: list[tuple[Message, float]] = []
    for conversation in store.conversations.list():
        messages = store.conversations.messages(conversation.id)
        for message in messages:
            replies = [
                each
                for each in children(messages, message.id)
                if each.role == "assistant" and each.origin == "model" and each.finish_reason is not None
            ]
            if message.role == "user" and replies and _hangs_together(messages, message):
                found.append((message, disagreement([each.text for each in replies])))
    if request.pick == "recent":
        found.sort(key=lambda each: each[0].id, reverse=True)
    else:
        random.Random(seed).shuffle(found)
        if request.pick == "uncertain":
            found.sort(key=lambda each: each[1], reverse=True)
    given = 0
    for message, _ in found:
        if request.limit is not None and given >= request.limit:
            return
        if store.rankings.for_prompt(message.id) is None:
            given += 1
            yield message.id


def disagreement(texts: list[str]) -> float:
    """Mean share of words that two of the texts do not have in common, from 0 to 1; 0 for a single text."""
    bags = [set(text.casefold().split()) for text in texts]
    apart = [1 - len(a & b) / len(a | b) for a, b in combinations(bags, 2) if a | b]
    return sum(apart) / len(apart) if apart else 0.0


def _hangs_together(messages: list[Message], message: Message) -> bool:
    """Whether nothing above it is deleted."""
    parents = {each.id: each.parent for each in messages}
    at = message.parent
    while at is not None and at in parents:
        at = parents[at]
    return at is None
