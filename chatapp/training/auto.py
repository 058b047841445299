"""All of it, in order: reward model, policy, evaluation, gate, and what to fall back on.

    chatapp train

The stages and their order are those of InstructGPT (Ouyang et al. 2022, figure 2). What is handed back is
an adapter file and a verdict; whether the chat uses it is for others to decide.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatapp.core.errors import TrainingError
from chatapp.core.types import Sampling
from chatapp.training import dpo, evaluate, ppo, reward, rloo, sft
from chatapp.training.anchor import anchored
from chatapp.training.base import Ids, Sampler, trainable
from chatapp.training.data import Data, RankingRow, SftRow
from chatapp.training.evaluate import Figure
from chatapp.training.gate import Evidence, Verdict, judge
from chatapp.training.memory import estimate, peak, require
from chatapp.training.packing import tokens
from chatapp.training.plan import CLEAR, Stage, plan
from chatapp.training.progress import Listener, Progress, silent
from chatapp.training.rollouts import guards_from
from chatapp.training.run import Limits

if TYPE_CHECKING:
    from chatapp.training.model import Policy


@dataclass(frozen=True, slots=True)
class Settings:
    """Of a whole training; the defaults are those that tests/bench measured."""

    sft: sft.SftSettings = field(default_factory=sft.SftSettings)
    reward: reward.RewardSettings = field(default_factory=reward.RewardSettings)
    dpo: dpo.DpoSettings = field(default_factory=dpo.DpoSettings)
    rloo: rloo.RlooSettings = field(default_factory=rloo.RlooSettings)
    ppo: ppo.PpoSettings = field(default_factory=ppo.PpoSettings)
    members: int = 3
    """Reward models in the committee that leads RLOO and PPO."""
    judges: int = 3
    """Reward models in the committee that judges."""
    evaluate_prompts: int = 80
    evaluate_samples: int = 4
    chat: Sampling = field(default_factory=lambda: Sampling(max_tokens=96))
    """How the chat samples: what is judged is what will be read."""
    max_memory: int | None = None
    seed: int = 0


@dataclass(slots=True)
class Material:
    """What a training works on."""

    data: Data
    mix: Sequence[SftRow] = ()
    """General dialogue to mix in."""
    untouched: Sequence[SftRow] = ()
    """General dialogue for the perplexity; never trained on."""
    prompts: Sequence[Ids] = ()
    """More prompts of the same kind that nobody ranked: for evaluation."""


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

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


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
    ) -> None:
        """`later_round`: the policy goes on from an accepted adapter, and is held to what it was then."""
        self.policy, self.sampler, self.material, self.folder = policy, sampler, material, folder
        self.settings, self.limits, self.progress = settings, limits, progress
        self.reward_accuracy = evaluate.UNKNOWN
        self._steps: dict[str, int] = {}
        self._start = self._copy()
        self._learner = anchored(policy) if later_round else policy
        self._leaders: reward.Committee | None = None
        self._base_samples: dict[int, list[list[Any]]] = {}
        self._base_losses: list[tuple[float, int]] | None = None
        self._judges: reward.Committee | None = None
        self._judged = evaluate.UNKNOWN

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
        self._require_memory()
        imitated = "sft" in planned.stages
        if imitated:
            self.supervised()
        after = self._copy()
        tried: list[tuple[str, str]] = []
        method, verdict = "keep", None
        for method, scale in self._methods(planned.stages, only):
            self._restore(after)
            if method != "sft":
                getattr(self, method)()
            self._scale(scale)
            name = method if scale == 1.0 else f"{method} at {scale:g} of its scale"
            verdict = self.judge()
            self._note("evaluate", f"{name}: {verdict.reason}")
            if verdict.accepted:
                method = name
                break
            tried.append((name, verdict.reason))
        else:
            self._restore(self._start)
            method = "keep"
        assert verdict is not None
        outcome = Outcome(
            method, verdict, self.steps, time.monotonic() - begun, peak(), self.reward_accuracy, tried
        )
        (self.folder / "outcome.json").write_text(json.dumps(outcome.to_json(), indent=1) + "\n")
        return outcome

    def _methods(self, stages: Sequence[Stage], only: Stage | None) -> Iterator[tuple[str, float]]:
        """What to try, one after the other, until the gate lets one through."""
        if only == "reward":
            raise TrainingError("a reward model is no policy", "train it with the policy that it is for")
        if only is not None:
            yield only, 1.0
            return
        if "rloo" in stages and self.leaders() is not None and self.reward_accuracy.low > CLEAR:
            yield from (("rloo", 1.0), ("rloo", 0.5))
        if "dpo" in stages or "rloo" in stages:
            yield from (("dpo", 1.0), ("dpo", 0.5))
        if "sft" in stages:
            yield "sft", 1.0

    # The stages

    def supervised(self) -> None:
        """Imitate the edits."""
        rows = self.material.data.train.demonstrations
        self._count(
            sft.train(
                self.policy,
                rows,
                self.folder / "sft",
                self.settings.sft,
                mix=self.material.mix,
                **self._common,
            )
        )

    def leaders(self) -> reward.Committee:
        """The committee trained on the training side, its accuracy measured on the held-out side."""
        if self._leaders is None:
            rows, held = self.material.data.train.rankings, self.material.data.held_out.rankings
            self._leaders = self._committee("reward", rows, self.settings.members)
            if held:
                marks = reward.pair_accuracy(self._leaders.score(held), held)
                self.reward_accuracy = evaluate.mean_figure(marks)
                self._note("reward", f"agrees with {self.reward_accuracy} of held-out comparisons")
        return self._leaders

    def dpo(self) -> None:
        rows = self.material.data.train.rankings
        self._count(
            dpo.train(
                self._learner,
                rows,
                self.folder / "dpo",
                self.settings.dpo,
                mix=self.material.mix,
                **self._common,
            )
        )

    def rloo(self) -> None:
        self._on_policy(rloo, self.settings.rloo)

    def ppo(self) -> None:
        self._on_policy(ppo, self.settings.ppo)

    def _on_policy(self, recipe: Any, settings: Any) -> None:
        train = self.material.data.train
        self._count(
            recipe.train(
                self._learner,
                self.sampler,
                self.leaders(),
                train.prompts,
                self.folder / recipe.__name__.rsplit(".", 1)[-1],
                settings,
                guards=guards_from(train.rankings),
                mix=self.material.mix,
                **self._common,
            )
        )

    def _committee(self, name: str, rows: Sequence[RankingRow], members: int) -> reward.Committee:
        models = []
        for number in range(members):
            own = replace(self.settings.reward, seed=self.settings.seed * 100 + number)
            model = reward.RewardModel(self.policy, own, f"{name}{number}")
            loop = reward.train(model, rows, self.folder / f"{name}-{number}", **self._common)
            self._count(loop)
            models.append(model)
        return reward.Committee(models)

    # The verdict

    def judge(self) -> Verdict:
        """Compare the policy as it is with its base, on held-out data alone."""
        return judge(self.evidence())

    def evidence(self) -> Evidence:
        data, settings = self.material.data, self.settings
        prompts = [*data.held_out.prompts, *self.material.prompts][: settings.evaluate_prompts]
        held = data.held_out.rankings
        found = Evidence()
        if held:
            own = evaluate.gains(self.policy, held)
            found = replace(
                found,
                preference=evaluate.mean_figure(reward.pair_accuracy(own, held)),
                best_gain=evaluate.best_gain(own, held),
            )
        if self.material.untouched:
            if self._base_losses is None:
                with self.policy.reference():
                    self._base_losses = evaluate.losses(self.policy.model, self.material.untouched)
            now = evaluate.losses(self.policy.model, self.material.untouched)
            found = replace(found, perplexity=evaluate.perplexity_ratio(now, self._base_losses))
        if not prompts:
            return found
        tuned, base = self._samples(prompts, of_base=False), self._samples(prompts, of_base=True)
        found = replace(found, tuned=_behaviour(tuned), base=_behaviour(base))
        if len(held) < 2 or not data.train.rankings:
            return found
        if self._judges is None:
            self._judges = self._committee("judge", held, settings.judges)
            marks = reward.pair_accuracy(self._judges.score(data.train.rankings), data.train.rankings)
            self._judged = evaluate.mean_figure(marks)
        wins = []
        for prompt, ours, theirs in zip(prompts, tuned, base, strict=True):
            ids = tuple(each.ids for each in (*ours, *theirs))
            scores = self._judges.score([RankingRow(prompt, ids, (0,) * len(ids))])[0]
            wins.append(evaluate.win(scores[: len(ours)], scores[len(ours) :]))
        return replace(found, wins=evaluate.mean_figure(wins), judge=self._judged)

    def _samples(self, prompts: Sequence[Ids], *, of_base: bool) -> list[list[Any]]:
        """Replies as the chat would sample them."""
        key = len(prompts)
        if of_base and key in self._base_samples:
            return self._base_samples[key]
        sampling = replace(self.settings.chat, seed=self.settings.seed + 77)
        before = self._copy()
        if of_base:
            self._scale(0.0)
        self.sampler.publish(self.policy)
        drawn = [
            list(each) for each in self.sampler.rollout(prompts, self.settings.evaluate_samples, sampling)
        ]
        self._restore(before)
        if of_base:
            self._base_samples[key] = drawn
        return drawn

    # What all of them need

    @property
    def _common(self) -> dict[str, Any]:
        return {"limits": self.limits, "progress": self.progress}

    def _count(self, loop: Any) -> None:
        self._steps[str(loop.folder)] = loop.step

    @property
    def steps(self) -> int:
        """Of all stages so far."""
        return sum(self._steps.values())

    def _note(self, stage: str, line: str) -> None:
        self.progress(Progress(stage, 0, 0, note=line))

    def _require_memory(self) -> None:
        train = self.material.data.train
        rows: list[RankingRow | SftRow] = [*train.rankings, *train.demonstrations]
        if rows:
            longest = sorted(rows, key=lambda row: tokens([row]))[-self.settings.dpo.batch :]
            places = tokens(longest)
            require(estimate(self.policy.model, places=places, learned=places), self.settings.max_memory)

    def _copy(self) -> dict[str, Any]:
        return {name: each.detach().clone() for name, each in self._lora()}

    def _restore(self, copied: dict[str, Any]) -> None:
        import torch

        with torch.no_grad():
            for name, each in self._lora():
                each.copy_(copied[name])

    def _scale(self, factor: float) -> None:
        """Multiply what the adapter adds by `factor`."""
        import torch

        if factor != 1.0:
            with torch.no_grad():
                for name, each in self._lora():
                    if "lora_B" in name:
                        each.mul_(factor)

    def _lora(self) -> Iterator[tuple[str, Any]]:
        return trainable(self.policy.model)


def _behaviour(drawn: Sequence[Sequence[Any]]) -> evaluate.Behaviour:
    """Over the first, the second, ... sample to each prompt, averaged."""
    found = [
        evaluate.behaviour([each.text for each in column], [each.finish_reason == "stop" for each in column])
        for column in zip(*drawn, strict=True)
    ]
    n = len(found)
    return evaluate.Behaviour(
        **{
            name: sum(getattr(each, name) for each in found) / n
            for name in ("words", "distinct", "duplicates", "short", "unfinished")
        }
    )
