"""The heads that a reward model begins with, against what can be worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from chatapp.training.data import RankingRow
from chatapp.training.heads import FEATURES, STATES, most_probable

pytestmark = pytest.mark.train


def row(*tiers: int, weight: float = 1.0) -> RankingRow:
    return RankingRow((1,), tuple((2, n) for n in range(len(tiers))), tiers, weight=weight)


def test_one_comparison_by_hand() -> None:
    """Of one weight u with variance v and a lead d: d * sigmoid(-u d) = u / v where L is least."""
    lead, weight = 3.0, 2.0
    weights, head = most_probable(
        [row(0, 1, weight=weight)], [torch.tensor([[lead], [0.0]])], [torch.zeros(2, 4)]
    )
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        steeper = weight * lead / (1 + math.exp(middle * lead)) > middle / FEATURES
        low, high = (middle, high) if steeper else (low, middle)
    assert weights.tolist() == pytest.approx([low], rel=1e-4)
    assert head.tolist() == [0.0] * 4


def test_the_scale_of_states_does_not_matter_and_the_better_ones_score_more() -> None:
    torch.manual_seed(0)
    rows = [row(0, 1, 1, 2) for _ in range(30)]
    good = torch.randn(16)
    states = [torch.randn(4, 16) for _ in rows]
    states = [each[(-(each @ good)).argsort()] for each in states]
    features = [torch.zeros(4, 2) for _ in rows]
    _, head = most_probable(rows, features, states)
    _, small = most_probable(rows, features, [each / 100 for each in states])
    torch.testing.assert_close(small / 100, head, rtol=1e-3, atol=1e-6)
    new = torch.randn(500, 16)
    assert float(torch.corrcoef(torch.stack([new @ good, new @ head]))[0, 1]) > 0.9


def test_what_says_nothing_gets_no_weight() -> None:
    """Each comparison stands beside its opposite."""
    reply = torch.tensor([[1.0], [0.0]])
    state = torch.tensor([[1.0, 2.0], [0.0, 1.0]])
    weights, head = most_probable([row(0, 1), row(1, 0)], [reply, reply], [state, state])
    assert weights.tolist() == pytest.approx([0.0], abs=1e-6)
    assert head.tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def test_what_is_expected_of_features_and_states_does_not_grow_with_their_number() -> None:
    """The prior variance of a score is theirs together: four that say the same are as good as one."""
    nothing = [torch.zeros(2, 1)]
    one, _ = most_probable([row(0, 1)], [torch.tensor([[1.0], [0.0]])], nothing)
    four, _ = most_probable([row(0, 1)], [torch.tensor([[1.0] * 4, [0.0] * 4])], nothing)
    assert float(four.sum()) == pytest.approx(float(one), rel=1e-4)
    assert FEATURES < STATES
