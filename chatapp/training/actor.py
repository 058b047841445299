"""The engine as the sampler of a training: the quantised file that serves, with the newest adapter on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.core.types import Sampling
from chatapp.engine.base import AdapterSpec, Sample
from chatapp.training.base import Ids
from chatapp.training.export import write_adapter

if TYPE_CHECKING:
    from chatapp.engine.tuning import TuningClient
    from chatapp.training.model import Policy


class EngineSampler:
    """`engine` has loaded the file that the policy was made from; its adapter is changed by `publish`."""

    def __init__(self, engine: TuningClient, folder: Path) -> None:
        self._engine = engine
        self._folder = folder
        self._published = 0
        self._newest: Path | None = None

    def publish(self, policy: Policy) -> None:
        """Write the policy's LoRA to a new file and switch the engine to it."""
        self._published += 1
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = write_adapter(policy, self._folder / f"rollout-{self._published}.gguf", {})
        self._engine.set_adapter(AdapterSpec(file.stem, file))
        if self._newest is not None:
            self._newest.unlink(missing_ok=True)
        self._newest = file

    def rollout(self, prompts: Sequence[Ids], samples: int, sampling: Sampling) -> Sequence[Sequence[Sample]]:
        return self._engine.rollout(prompts, samples, sampling)

    def close(self) -> None:
        """Back to the base; the last file is removed."""
        self._engine.set_adapter(None)
        if self._newest is not None:
            self._newest.unlink(missing_ok=True)
            self._newest = None
