"""Which prompts of stored conversations to ask about in a ranking session."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from chatapp.preferences.next import Candidate, Pick, pick
from chatapp.store.database import Store


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
    found: list[Candidate] = []
    for conversation in store.conversations.list():
        messages = store.conversations.messages(conversation.id)
        replies: dict[int | None, list[str]] = defaultdict(list)
        for each in messages:
            if each.role == "assistant" and each.origin == "model" and each.finish_reason is not None:
                replies[each.parent].append(each.text)
        found += [
            Candidate(each.id, tuple(replies[each.id]))
            for each in messages
            if each.role == "user" and each.id in replies
        ]
    given = 0
    for candidate in pick(found, request.pick, seed):
        if request.limit is not None and given >= request.limit:
            return
        if store.rankings.for_prompt(candidate.prompt) is None:
            given += 1
            yield candidate.prompt
