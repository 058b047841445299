"""The heads that a reward model begins with: the most probable ones while its LoRA is still nothing.

Then a score is linear in what the base finds of a reply, its features and its state. With z the two as they
are given here, a ranking of C pairs (w better than l) and of weight q costs

    L(u) = - q / C * sum_(w,l) log sigmoid( u . (z_w - z_l) )  +  1/2 * sum_k u_k^2 / variance_k

the Bradley-Terry model (1952) with a normal prior on each weight. It is convex, so that a few hundred
comparisons give the same heads each time, where some steps of gradient descent give whatever they began with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chatapp.training.data import RankingRow

if TYPE_CHECKING:
    from torch import Tensor

FEATURES = 0.06
"""Variance of a score, in square logits, that the features are expected to account for, all together."""
STATES = 0.25
"""The same of the states."""
_ITERATIONS = 200
_EXACT = 1e-12


def most_probable(
    rows: Sequence[RankingRow], features: Sequence[Tensor], states: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Weights (F,) of the features and (width,) of the states; of each row (R, F) features, of about one
    deviation each, and (R, width) states."""
    import torch
    from torch.nn.functional import logsigmoid

    count, width = features[0].shape[1], states[0].shape[1]
    # One scale for all of a state: its small entries are to stay small.
    scale = torch.cat(list(states)).std(0).mean().clamp_min(1e-6)
    leads, shares = [], []
    for row, own, state in zip(rows, features, states, strict=True):
        pairs = row.pairs()
        both = torch.cat([own, state / scale], 1).double()
        leads += [both[i] - both[j] for i, j in pairs]
        shares += [row.weight / len(pairs)] * len(pairs)
    lead, share = torch.stack(leads), torch.tensor(shares, dtype=torch.float64)
    precision = torch.tensor([count / FEATURES] * count + [width / STATES] * width, dtype=torch.float64)
    found = torch.zeros(count + width, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS(
        [found],
        max_iter=_ITERATIONS,
        tolerance_grad=_EXACT,
        tolerance_change=_EXACT,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        search.zero_grad()
        value = -(share * logsigmoid(lead @ found)).sum() + (precision * found.square()).sum() / 2
        value.backward()
        return value

    search.step(loss)
    weights = found.detach().float()
    return weights[:count], weights[count:] / scale
