"""Which prompts of stored conversations to ask about in a ranking session."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chatapp.preferences.next import Candidate, Pick, pick
from chatapp.store.database import Store

_SCORED = 100
"""Prompts whose replies are scored at most: a large model takes seconds for each."""


@dataclass(frozen=True, slots=True)
class RankRequest:
    """What `chatapp rank` asks for."""

    k: int = 4
    """How many replies are shown beside each other."""
    pick: Pick = "random"
    """`uncertain` begins where the reward model is least sure of the order of the replies so far, or where
    there is none, where they differ most from one another."""
    limit: int | None = None
    """After how many prompts the session ends; None is when there are no more."""


def prompts_to_rank(
    store: Store,
    request: RankRequest,
    seed: int | None = None,
    score: Callable[[Candidate], float] | None = None,
) -> Iterator[int]:
    """Ids of messages that a model answered and nobody ranked yet, in the order of `request.pick`.

    `score` is how unsure the reward model is, for `uncertain`; it is asked of the newest `_SCORED` alone.
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
    unsure = None
    if score is not None and request.pick == "uncertain":
        found = [each for each in found if store.rankings.for_prompt(each.prompt) is None]
        several = [each for each in found if len(each.replies) > 1]
        newest = sorted(several, key=lambda each: each.prompt)[-_SCORED:]
        doubts = {each.prompt: score(each) for each in newest}

        def unsure(each: Candidate) -> float:
            return doubts.get(each.prompt, 0.0)

    given = 0
    for candidate in pick(found, request.pick, seed, unsure):
        if request.limit is not None and given >= request.limit:
            return
        if store.rankings.for_prompt(candidate.prompt) is None:
            given += 1
            yield candidate.prompt
