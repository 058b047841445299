"""Lanes that repeat another reply are sampled in another way, not just again."""

import pytest

from chatapp.core.types import Sampling
from chatapp.session.alternatives import ROUNDS, hotter


def test_each_round_lets_less_likely_tokens_in() -> None:
    asked = Sampling(seed=3, temperature=1.0)
    rounds = [hotter(asked, number) for number in range(ROUNDS + 1)]
    assert rounds[0] == asked
    thresholds = [each.xtc_threshold for each in rounds[1:]]
    assert thresholds == sorted(thresholds, reverse=True)
    assert len(set(thresholds)) == ROUNDS
    for each in rounds[1:]:
        assert each.xtc_probability > 0
        # What XTC would choose must not have been filtered out before.
        assert each.top_p == 1.0
        assert each.min_p <= each.xtc_threshold
        assert (each.seed, each.temperature) == (asked.seed, asked.temperature)


@pytest.mark.parametrize("number", range(ROUNDS + 1))
def test_greedy_stays_greedy(number: int) -> None:
    assert hotter(Sampling(temperature=0.0), number) == Sampling(temperature=0.0)
