"""Replies from the policy as it will serve: engines with the newest adapter on the quantised base."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path

from chatapp.core.errors import EngineDied, TrainingError
from chatapp.core.types import Sampling
from chatapp.engine.base import AdapterSpec, Sample
from chatapp.engine.tuning import TuningClient
from chatapp.training.base import Ids, TrainedPolicy
from chatapp.training.export import write_adapter
from chatapp.training.model import Policy
from chatapp.training.weight_copy import adds_nothing

_REPLY = 16
"""Tokens of a prompt that take about as long as one reply to it."""


class EngineSampler:
    """Implements `base.Sampler` on engines that have the base loaded, each of which takes its share of the
    prompts. `path` is rewritten each time."""

    def __init__(self, engines: Sequence[TuningClient], path: Path) -> None:
        self._engines = engines
        self._path = path

    def publish(self, policy: TrainedPolicy) -> None:
        """`policy`: one that was loaded from the engines' own file. An adapter that adds nothing is left off:
        it would take half the time."""
        assert isinstance(policy, Policy)
        adapter = None
        if not adds_nothing(policy.model):
            adapter = AdapterSpec("training", write_adapter(policy, self._path, {}))
        for engine in self._engines:
            engine.set_adapter(adapter)

    def rollout(
        self, prompts: Sequence[Ids], samples: int, sampling: Sampling
    ) -> tuple[tuple[Sample, ...], ...]:
        """Each reply draws with the seed that it has where one engine takes all prompts. An engine that dies
        is started again, once."""
        starts = cuts([len(prompt) + _REPLY * samples for prompt in prompts], len(self._engines))
        seed = sampling.seed or 0

        def share(engine: TuningClient, bounds: tuple[int, int]) -> tuple[tuple[Sample, ...], ...]:
            start, end = bounds
            own = replace(sampling, seed=seed + start * samples)
            return _drawn(engine, prompts[start:end], samples, own)

        with ThreadPoolExecutor(len(self._engines)) as pool:
            return tuple(chain.from_iterable(pool.map(share, self._engines, pairwise(starts))))


def cuts(costs: Sequence[float], parts: int) -> list[int]:
    """Where to cut a list so that its `parts` neighbouring pieces cost about the same: 0, ..., len(costs)."""
    total, spent, found = sum(costs), 0.0, [0]
    for at, cost in enumerate(costs):
        # A piece ends before what would be more than half beyond its end.
        while len(found) < parts and spent + cost / 2 >= total * len(found) / parts:
            found.append(at)
        spent += cost
    return [*found, *[len(costs)] * (parts + 1 - len(found))]


def _drawn(
    engine: TuningClient, prompts: Sequence[Ids], samples: int, sampling: Sampling
) -> tuple[tuple[Sample, ...], ...]:
    try:
        return engine.rollout(prompts, samples, sampling)
    except EngineDied:
        pass
    try:
        return engine.rollout(prompts, samples, sampling)
    except EngineDied as death:
        raise TrainingError(
            f"the engine ended twice while it sampled replies: {death}",
            "`chatapp doctor` tests the engine",
        ) from death
