"""From the plan to the adapter: the part of a round that loads torch."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.core.errors import TrainingError
from chatapp.core.types import Adapter
from chatapp.engine.child import WAITING
from chatapp.session.keeping import disagreement, keep
from chatapp.session.round_data import material_of, parity_conversations
from chatapp.session.round_request import RoundRequest
from chatapp.session.round_result import RoundResult, json_safe, stage_metrics
from chatapp.session.run_folder import RoundInput, RunFolder
from chatapp.training import processes
from chatapp.training.progress import Listener, Progress

if TYPE_CHECKING:
    from chatapp.engine.tuning import TuningClient
    from chatapp.store.adapters import Adapters
    from chatapp.training.auto import Trainer
    from chatapp.training.data import Data
    from chatapp.training.export import Metadata
    from chatapp.training.model import Policy
    from chatapp.training.run import Limits


@dataclass(frozen=True, slots=True)
class Work:
    """All that one training needs, settled. Each of `engines` has the base loaded; all of them sample."""

    request: RoundRequest
    folder: RunFolder
    given: RoundInput
    data: Data
    engines: Sequence[TuningClient]
    adapters: Adapters
    """Where the adapter is registered, and the folder that takes its files."""
    adapter_folder: Path
    cache: Path
    limits: Limits
    caches: int = 0
    """Bytes of the engines' KV caches."""

    @property
    def engine(self) -> TuningClient:
        return self.engines[0]

    def done(self, listen: Listener) -> RoundResult:
        """Train, judge, prove, register; of several processes the first alone does what follows the judging.

        Errors: `TrainingError` when the engine and the trainer do not agree on the adapter: it is not
        registered then.
        """
        begun = time.monotonic()
        policy = self._policy()
        trainer = self._trainer(policy, listen)
        outcome = trainer.run(self.request.only)
        method, verdict = outcome.method, outcome.verdict
        if method == "keep" and trainer.refused is not None:
            refused = trainer.take_refused()
            method, verdict = refused.method, refused.verdict
        result = RoundResult(
            run=self.folder.name,
            adapter=None,
            method=method,
            parent=None if self.request.start is None else self.request.start.name,
            steps=outcome.steps,
            seconds=time.monotonic() - begun,
            peak_memory_bytes=outcome.peak_memory,
            metrics=stage_metrics(self.folder.stages),
            evaluation=json_safe(verdict.evidence.to_json()),
            accepted=verdict.accepted,
            reason=verdict.reason,
            reward_accuracy=json_safe(asdict(outcome.reward_accuracy)),
            tried=tuple((name, why) for name, why in outcome.tried),
        )
        if processes.number():
            return result
        reward = self._reward(policy, trainer, self._metadata(result))
        if self.request.only != "reward":
            result = self._kept(policy, trainer, result, reward, listen)
        self.folder.write_outcome(result.to_json())
        return result

    def _policy(self) -> Policy:
        quiet()
        from chatapp.training.model import load_policy

        start, info = self.request.start, self.engine.info
        assert info is not None
        return load_policy(
            self.request.path,
            adapter=None if start is None else start.path,
            seed=self.request.settings.seed,
            context=info.cells,
            cache=self.cache,
        )

    def _trainer(self, policy: Policy, listen: Listener) -> Trainer:
        from chatapp.training.auto import Trainer
        from chatapp.training.sampler import EngineSampler

        return Trainer(
            policy,
            EngineSampler(self.engines, self.folder.path / f"rollout-{processes.number()}.gguf"),
            material_of(self.given, self.data, self.engine),
            self.folder.stages,
            self.request.settings,
            limits=self.limits,
            # The plan was said before the work began.
            progress=lambda event: None if event.stage == "plan" else listen(event),
            later_round=self.request.start is not None,
            caches=self.caches,
        )

    def _metadata(self, result: RoundResult) -> Metadata:
        """What the adapter's file says of itself, beside the base that it fits."""
        return {
            "run": result.run,
            "method": result.method,
            "parent": result.parent or "base",
            "data.sha256": self.data.sha256,
            "settings": json.dumps(self.request.to_json()["settings"], sort_keys=True),
            "evaluation": json.dumps(dict(result.evaluation), sort_keys=True),
        }

    def _reward(self, policy: Policy, trainer: Trainer, metadata: Metadata) -> Path | None:
        from chatapp.training.serve import write_reward

        best = trainer.leader
        return None if best is None else write_reward(policy, best, self.folder.reward_file, metadata)

    def _kept(
        self, policy: Policy, trainer: Trainer, result: RoundResult, reward: Path | None, listen: Listener
    ) -> RoundResult:
        from chatapp.training.export import write_adapter

        listen(Progress("parity", 0, 0, note="compares the engine with the trainer"))
        file = write_adapter(policy, self.folder.adapter_file, self._metadata(result))
        conversations = parity_conversations(self.given, self.data, self.engine)
        if why := disagreement(policy, file, self.engine, trainer.material, conversations):
            reason = f"the engine disagrees with the trainer: {why}"
            self.folder.write_outcome(replace(result, accepted=False, reason=reason).to_json())
            raise TrainingError(
                f"the adapter is not registered; {reason}",
                f"nothing has changed in the chat; what was trained lies in {file.parent}",
            )
        kept = keep(self.adapters, self.adapter_folder, self._adapter(result), file, reward)
        return replace(result, adapter=kept.name)

    def _adapter(self, result: RoundResult) -> Adapter:
        request = self.request
        known = {each.name for each in self.adapters.list(request.base_sha256, deleted=True)}
        return Adapter(
            name="",
            method=result.method,
            model=request.model,
            model_sha256=request.base_sha256,
            parent=next((name for name in request.lineage[:1] if name in known), None),
            created=time.time(),
            accepted=result.accepted,
            reason=result.reason,
            run=result.run,
            data_sha256=request.data_sha256,
            settings=request.to_json()["settings"],
            evaluation=result.evaluation,
        )


def quiet() -> None:
    """Settings that torch's libraries read when they are loaded: before anything loads them."""
    # The engines need the cores between the steps.
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
    # oneDNN keeps a compiled kernel for each shape, and with it memory.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
