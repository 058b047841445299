"""How often a useless adapter gets through the gate, and a useful one: figures of a world made up for it.

A reply is a point; the person likes those on one side of a plane; reward models are ridge regressions on the
differences within rankings. Policies are the base's points moved.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chatapp.training.evaluate import SLOPE, Figure, agreement, mean_figure
from chatapp.training.folds import folds
from chatapp.training.gate import CLEAR, Evidence, judge, knows
from chatapp.training.plan import TELLING

SIZE = 12
PROMPTS, SAMPLES = 128, 5
STRENGTHS = (0.7, 0.3)
"""Of the two tries: RLOO, DPO."""
Array = Any


def fit(rankings: list[Array]) -> Array:
    """Points in the direction that better replies lie in."""
    pairs = np.concatenate(rankings)
    found: Array = np.linalg.solve(pairs.T @ pairs + SIZE * np.eye(SIZE), pairs.sum(0))
    return found / max(float(np.linalg.norm(found)), 1e-9)


def marks(model: Array, rankings: list[Array]) -> list[float]:
    return [float((each @ model > 0).mean()) for each in rankings]


def wins(model: Array, source: Any, move: Array) -> Figure:
    """As the examiner counts them; the interval is that of a mean."""
    base = source.normal(size=(PROMPTS, SAMPLES, SIZE)) @ model
    tuned = (source.normal(size=(PROMPTS, SAMPLES, SIZE)) + move) @ model
    # As `evaluate.win`; scores have deviation 1 here.
    each = (1 / (1 + np.exp(SLOPE * (base[:, None, :] - tuned[:, :, None])))).mean((1, 2))
    error = 1.96 * float(each.std()) / PROMPTS**0.5
    value = float(each.mean())
    return Figure(value, value - error, value + error, PROMPTS)


def passes(source: Any, rankings: int, flips: float, direction: Callable[[Array], Array]) -> bool:
    """One training: whether any of its tries is accepted."""
    said = []
    for _ in range(rankings):
        replies = source.normal(size=(4, SIZE))
        replies[0, 0], replies[1, 0] = abs(replies[0, 0]), -abs(replies[1, 0])
        good = (replies[:, 0] > 0) != (source.random() < flips)
        said.append((replies[good][:, None] - replies[~good][None]).reshape(-1, SIZE))
    few = rankings * 2 // 5
    held, train = said[:few], said[few:]
    leader, own_judge = fit(train), fit(held)
    crossed = marks(leader, held)
    fold = folds([str(number) for number in range(len(train))], 3)
    for number in () if agreement(crossed).above_chance(CLEAR) else range(3):
        rest = [each for each, at in zip(train, fold, strict=True) if at != number]
        new = [each for each, at in zip(train, fold, strict=True) if at == number]
        crossed += marks(fit(rest + held), new)
    evidence = Evidence(reward=agreement(crossed), judge=agreement(marks(own_judge, train)))
    lead = evidence.reward.above_chance()
    for strength in STRENGTHS if lead else STRENGTHS[1:]:
        move = strength * direction(leader)
        preferred = [move if move.any() else source.normal(size=SIZE) for _ in held]
        agreed = [marks(own, [each])[0] for own, each in zip(preferred, held, strict=True)]
        shown = Evidence(
            wins=wins(own_judge, source, move),
            judge=evidence.judge,
            reward=evidence.reward,
            preference=agreement(agreed),
        )
        if judge(shown).accepted:
            return True
    return False


def share(rankings: int, flips: float, direction: Callable[[Array], Array], trainings: int = 400) -> float:
    source = np.random.default_rng(rankings)
    return sum(passes(source, rankings, flips, direction) for _ in range(trainings)) / trainings


def led(leader: Array) -> Array:
    return leader


def nowhere(leader: Array) -> Array:
    return 0 * leader


@pytest.mark.parametrize("rankings", [24, 60, 100])
def test_an_adapter_led_by_rankings_that_mean_nothing_seldom_passes(rankings: int) -> None:
    assert share(rankings, 0.5, led) <= 0.05


@pytest.mark.parametrize("rankings", [24, 60, 100])
def test_an_adapter_that_changed_nothing_seldom_passes(rankings: int) -> None:
    assert share(rankings, 0.25, nowhere) <= 0.05


def test_a_useful_adapter_passes() -> None:
    found = [share(rankings, 0.25, led, 150) for rankings in (24, 60, 100)]
    assert found == sorted(found)
    assert found[1] > 0.5 and found[2] > 0.75


def test_guessing_is_above_chance_as_rarely_as_it_says() -> None:
    source = random.Random(3)
    for few in (3, 5, 12, 60):
        drawn = [agreement([float(source.random() < 0.5) for _ in range(few)]) for _ in range(2000)]
        assert sum(each.above_chance(1.96) for each in drawn) / 2000 < 0.045
        assert sum(each.above_chance(2.5) for each in drawn) / 2000 < 0.02
    assert not agreement([1.0] * 3).above_chance()
    assert agreement([1.0] * 6).above_chance(2.4)
    assert not agreement([]).above_chance(0.0)


def test_a_judge_needs_less_of_its_own_where_cross_validation_speaks_for_it() -> None:
    leaning = Evidence(judge=Figure(0.58, 0.47, 0.69, 45))
    assert not knows(leaning)
    sure, unsure = Figure(0.65, 0.52, 0.78, 60), Figure(0.58, 0.46, 0.7, 60)
    assert knows(Evidence(judge=leaning.judge, reward=sure))
    assert not knows(Evidence(judge=leaning.judge, reward=unsure))
    assert not knows(Evidence(judge=Figure(0.5, 0.4, 0.6, 45), reward=sure))
    # The surer the one, the less is asked of the other; but nothing speaks for a judge that leans away.
    surer, barely = Figure(0.79, 0.67, 0.91, 59), Figure(0.54, 0.43, 0.65, 35)
    assert knows(Evidence(judge=barely, reward=surer)) and not knows(Evidence(judge=barely, reward=sure))
    assert not knows(Evidence(judge=Figure(0.45, 0.34, 0.56, 35), reward=surer))


@pytest.mark.parametrize("values", [[0.51], [0.52, 0.55], [0.6] * (TELLING - 1)])
def test_a_handful_of_prompts_tells_nothing(values: list[float]) -> None:
    sure = Figure(0.9, 0.85, 0.95, 200)
    verdict = judge(Evidence(wins=mean_figure(values), judge=sure))
    assert not verdict.accepted and "too few prompts" in verdict.reason
    assert judge(Evidence(wins=mean_figure([*values, *[0.6] * TELLING]), judge=sure)).accepted
