"""Each recipe moves a tiny policy where it should, and can be resumed."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from chatapp.core.errors import TrainingError
from chatapp.core.types import Sampling
from chatapp.training import dpo, evaluate, ppo, reward, rloo, rollouts, run, sft
from chatapp.training.base import Sampled, half_precision_pays
from chatapp.training.data import RankingRow, SftRow
from tests.training.rows import best_replies, question_rows
from tests.training.tiny import END, TinyPolicy, TorchSampler, tiny_policy

pytestmark = pytest.mark.train

PROMPTS = [row.prompt for row in question_rows()][:4]


def fraction(policy: TinyPolicy, rows: Sequence[RankingRow]) -> float:
    """How often the policy's own change orders a pair as the rankings do."""
    marks = reward.pair_accuracy(evaluate.gains(policy, rows, half=False), rows)
    return evaluate.mean(marks)


def test_supervised_makes_the_best_more_probable(tmp_path: Path) -> None:
    policy, rows = tiny_policy(), question_rows()
    loop = sft.train(
        policy,
        best_replies(rows),
        tmp_path,
        sft.SftSettings(epochs=4, batch=4, learning_rate=1e-2, half=False),
        mix=[SftRow((1, 50, 60, END), (0, 0, 1, 1))],
    )
    assert loop.step == 12
    assert run.metrics(tmp_path)[-1]["loss"] < 0.9 * run.metrics(tmp_path)[0]["loss"]
    assert evaluate.best_gain(evaluate.gains(policy, rows), rows).low > 1


def test_nothing_to_learn_from_is_said(tmp_path: Path) -> None:
    policy = tiny_policy()
    with pytest.raises(TrainingError, match="no ranking"):
        dpo.train(policy, [], tmp_path)
    with pytest.raises(TrainingError, match="no ranking"):
        reward.train(reward.RewardModel(policy), [], tmp_path)
    with pytest.raises(TrainingError, match="nothing to imitate"):
        sft.train(policy, [], tmp_path)


def test_dpo_learns_the_order_and_leaves_the_base_alone(tmp_path: Path) -> None:
    policy, rows = tiny_policy(), question_rows()
    before = {name: each.clone() for name, each in policy.model.named_parameters() if "lora_" not in name}
    settings = dpo.DpoSettings(epochs=8, batch=4, learning_rate=1e-2, half=False)
    dpo.train(policy, rows, tmp_path, settings)
    assert fraction(policy, rows) > 0.9
    # The supervised term: the better replies did not become less probable.
    assert run.metrics(tmp_path)[-1]["chosen_gain"] > 0
    assert all(
        torch.equal(each, dict(policy.model.named_parameters())[name]) for name, each in before.items()
    )


def test_half_precision_is_close(tmp_path: Path) -> None:
    rows = question_rows()
    found = []
    for half in (False, True):
        policy = tiny_policy()
        settings = dpo.DpoSettings(epochs=2, batch=4, learning_rate=3e-3, half=half)
        dpo.train(policy, rows, tmp_path / str(half), settings)
        found.append([each["loss"] for each in run.metrics(tmp_path / str(half))])
    assert found[0] == pytest.approx(found[1], rel=0.02)


@pytest.mark.parametrize("slow", [False, True])
def test_half_precision_pays_where_its_products_take_less(
    monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    linear = torch.nn.functional.linear

    def delayed(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        found = linear(values, weights)
        assert found.dtype == (torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32)
        if torch.is_autocast_enabled("cpu") == slow:
            end = time.thread_time() + 0.05
            while time.thread_time() < end:
                pass
        return found

    monkeypatch.setattr(torch.nn.functional, "linear", delayed)
    drawn = torch.get_rng_state()
    assert half_precision_pays() is not slow
    # What is drawn by chance in the training does not depend on it.
    assert torch.equal(drawn, torch.get_rng_state())


@pytest.mark.parametrize("options", [{}, {"plackett_luce": True}, {"noise": 0.2, "margin": 0.1}])
def test_reward_model_learns_the_order(tmp_path: Path, options: dict[str, object]) -> None:
    policy, rows = tiny_policy(), question_rows()
    fixed = reward.RewardSettings(epochs=8, batch=4, learning_rate=1e-2, half=False)
    settings = replace(fixed, **options)
    model = reward.RewardModel(policy, settings)
    before = policy.model(input_ids=torch.tensor([PROMPTS[0]])).logits
    reward.train(model, rows, tmp_path)
    scores = model.score(rows)
    assert evaluate.mean(reward.pair_accuracy(scores, rows)) > 0.9
    flat = torch.tensor([each for own in scores for each in own])
    assert (float(flat.mean()), float(flat.std())) == pytest.approx((0.0, 1.0), abs=1e-3)
    # It is an adapter beside the policy's, which is what it was and still the one that learns.
    assert torch.equal(before, policy.model(input_ids=torch.tensor([PROMPTS[0]])).logits)
    assert all(".default." in name for name, each in policy.model.named_parameters() if each.requires_grad)
    again = reward.RewardModel(tiny_policy(), settings)
    again.restore(model.state())
    assert again.score(rows[:2]) == [pytest.approx(own, abs=1e-4) for own in scores[:2]]


class Wants:
    """A scorer that likes one token."""

    def __init__(self, token: int) -> None:
        self.token = token

    def score(self, rows: Sequence[RankingRow], base: Any = None) -> list[list[float]]:
        return [[reply.count(self.token) / len(reply) for reply in row.replies] for row in rows]


def likes(policy: TinyPolicy, token: int) -> float:
    """log p of `token` as the first of a reply, against the base."""
    ids = torch.tensor([PROMPTS[0]])
    with torch.no_grad():
        own = policy.model(input_ids=ids).logits[0, -1].log_softmax(-1)[token]
        with policy.reference():
            return float(own - policy.model(input_ids=ids).logits[0, -1].log_softmax(-1)[token])


class NoGuards(rollouts.Guards):
    """The words of a tiny policy mean nothing."""

    def of(self, reply: object, score: float, pays: float = 0.0) -> float:
        return score

    def early(self, reply: Sampled) -> int:
        return min(self.shortest - 1, len(reply.ids))


NO_GUARD = NoGuards()


class Strongly(Wants):
    def score(self, rows: Sequence[RankingRow], base: Any = None) -> list[list[float]]:
        return [[20 * each for each in own] for own in super().score(rows)]


def test_rloo_goes_where_the_reward_is(tmp_path: Path) -> None:
    policy, sampler = tiny_policy(), TorchSampler()
    settings = rloo.RlooSettings(
        steps=12, prompts=4, samples=8, learning_rate=2e-2, beta=0.0, stop_kl=99.0, half=False
    )
    loop = rloo.train(policy, sampler, Strongly(70), PROMPTS, tmp_path, settings, guards=NO_GUARD)
    assert loop.step == sampler.published == 12
    assert likes(policy, 70) > 1.0
    lines = run.metrics(tmp_path)
    assert evaluate.mean([each["reward"] for each in lines[-4:]]) > evaluate.mean(
        [each["reward"] for each in lines[:4]]
    )


@pytest.mark.parametrize("name", ["rloo", "ppo"])
def test_the_hard_stop_goes_back(tmp_path: Path, name: str) -> None:
    """Pushed far too hard: it ends early, at a state that had not passed the bound."""
    policy = tiny_policy()
    bound = 0.5
    if name == "rloo":
        hard = rloo.RlooSettings(
            steps=60, prompts=4, samples=8, learning_rate=5e-2, beta=0.0, stop_kl=bound, half=False
        )
        loop = rloo.train(policy, TorchSampler(), Strongly(70), PROMPTS, tmp_path, hard, guards=NO_GUARD)
    else:
        harder = ppo.PpoSettings(
            steps=60, prompts=4, samples=8, learning_rate=5e-2, beta=0.0, stop_kl=bound, half=False
        )
        loop = ppo.train(policy, TorchSampler(), Strongly(70), PROMPTS, tmp_path, harder, guards=NO_GUARD)
    assert loop.stopped is not None and "nats a reply" in loop.stopped
    assert loop.step < loop.steps
    kls = [each["kl"] for each in run.metrics(tmp_path)]
    assert kls[-1] > bound
    assert all(each <= bound for each in kls[:-1])
    # The state of the last draw that was near enough, to the sampling error of another draw.
    drawn = rollouts.draw(policy, TorchSampler(), Wants(70), PROMPTS, 16, rollouts.UNFILTERED, NO_GUARD)
    drift = [each for own in evaluate.gains(policy, [one.row for one in drawn]) for each in own]
    assert evaluate.mean(drift) < kls[-1]
    saved = torch.load(loop.checkpoint)["parameters"]
    assert all(torch.equal(saved[n], p) for n, p in policy.model.named_parameters() if n in saved)


def test_ppo_goes_where_the_reward_is(tmp_path: Path) -> None:
    policy = tiny_policy()
    settings = ppo.PpoSettings(
        steps=12, prompts=4, samples=8, learning_rate=1e-2, beta=0.0, stop_kl=99.0, minibatch=2, half=False
    )
    mix = [SftRow((1, 50, 60, END), (0, 0, 1, 1))]
    loop = ppo.train(
        policy, TorchSampler(), Strongly(70), PROMPTS, tmp_path, settings, guards=NO_GUARD, mix=mix
    )
    assert loop.step == 12 * 2 * 2
    assert likes(policy, 70) > 1.0


class Short:
    """A scorer that likes a reply the more, the sooner it ends."""

    def score(self, rows: Sequence[RankingRow], base: Any = None) -> list[list[float]]:
        return [[20.0 / len(reply) for reply in row.replies] for row in rows]


def test_ppo_does_not_learn_to_end_at_once(tmp_path: Path) -> None:
    def ends(weight: float) -> float:
        """log p of the end as the first token, against the base."""
        policy = tiny_policy()
        settings = ppo.PpoSettings(
            steps=12, prompts=4, samples=8, learning_rate=1e-2, beta=0.0, stop_kl=99.0, half=False
        )
        own = replace(settings, ending=weight)
        guards = NoGuards(shortest=4)
        ppo.train(policy, TorchSampler(), Short(), PROMPTS, tmp_path / str(weight), own, guards=guards)
        return likes(policy, END)

    assert ends(0.0) > 0.5
    assert ends(300.0) < 0.1


@pytest.mark.parametrize("recipe", ["rloo", "ppo"])
def test_on_policy_runs_resume_to_the_same(tmp_path: Path, recipe: str) -> None:
    def train(folder: str, steps: int | None) -> TinyPolicy:
        policy = tiny_policy()
        common: dict[str, Any] = {
            "limits": run.Limits(max_steps=steps),
            "guards": rollouts.Guards(shortest=4),
            "chat": Sampling(max_tokens=8),
            "mix": [SftRow((1, 50, 60, END), (0, 0, 1, 1))],
        }
        if recipe == "rloo":
            own = rloo.RlooSettings(steps=6, prompts=2, samples=3, learning_rate=1e-2)
            rloo.train(policy, TorchSampler(), Wants(70), PROMPTS, tmp_path / folder, own, **common)
        else:
            other = ppo.PpoSettings(steps=3, prompts=2, samples=3, learning_rate=1e-2)
            ppo.train(policy, TorchSampler(), Wants(70), PROMPTS, tmp_path / folder, other, **common)
        return policy

    whole = train("whole", None)
    train("cut", 4)
    resumed = train("cut", None)
    assert run.metrics(tmp_path / "whole") == run.metrics(tmp_path / "cut")
    for (name, a), (_, b) in zip(
        whole.model.named_parameters(), resumed.model.named_parameters(), strict=True
    ):
        assert torch.equal(a, b), name


def test_guards() -> None:
    rows = question_rows()
    guards = rollouts.guards_from(rows, share=0.0)
    lengths = [len(reply) for row in rows for reply in row.replies]
    assert (guards.shortest, guards.longest) == (min(lengths), max(lengths))
    # A reply that was cut off says nothing of how long replies are.
    cut_off = [replace(row, replies=(*row.replies, (9,)), unfinished=frozenset({(9,)})) for row in rows]
    assert rollouts.guards_from(cut_off, share=0.0) == guards
    unknown = [replace(row, unfinished=frozenset(row.replies)) for row in rows]
    assert rollouts.guards_from(unknown) == rollouts.Guards()
    sampler = TorchSampler()
    long = sampler._cut([9] * 12)
    short = sampler._cut([9, END])
    fine, two_words = (sampler._cut([*(each + 3 for each in text), END]) for text in (b"a b c", b"abc d"))
    own = rollouts.Guards(words=3, shortest=3, longest=8, bound=1.5)
    # Cut off, too short, and too few words: as little as the worst, however well it scores.
    assert [own.of(each, 9.0) for each in (long, short, fine, two_words)] == [-1.5, -1.5, 1.5, -1.5]
    assert own.of(fine, -9.0) == -1.5


def test_prompts_come_round() -> None:
    seen = [each for step in range(2) for each in rollouts.pick_prompts(PROMPTS, 2, step, 0)]
    assert sorted(seen) == sorted(PROMPTS)
