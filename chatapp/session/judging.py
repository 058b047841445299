"""A ranking has a consequence: its winner becomes the reply that the conversation goes on from."""

from __future__ import annotations

from collections.abc import Sequence

from chatapp.core.types import Ranking, Tiers
from chatapp.store.database import Store


def rank_and_show(
    store: Store,
    prompt: int,
    shown: Sequence[int],
    tiers: Tiers,
    all_bad: bool = False,
    tags: Sequence[str] = (),
    milliseconds: int | None = None,
    source: str = "chat",
) -> Ranking:
    """Append the ranking and make the first of its first tier active; one that is active already wins a tie.

    Errors: `UsageError` and `NotFound` as `Rankings.add` has them.
    """
    ranking = store.rankings.add(
        prompt, shown, tiers, all_bad=all_bad, tags=tags, milliseconds=milliseconds, source=source
    )
    if tiers and not any(store.conversations.message(each).active for each in tiers[0]):
        store.conversations.activate(tiers[0][0])
    return ranking
