"""The examination of a tuned policy: everything that the gate wants to know, from held-out data alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from chatapp.core.types import Sampling
from chatapp.training import evaluate, reward
from chatapp.training.base import AT_ONCE, Ids, Sampled, Sampler, TrainedPolicy, drawn_in_parts
from chatapp.training.data import RankingRow
from chatapp.training.folds import folds
from chatapp.training.gate import CLEAR, Evidence
from chatapp.training.progress import Listener, Pace, silent
from chatapp.training.settings import Material, Settings
from chatapp.training.weight_copy import at_reference

if TYPE_CHECKING:
    from chatapp.training.model import Policy

FOLDS = 3
"""Parts of the training side; with the held-out side, all rankings are in four."""


class Examiner:
    """Compares a policy as it is with its base, as often as asked; what the base does is found out once.

    `reward_model` trains one of a name on some rankings. `learner` is given in a later round: the same
    policy, with what it was when the round began as its reference. What was gained is then measured against
    that, what was lost against that and against the base.
    """

    def __init__(
        self,
        policy: Policy,
        sampler: Sampler,
        material: Material,
        settings: Settings,
        reward_model: Callable[[str, Sequence[RankingRow]], reward.RewardModel],
        learner: TrainedPolicy | None = None,
        progress: Listener = silent,
    ) -> None:
        self._policy, self._sampler, self._material = policy, sampler, material
        self._settings, self._reward_model = settings, reward_model
        self._learner = learner
        self._progress = progress
        self._known: dict[str, list[list[Any]]] = {}
        self._losses: dict[str, list[tuple[float, int]]] = {}
        self._judge: reward.RewardModel | None = None
        self._marks: list[float] = []
        self._before: list[list[float]] = []
        """What the judge thinks of the replies that a policy has to win over."""
        self._agrees = evaluate.UNKNOWN

    def evidence(self) -> Evidence:
        data, settings = self._material.data, self._settings
        prompts = list(dict.fromkeys([*data.held_out.prompts, *self._material.prompts]))
        prompts = prompts[: settings.evaluate_prompts]
        held = data.held_out.rankings
        found = Evidence(reward=self._agrees)
        if self._learner is not None:
            found = replace(found, against=settings.start)
        if held:
            own = evaluate.gains(self._learner or self._policy, held, settings.half)
            found = replace(
                found,
                preference=evaluate.agreement(reward.pair_accuracy(own, held)),
                best_gain=evaluate.best_gain(own, held),
            )
        if untouched := self._material.untouched:
            now = evaluate.losses(self._policy.model, untouched)
            found = replace(found, perplexity=self._ratio("base", self._policy, now))
            if self._learner is not None:
                found = replace(found, since=self._ratio("start", self._learner, now))
        if not prompts:
            return found
        tuned, base = self._samples(prompts, "tuned"), self._samples(prompts, "base")
        before = base if self._learner is None else self._samples(prompts, "start")
        found = replace(found, tuned=evaluate.mean_behaviour(tuned), base=evaluate.mean_behaviour(base))
        if self._learner is not None:
            found = replace(found, start=evaluate.mean_behaviour(before))
        judged = evaluate.agreement(self.judge_marks())
        if self._judge is None:
            return found
        ours, *others = _scored(self._judge, prompts, tuned, *(() if self._before else (before,)))
        self._before = self._before or others[0]
        wins = [evaluate.win(*each) for each in zip(ours, self._before, strict=True)]
        return replace(found, wins=evaluate.mean_figure(wins), judge=judged)

    def _ratio(self, of: str, policy: TrainedPolicy, now: Sequence[tuple[float, int]]) -> evaluate.Figure:
        """Perplexity over that of the reference of `policy`, on untouched dialogue."""
        if of not in self._losses:
            with policy.reference():
                self._losses[of] = evaluate.losses(self._policy.model, self._material.untouched)
        return evaluate.perplexity_ratio(now, self._losses[of])

    def agrees(self, marks: Sequence[float]) -> evaluate.Figure:
        """How often reward models agree with rankings that they have not seen: the one that leads with what
        is held out, `marks`, where that is `CLEAR`. Else over all rankings, each part of the others being
        asked of a model that learned from all the rest (cross-validation).

        Those models neither lead nor judge, since they learned from both sides.
        """
        train, held = self._material.data.train.rankings, self._material.data.held_out.rankings
        self._agrees = evaluate.agreement(marks)
        if self._agrees.above_chance(CLEAR):
            return self._agrees
        own = folds([row.key for row in train], FOLDS, self._settings.seed)
        for number in range(FOLDS):
            new = [row for row, fold in zip(train, own, strict=True) if fold == number]
            rest = [row for row, fold in zip(train, own, strict=True) if fold != number]
            if new and rest:
                model = self._reward_model(f"check{number}", [*rest, *held])
                marks = [*marks, *reward.pair_accuracy(model.score(new), new)]
                model.remove()
        self._agrees = evaluate.agreement(marks)
        return self._agrees

    def judge_marks(self) -> list[float]:
        """How well a reward model trained on the held-out rankings orders each ranking of the training side;
        empty where there are too few."""
        data = self._material.data
        if self._judge is None and len(data.held_out.rankings) > 1 and data.train.rankings:
            self._judge = self._reward_model("judge", data.held_out.rankings)
            scores = self._judge.score(data.train.rankings)
            self._marks = reward.pair_accuracy(scores, data.train.rankings)
        return self._marks

    def _samples(self, prompts: Sequence[Ids], of: Literal["tuned", "start", "base"]) -> list[list[Any]]:
        """Replies as the chat would sample them."""
        if of in self._known:
            return self._known[of]
        sampling = replace(self._settings.chat, seed=self._settings.seed + 77)
        whose = {"base": self._policy, "start": self._learner}.get(of)
        with nullcontext() if whose is None else at_reference(whose):
            self._sampler.publish(self._policy)
            drawn = self._drawn(prompts, sampling)
        if of != "tuned":
            self._known[of] = drawn
        return drawn

    def _drawn(self, prompts: Sequence[Ids], sampling: Sampling) -> list[list[Any]]:
        """Replies to all prompts."""
        samples, pace = self._settings.evaluate_samples, Pace("evaluate", len(prompts), self._progress)
        return list(
            map(list, drawn_in_parts(self._sampler.rollout, prompts, samples, sampling, AT_ONCE, pace))
        )


def _scored(
    judge: reward.RewardModel, prompts: Sequence[Ids], *sides: Sequence[Sequence[Sampled]]
) -> list[list[list[float]]]:
    """What the judge thinks of each reply of each side; one that was drawn twice is scored once, and a prompt
    is read once for all its replies."""
    different = [
        tuple(dict.fromkeys(each.ids for own in replies for each in own))
        for replies in zip(*sides, strict=True)
    ]
    rows = [RankingRow(prompt, ids, (0,) * len(ids)) for prompt, ids in zip(prompts, different, strict=True)]
    tables = [dict(zip(ids, own, strict=True)) for ids, own in zip(different, judge.score(rows), strict=True)]
    return [
        [[table[each.ids] for each in own] for table, own in zip(tables, side, strict=True)] for side in sides
    ]
