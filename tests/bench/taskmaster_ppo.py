"""Does PPO raise a reward that people's thumbs taught, on prompts that it never saw?

    CHATAPP_TEST_DATA=DIR python -m tests.bench.taskmaster_ppo --folder DIR

DIR is that of tests.bench.taskmaster_ratings, after it ran. The policy starts as the adapted model, which is
also what its divergence is measured from. The reward that leads it learned from the thumbs of folds 0 and 1,
whose prompts it practises on; the judge learned from those of folds 2 and 3; the prompts of fold 4 are the
held-out ones.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from chatapp.core.paths import embedded_model
from chatapp.core.types import Sampling, Turn
from chatapp.engine.base import ModelSpec, Sample
from chatapp.engine.tuning import TuningClient
from chatapp.training import evaluate, overlap, ppo, rating
from chatapp.training.base import Ids, half_precision_pays
from chatapp.training.data import RankingRow
from chatapp.training.folds import folds
from chatapp.training.repetition import FREE
from chatapp.training.rollouts import UNFILTERED, Guards
from chatapp.training.sampler import EngineSampler
from tests.bench.taskmaster_ratings import thumbs

LONGEST = 260
"""Tokens of a prompt, so that a run takes minutes."""

SERVED = replace(UNFILTERED, temperature=0.7)
"""At the temperature of the chat."""


class Remembering(EngineSampler):
    """Knows the text of every reply that it drew."""

    def __init__(self, engine: TuningClient, path: Path) -> None:
        super().__init__([engine], path)
        self.texts: dict[tuple[Ids, Ids], str] = {}

    def rollout(
        self, prompts: Sequence[Ids], samples: int, sampling: Sampling
    ) -> tuple[tuple[Sample, ...], ...]:
        drawn = super().rollout(prompts, samples, sampling)
        for prompt, own in zip(prompts, drawn, strict=True):
            self.texts |= {(tuple(prompt), tuple(each.ids)): each.text for each in own}
        return drawn


class Reward:
    """Implements `rollouts.Scorer`: 0 is the average rated reply, 1 a deviation more."""

    def __init__(
        self,
        model: rating.RatingModel,
        policy: Any,
        sampler: Remembering,
        turns: dict[Ids, tuple[Turn, ...]],
        nothing: Ids,
        half: bool,
    ) -> None:
        """`nothing`: the prompt that opens a reply after an empty turn."""
        self._model, self._policy, self._sampler, self._turns = model, policy, sampler, turns
        self._nothing, self._half = nothing, half
        self._mean, self._spread = 0.0, 1.0

    def standardise(self, rows: Sequence[rating.Rated]) -> None:
        import statistics

        scores = self._model.score(rows)
        self._mean, self._spread = statistics.mean(scores), statistics.stdev(scores)

    def score(self, rows: Sequence[RankingRow], base: Any = None) -> list[list[float]]:
        with self._policy.reference():
            logprobs = rating.reply_logprobs(self._policy, rows, half=self._half)
            usual = [RankingRow(self._nothing, row.replies, row.tiers) for row in rows]
            alone = rating.reply_logprobs(self._policy, usual, half=self._half)
        asked = [
            rating.Rated(self._turns[row.prompt], self._sampler.texts[row.prompt, reply], own, usual)
            for row, *found in zip(rows, logprobs, alone, strict=True)
            for reply, own, usual in zip(row.replies, *found, strict=True)
        ]
        scores = iter(self._model.score(asked))
        return [[(next(scores) - self._mean) / self._spread for _ in row.replies] for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("bench-runs/taskmaster"))
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--held-out", type=int, default=60)
    parser.add_argument("--learning-rate", type=float, default=8e-5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import torch

    from chatapp.training.anchor import anchored
    from chatapp.training.model import load_policy

    torch.set_num_threads(1)
    half = half_precision_pays()
    source = Path(os.environ["CHATAPP_TEST_DATA"]) / "taskmaster"
    engine = TuningClient(options.folder / "cache")
    engine.load(ModelSpec(embedded_model(), "bench", threads=1))
    try:
        rated = thumbs(source / "tm4_reward_train.jsonl.gz", engine)
        logprobs = [
            json.loads((options.folder / f"{name}.json").read_text())
            for name in ("logprobs", "logprobs-alone")
        ]
        of = folds([row.key for row in rated], 5, options.seed)
        rows = [
            rating.Rated(row.turns, row.reply, tuple(own), tuple(usual))
            for row, (own,), (usual,) in zip(rated, *logprobs, strict=True)
        ]
        rarity = overlap.Rarity(turn.text for row in rated for turn in row.turns)

        def model(own: tuple[int, ...]) -> rating.RatingModel:
            chosen = [at for at, fold in enumerate(of) if fold in own]
            return rating.RatingModel(rarity, rating.RatingSettings(trees=200)).fit(
                [rows[at] for at in chosen], [rated[at].good for at in chosen]
            )

        def prompts(own: tuple[int, ...]) -> list[Ids]:
            found = [
                row.row.prompt
                for row, fold in zip(rated, of, strict=True)
                if fold in own and len(row.row.prompt) <= LONGEST
            ]
            return random.Random(options.seed).sample(sorted(set(found)), len(set(found)))

        policy = anchored(load_policy(embedded_model(), adapter=options.folder / "adapted.gguf"))
        sampler = Remembering(engine, options.folder / "rollout.gguf")
        turns = {row.row.prompt: row.turns for row in rated}
        others = [row for row, fold in zip(rows, of, strict=True) if fold == 4]
        nothing = tuple(engine.encode([Turn("user", "")]).ids)
        leader, judge = (
            Reward(model(own), policy, sampler, turns, nothing, half) for own in ((0, 1), (2, 3))
        )
        for each in (leader, judge):
            each.standardise(others)
        asked = prompts((4,))[: options.held_out]
        sampling = replace(SERVED, seed=77)
        before = measured(policy, sampler, asked, sampling, leader, judge)
        begun = time.monotonic()
        settings = ppo.PpoSettings(
            steps=options.steps,
            prompts=options.prompts,
            learning_rate=options.learning_rate,
            ptx=0.0,
            sampling=SERVED,
            seed=options.seed,
            half=half,
        )
        lengths = sorted(len(row.row.replies[0]) for row in rated)
        guards = Guards(
            words=1, prices=FREE, shortest=lengths[len(lengths) // 50], longest=lengths[-len(lengths) // 50]
        )
        loop = ppo.train(
            policy,
            sampler,
            leader,
            prompts((0, 1)),
            options.folder / f"ppo-{options.seed}",
            settings,
            guards=guards,
            progress=lambda event: print(json.dumps(dict(event.metrics)), flush=True),
        )
        seconds = time.monotonic() - begun
        after = measured(policy, sampler, asked, sampling, leader, judge)
        kl = evaluate.mean_figure(drift(policy, after[2], half))
        print(
            json.dumps(
                {
                    "steps": loop.step,
                    "stopped": loop.stopped,
                    "seconds": round(seconds),
                    "prompts": len(asked),
                    "kl": str(kl),
                    "bound": settings.stop_kl,
                    **{
                        name: {
                            "before": str(evaluate.mean_figure(one)),
                            "after": str(evaluate.mean_figure(other)),
                            "gain": str(
                                evaluate.mean_figure([b - a for a, b in zip(one, other, strict=True)])
                            ),
                        }
                        for name, one, other in zip(("leader", "judge"), before[:2], after[:2], strict=True)
                    },
                    "examples": [
                        [sampler.texts[a.prompt, a.replies[0]], sampler.texts[b.prompt, b.replies[0]]]
                        for a, b in zip(before[2][:8], after[2][:8], strict=True)
                    ],
                }
            )
        )
    finally:
        engine.close()


def measured(
    policy: Any,
    sampler: Remembering,
    prompts: Sequence[Ids],
    sampling: Sampling,
    leader: Reward,
    judge: Reward,
) -> tuple[list[float], list[float], list[RankingRow]]:
    """Mean reward of two samples to each prompt by both models, without guards; and the samples."""
    sampler.publish(policy)
    drawn = sampler.rollout(prompts, 2, sampling)
    rows = [
        RankingRow(tuple(prompt), tuple(tuple(each.ids) for each in own), (0,) * len(own))
        for prompt, own in zip(prompts, drawn, strict=True)
    ]
    return (
        [evaluate.mean(own) for own in leader.score(rows)],
        [evaluate.mean(own) for own in judge.score(rows)],
        rows,
    )


def drift(policy: Any, rows: Sequence[RankingRow], half: bool) -> list[float]:
    """Mean of log p / p_ref over the samples to each prompt, in nats a reply."""
    own = rating.reply_logprobs(policy, rows, SERVED.temperature, half)
    with policy.reference():
        reference = rating.reply_logprobs(policy, rows, SERVED.temperature, half)
    return [
        evaluate.mean([sum(a) - sum(b) for a, b in zip(one, other, strict=True)])
        for one, other in zip(own, reference, strict=True)
    ]


if __name__ == "__main__":
    main()
