"""Replies that end after a word or two: rare among samples, so what a sample is worth hardly reaches them.

The probability that a reply ends at a place needs no sample: the network gives it at every place of every
reply. While a reply is shorter than any that was ranked, or has fewer words than `evaluate.SHORT`, what it
is more than a quarter of the base's is a loss of its own

    L = 1 / replies * sum_(y_<t is too short) max(0, p(end | x, y_<t) - p_ref(end | x, y_<t) / 4)

which is what a reward of minus one for such a reply would be on average, without the luck of drawing one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chatapp.training.packing import Pack, token_logits, vocabulary
from chatapp.training.recompute import in_parts

if TYPE_CHECKING:
    from torch import Tensor

    from chatapp.training.rollouts import Rollout

ALLOWED = 0.25
"""Of the base's probability. The very same would keep short replies as frequent as the base's only on
average, and the chat's sampling makes what is a little more much more."""


def ending(rollouts: Sequence[Rollout]) -> int | None:
    """The token that ends most of the replies; None where all were cut off."""
    seen = Counter(
        reply[-1]
        for rollout in rollouts
        for reply, finished in zip(rollout.row.replies, rollout.finished, strict=True)
        if finished
    )
    return seen.most_common(1)[0][0] if seen else None


def early(packed: Pack, counts: Sequence[int]) -> Tensor:
    """(E,) which of the learned tokens stand where an ending would make the reply too short: the first of
    each, as many as `counts` has for it."""
    import torch

    starts = packed.lengths.cumsum(0) - packed.lengths
    places = torch.arange(len(packed.reply)) - starts[packed.reply]
    return (places < torch.tensor(counts)[packed.reply]).nonzero().squeeze(1)


def end_probabilities(
    model: Any, hidden: Tensor, places: Tensor, end: int | None, temperature: float
) -> Tensor:
    """(E,) probability that the reply ends at each of `places`, as sampling at `temperature` draws it; (0,)
    where no token is known to end one. `hidden` (N, width): `packing.source_states`."""
    if end is None:
        return hidden.new_zeros(0)

    def ends(hidden: Tensor) -> Tensor:
        return (token_logits(model, hidden) / temperature).softmax(-1)[:, end]

    return in_parts(ends, vocabulary(model), hidden[places])


def early_ending_loss(own: Tensor, reference: Tensor, replies: int) -> Tensor:
    """The equation. `own`, `reference` (E,)."""
    return (own - ALLOWED * reference).clamp_min(0).sum() / replies
