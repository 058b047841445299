"""Replies from several engines: what each takes, with which seeds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.core.errors import EngineDied, TrainingError
from chatapp.core.types import Sampling
from chatapp.training.sampler import EngineSampler, cuts


class SpokenEngine:
    """A reply is its prompt and the seed it would be drawn with; the first `deaths` calls end it."""

    def __init__(self, deaths: int = 0) -> None:
        self.deaths = deaths
        self.taken = 0

    def rollout(self, prompts: Sequence[Any], samples: int, sampling: Sampling) -> tuple[Any, ...]:
        self.deaths -= 1
        if self.deaths >= 0:
            raise EngineDied("the engine ended")
        self.taken += len(prompts)
        first = sampling.seed or 0
        return tuple(
            tuple((prompt, first + at * samples + number) for number in range(samples))
            for at, prompt in enumerate(prompts)
        )


def drawn(engines: Sequence[SpokenEngine], prompts: Sequence[Any], folder: Path) -> tuple[Any, ...]:
    sampler = EngineSampler(engines, folder / "a.gguf")  # type: ignore[arg-type]
    return sampler.rollout(prompts, 3, Sampling(seed=40))


def test_several_engines_draw_what_one_draws(tmp_path: Path) -> None:
    prompts = [(token,) * length for token, length in enumerate((3, 9, 9, 20, 41, 60, 60))]
    alone = drawn([SpokenEngine()], prompts, tmp_path)
    assert [own[0] for own in alone] == [(prompt, 40 + 3 * at) for at, prompt in enumerate(prompts)]
    for count in (2, 3, 9):
        engines = [SpokenEngine() for _ in range(count)]
        assert drawn(engines, prompts, tmp_path) == alone
        assert sum(each.taken for each in engines) == len(prompts)
        assert count > 3 or all(each.taken for each in engines)


def test_an_engine_that_dies_while_it_samples_is_started_again_once(tmp_path: Path) -> None:
    prompts = [(1,), (2,)]
    fine = drawn([SpokenEngine()], prompts, tmp_path)
    assert drawn([SpokenEngine(1)], prompts, tmp_path) == fine
    assert drawn([SpokenEngine(), SpokenEngine(1)], prompts, tmp_path) == fine
    with pytest.raises(TrainingError, match="ended twice"):
        drawn([SpokenEngine(), SpokenEngine(2)], prompts, tmp_path)


@given(st.lists(st.integers(1, 300), max_size=40), st.integers(1, 5))
def test_pieces_cost_about_the_same(costs: list[int], parts: int) -> None:
    places = cuts(costs, parts)
    assert places[0] == 0
    assert places[-1] == len(costs)
    assert places == sorted(places)
    assert len(places) == parts + 1
    pieces = [sum(costs[start:end]) for start, end in pairwise(places)]
    assert max(pieces) <= sum(costs) / parts + max(costs, default=0)
