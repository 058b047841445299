"""All of it, in order: reward model, policy, evaluation, gate, and what to fall back on.

    chatapp train

The stages and their order are those of InstructGPT (Ouyang et al. 2022, figure 2). What is handed back is
an adapter file and a verdict; whether the chat uses it is for others to decide.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from chatapp.core.errors import TrainingError
from chatapp.training import dpo, evaluate, ppo, processes, reward, rloo, sft
from chatapp.training.anchor import anchored
from chatapp.training.base import Sampler
from chatapp.training.data import RankingRow
from chatapp.training.evaluate import Figure
from chatapp.training.examine import Examiner
from chatapp.training.gate import SURE, Evidence, Verdict, damages, judge, merit
from chatapp.training.memory import estimate, largest_batch, peak, require, reward_ranks
from chatapp.training.plan import Stage, plan
from chatapp.training.progress import Listener, Progress, silent
from chatapp.training.recompute import recompute_layers
from chatapp.training.rollouts import LONGEST, guards_from, sample_length, stop_kl
from chatapp.training.run import Interrupted, Limits
from chatapp.training.settings import Material, Settings
from chatapp.training.weight_copy import copied, part_of_the_way, restore, scale

if TYPE_CHECKING:
    from torch import Tensor

    from chatapp.training.model import Policy


SCALES = (1.0, 0.8, 0.6, 0.4, 0.2)
"""Of what was learned: how much of it is kept, where more loses something."""


@dataclass(slots=True)
class Outcome:
    method: str
    """`keep` when nothing was good enough."""
    verdict: Verdict
    steps: int
    seconds: float
    peak_memory: int
    reward_accuracy: Figure
    """Of the reward model on held-out rankings."""
    tried: list[tuple[str, str]]
    """(method, why it was not taken), in order."""


@dataclass(slots=True)
class Refused:
    """A policy that the gate did not let through."""

    method: str
    verdict: Verdict
    weights: dict[str, Tensor]


class Trainer:
    """One training of one policy. `folder` holds one folder for each stage, so it can be resumed."""

    def __init__(
        self,
        policy: Policy,
        sampler: Sampler,
        material: Material,
        folder: Path,
        settings: Settings = Settings(),
        *,
        limits: Limits = Limits(),
        progress: Listener = silent,
        later_round: bool = False,
        caches: int = 0,
    ) -> None:
        """`later_round`: the policy goes on from an accepted adapter, and is held to what it was then.
        `caches`: bytes of memory that the sampler's engines take for theirs."""
        self.policy, self.sampler, self.material, self.folder = policy, sampler, material, folder
        self.settings, self.limits, self.progress = settings, limits, progress
        self.refused: Refused | None = None
        """The best of what the gate did not let through."""
        self._steps: dict[str, int] = {}
        self._start = copied(policy.model)
        self._learner = anchored(policy) if later_round else policy
        self.leader: reward.RewardModel | None = None
        """What RLOO and PPO practise against, once it was trained."""
        self._marks: list[float] = []
        """How well it orders each held-out ranking."""
        self._found: dict[RankingRow, reward.Found] = {}
        """What the base finds of the replies that reward models learn from."""
        self._spent = 0.0
        """Seconds of training, the evaluation left out."""
        self._later_round, self._caches = later_round, caches
        self._examiner = Examiner(
            *(policy, sampler, material, settings, self._examining),
            self._learner if later_round else None,
            self._heard,
        )

    # The whole

    def run(self, only: Stage | None = None) -> Outcome:
        """Carry out the plan; the policy is left as the verdict says (at its start when nothing helped)."""
        begun = time.monotonic()
        planned = plan(self.material.data, only)
        for line in planned.lines:
            self._note("plan", line)
        if not planned.stages:
            raise TrainingError(
                "there is too little to learn from", "rank some alternatives (Ctrl+R in the chat)"
            )
        self._require_memory(planned.stages)
        if only == "reward":
            return self._outcome("reward", self._reward_verdict(), begun, [])
        imitated = "sft" in planned.stages
        if imitated:
            self.supervised()
        after = copied(self.policy.model)
        tried: list[tuple[str, str]] = []
        method, verdict = "keep", None
        for name, verdict in self._tries(planned.stages, only, after):
            self._note("evaluate", f"{name}: {verdict.reason}")
            if verdict.accepted:
                method = name
                break
            tried.append((name, verdict.reason))
            self._keep(Refused(name, verdict, copied(self.policy.model)))
        else:
            restore(self.policy.model, self._start)
        assert verdict is not None
        return self._outcome(method, verdict, begun, tried)

    def _tries(
        self, stages: Sequence[Stage], only: Stage | None, after: dict[str, Tensor]
    ) -> Iterator[tuple[str, Verdict]]:
        """Each method from the weights `after`; one that lost something, once more with less of it. Less of
        one that is no better would be no better either."""
        for method in self._methods(stages, only):
            restore(self.policy.model, after)
            if method != "sft":
                getattr(self, method)()
            whole = copied(self.policy.model)
            for factor in SCALES if only is None else SCALES[:1]:
                restore(self.policy.model, whole)
                self._weaken(factor)
                verdict = self.judge()
                yield (method if factor == 1.0 else f"{method} at {factor:g} of its scale"), verdict
                if not damages(verdict.evidence):
                    break

    def _outcome(self, method: str, verdict: Verdict, begun: float, tried: list[tuple[str, str]]) -> Outcome:
        seconds = time.monotonic() - begun
        return Outcome(method, verdict, self.steps, seconds, peak(), self.reward_accuracy, tried)

    def _methods(self, stages: Sequence[Stage], only: Stage | None) -> Iterator[Stage]:
        """What to try, one after the other, until the gate lets one through."""
        if only is not None:
            yield only
            return
        if "rloo" in stages and self._may_lead():
            yield "rloo"
        if "dpo" in stages or "rloo" in stages:
            yield "dpo"
        if "sft" in stages:
            yield "sft"

    def _may_lead(self) -> bool:
        """Whether samples may be as long as what was ranked (else a policy learns to be brief), and reward
        models agree with rankings that they have not seen better than chance."""
        if guards_from(self.material.data.train.rankings, 0.1).longest > LONGEST:
            long = f"more than a tenth of those ranked are over {LONGEST} tokens"
            self._note("reward", f"replies are too long to practise on: {long}")
            return False
        self.led()
        agrees = self._examiner.agrees(self._marks)
        if agrees.n > self.reward_accuracy.n:
            share = f"{agrees.as_share()} of the comparisons in {agrees.n} rankings"
            self._note("check", f"cross-validated, reward models agree with {share} that they had not seen")
        return processes.agreed(agrees.above_chance(SURE))

    def _weaken(self, factor: float) -> None:
        """Keep only `factor` of what was learned: on the way from the base, or from what the round began
        with."""
        if self._later_round:
            part_of_the_way(self.policy.model, self._start, factor)
        else:
            scale(self.policy.model, factor)

    def _keep(self, found: Refused) -> None:
        if self.refused is None or merit(found.verdict) > merit(self.refused.verdict):
            self.refused = found

    def take_refused(self) -> Refused:
        """Make the policy the best of what was refused."""
        assert self.refused is not None
        restore(self.policy.model, self.refused.weights)
        return self.refused

    @property
    def reward_accuracy(self) -> Figure:
        """Of the reward model that leads, on held-out rankings."""
        return evaluate.agreement(self._marks)

    def _reward_verdict(self) -> Verdict:
        """Of a reward model that was trained for its own sake."""
        self.led()
        accuracy = self.reward_accuracy
        if not accuracy.n:
            return Verdict(False, "no ranking was held out, so nothing tells how good it is", Evidence())
        share = f"{accuracy.as_share()} of the comparisons in {accuracy.n} held-out rankings"
        reason = f"the reward model agrees with {share}"
        return Verdict(accuracy.low > 0.5, reason, Evidence())

    # The stages

    def supervised(self) -> None:
        """Imitate the edits."""
        rows, settings = self.material.data.train.demonstrations, self.settings.sft
        with self._clock():
            self._count(sft.train(self.policy, rows, self.folder / "sft", settings, **self._common))

    def led(self) -> reward.RewardModel:
        """The reward model trained on the training side, its accuracy measured on the held-out side."""
        if self.leader is None:
            rows, held = self.material.data.train.rankings, self.material.data.held_out.rankings
            with self._clock():
                self.leader = self._reward_model("reward", rows, self._limits_now)
            if held:
                self._marks = reward.pair_accuracy(self.leader.score(held), held)
                share = f"{self.reward_accuracy.as_share()} of the comparisons"
                self._note("reward", f"agrees with {share} in {len(held)} held-out rankings")
        return self.leader

    def dpo(self) -> None:
        rows, settings = self.material.data.train.rankings, self.settings.dpo
        with self._clock():
            self._count(dpo.train(self._learner, rows, self.folder / "dpo", settings, **self._common))

    def rloo(self) -> None:
        self._on_policy(rloo, self.settings.rloo)

    def ppo(self) -> None:
        self._on_policy(ppo, self.settings.ppo)

    def _on_policy(self, recipe: Any, settings: Any) -> None:
        train = self.material.data.train
        leader, guards = self.led(), guards_from(train.rankings)
        room = sample_length(settings.sampling, guards)
        settings = replace(
            settings,
            sampling=replace(settings.sampling, max_tokens=room),
            stop_kl=stop_kl(settings.stop_kl, train.rankings),
        )
        folder = self.folder / recipe.__name__.rsplit(".", 1)[-1]
        with self._clock():
            self._count(
                recipe.train(
                    *(self._learner, self.sampler, leader, train.prompts, folder, settings),
                    guards=guards,
                    chat=self.settings.chat,
                    base=self.policy if self._later_round else None,
                    **self._common,
                )
            )

    def _examining(self, name: str, rows: Sequence[RankingRow]) -> reward.RewardModel:
        """Not cut short: a judge that was stopped early knows nothing."""
        return self._reward_model(name, rows, Limits(stop=self.limits.stop))

    def _reward_model(self, name: str, rows: Sequence[RankingRow], limits: Limits) -> reward.RewardModel:
        """No two of different names have LoRAs that begin alike."""
        seed = crc32(f"{self.settings.seed} {name}".encode())
        model = reward.RewardModel(self.policy, replace(self.settings.reward, seed=seed), name)
        loop = reward.train(
            model,
            rows,
            self.folder / name,
            known=self._found,
            limits=limits,
            progress=lambda event: self.progress(replace(event, stage=name.rstrip("0123456789"))),
        )
        self._count(loop)
        return model

    # The verdict

    def judge(self) -> Verdict:
        """Compare the policy as it is with its base, on held-out data alone."""
        self._note("evaluate", "answers held-out prompts and compares")
        return processes.agreed(judge(self._examiner.evidence()))

    # What all of them need

    @property
    def _common(self) -> dict[str, Any]:
        return {"mix": self.material.mix, "limits": self._limits_now, "progress": self.progress}

    @contextmanager
    def _clock(self) -> Iterator[None]:
        """What is done within it counts as training."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self._spent += time.monotonic() - begun

    @property
    def _limits_now(self) -> Limits:
        """Minutes are for all stages together: what is left of them."""
        most = self.limits.max_minutes
        if most is None:
            return self.limits
        return replace(self.limits, max_minutes=max(0.0, most - self._spent / 60))

    def _count(self, loop: Any) -> None:
        self._steps[str(loop.folder)] = loop.step

    @property
    def steps(self) -> int:
        """Of all stages so far."""
        return sum(self._steps.values())

    def _heard(self, event: Progress) -> None:
        """Of work that has no checkpoint: it ends at once when somebody asks for it."""
        self.progress(event)
        if self.limits.stop is not None and self.limits.stop.is_set():
            raise Interrupted

    def _note(self, stage: str, line: str) -> None:
        self.progress(Progress(stage, 0, 0, note=line))

    def _require_memory(self, stages: Sequence[Stage]) -> None:
        limit = self.settings.max_memory
        if places := largest_batch(self.material.data.train, self.settings, stages, self.material.mix):
            needed = estimate(
                self.policy.model,
                places=places,
                rewards=reward_ranks(self.settings, stages),
                caches=self._caches,
                limit=limit,
                half=self.settings.half,
            )
            require(needed, limit)
            if needed.again:
                recompute_layers(self.policy.model)
