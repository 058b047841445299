"""Replies from the policy as it will serve: the engine, with the newest adapter on the quantised base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chatapp.core.errors import EngineDied, TrainingError
from chatapp.core.types import Sampling
from chatapp.engine.base import AdapterSpec, Sample
from chatapp.engine.tuning import TuningClient
from chatapp.training.base import TrainedPolicy
from chatapp.training.export import write_adapter
from chatapp.training.model import Policy


class EngineSampler:
    """Implements `base.Sampler` on an engine that has the base loaded. `path` is rewritten each time."""

    def __init__(self, engine: TuningClient, path: Path) -> None:
        self._engine = engine
        self._path = path

    def publish(self, policy: TrainedPolicy) -> None:
        """`policy`: one that was loaded from the engine's own file."""
        assert isinstance(policy, Policy)
        write_adapter(policy, self._path, {})
        self._engine.set_adapter(AdapterSpec("training", self._path))

    def rollout(
        self, prompts: Sequence[Sequence[int]], samples: int, sampling: Sampling
    ) -> tuple[tuple[Sample, ...], ...]:
        """An engine that dies is started again, once."""
        try:
            return self._engine.rollout(prompts, samples, sampling)
        except EngineDied:
            pass
        try:
            return self._engine.rollout(prompts, samples, sampling)
        except EngineDied as death:
            raise TrainingError(
                f"the engine ended twice while it sampled replies: {death}",
                "`chatapp doctor` tests the engine",
            ) from death
