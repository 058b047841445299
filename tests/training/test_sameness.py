"""A policy that says the same to several prompts is led away from it, as far as its reference does not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from chatapp.core.types import Sampling
from chatapp.training import evaluate, ppo, rloo, rollouts, run, sameness
from chatapp.training.base import Ids, trainable
from chatapp.training.data import RankingRow
from tests.training.tiny import END, Begun, TinyPolicy, TinySampled, TorchSampler, tiny_policy

pytestmark = pytest.mark.train

PROMPTS: list[Ids] = [(1, 50, 60), (1, 51, 61), (1, 52, 62)]
SAME: list[tuple[Ids, Ids]] = [(PROMPTS[0], (70, 71, END)), (PROMPTS[2], (70, 71, END))]


def test_what_is_said_to_another_prompt_too() -> None:
    def said(text: str, *ids: int) -> TinySampled:
        return TinySampled(ids, text, "stop")

    replies = [
        [said("Where to?", 70, END), said("Where to?", 70, END)],
        [said("I see.", 71, END), said("I see.", 71, END)],
        [said("where to", 72, END), said("Fine.", 73, END)],
    ]
    # Twice to the same prompt is not the same to several; case and signs make no difference.
    found = sameness.same(PROMPTS, replies)
    assert found == [(PROMPTS[0], (70, END)), (PROMPTS[0], (70, END)), (PROMPTS[2], (72, END))]
    assert sameness.same([], []) == []


def test_only_what_the_reference_says_less_often_counts() -> None:
    # The first is 0.5 nats more probable than it was, the second less, the third as probable.
    own = torch.tensor([-1.0, -4.0, -2.0], requires_grad=True)
    loss = sameness.excess(own, torch.tensor([-1.5, -3.0, -2.0]))
    assert loss.item() == pytest.approx(0.5)
    loss.backward()
    assert own.grad is not None and own.grad.tolist() == [1.0, 0.0, 0.0]


def gains(policy: TinyPolicy) -> torch.Tensor:
    """log p / p_ref of each of `SAME`."""
    rows = [RankingRow(prompt, (reply,), (0,)) for prompt, reply in SAME]
    return torch.tensor(evaluate.gains(policy, rows, half=False))


def learned(policy: TinyPolicy, folder: Path, price: float, steps: int) -> run.Loop:
    loop = run.Loop("rloo", folder, trainable(policy.model), steps=steps, learning_rate=1e-2, decay=False)
    loop.state |= {"same": SAME, "prices": {"pairs": 0.0, "whole": price}}
    for _ in loop:
        sameness.add(loop, policy, 4, 0, half=False)
        loop.update({})
    return loop


def test_it_becomes_no_more_probable_than_it_was(tmp_path: Path) -> None:
    policy = tiny_policy(learned=0.5)
    before = gains(policy)
    assert float(before.max()) > 1.0
    loop = learned(policy, tmp_path, 10.0, 60)
    assert float(gains(policy).max()) <= 0
    # Then there is nothing more to lose.
    sameness.add(loop, policy, 4, 0, half=False)
    assert not any(each.grad is not None and bool(each.grad.any()) for _, each in trainable(policy.model))


def test_what_is_as_it_was_stays_as_it_is(tmp_path: Path) -> None:
    policy = tiny_policy()
    start = {name: each.clone() for name, each in trainable(policy.model)}
    learned(policy, tmp_path, 10.0, 2)
    assert all(torch.equal(start[name], each) for name, each in trainable(policy.model))


def test_the_gradient_is_that_of_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some at a time, each step stands for all: the mean over a round is the gradient of the equation."""
    policy = tiny_policy(learned=0.5)

    def gradient(rows: int, steps: int) -> torch.Tensor:
        monkeypatch.setattr(sameness, "ROWS", rows)
        loop = run.Loop("rloo", tmp_path / str(rows), trainable(policy.model), steps=9, learning_rate=0.0)
        loop.state |= {"same": SAME, "prices": {"pairs": 0.0, "whole": 3.0}}
        for loop.step in range(steps):
            sameness.add(loop, policy, 4, 0, half=False)
        found = torch.cat([each.grad.flatten() for _, each in trainable(policy.model)])
        for _, each in trainable(policy.model):
            each.grad = None
        return found / steps

    whole = gradient(2, 1)
    assert float(whole.abs().max()) > 0
    torch.testing.assert_close(gradient(1, 2), whole, rtol=1e-3, atol=1e-6)


class Says(TorchSampler):
    """The same to every prompt, once the policy has learned something; before, to each its own."""

    def rollout(self, prompts: Sequence[Ids], samples: int, sampling: Sampling) -> list[list[TinySampled]]:
        if sampling.temperature == 1.0:
            return super().rollout(prompts, samples, sampling)
        return [[TinySampled((70, END), "one and all", "stop")] * samples for _ in prompts]


@pytest.mark.parametrize("recipe", ["rloo", "ppo"])
def test_every_step_is_led_away_from_it(tmp_path: Path, recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, seen, real = tiny_policy(learned=0.5), [], sameness.excess

    def counted(logprobs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        seen.append(len(logprobs))
        return real(logprobs, reference)

    monkeypatch.setattr(sameness, "excess", counted)
    common: dict[str, Any] = {"chat": Sampling(temperature=0.4, max_tokens=8), "guards": rollouts.Guards()}
    scorer = Nothing()
    if recipe == "rloo":
        own = rloo.RlooSettings(steps=3, prompts=2, samples=3, half=False, stop_kl=99.0)
        loop = rloo.train(policy, Says(), scorer, PROMPTS, tmp_path, own, **common)
    else:
        other = ppo.PpoSettings(steps=2, prompts=2, samples=3, half=False, stop_kl=99.0)
        loop = ppo.train(policy, Says(), scorer, PROMPTS, tmp_path, other, **common)
    # Three prompts with two replies each, all the same.
    assert seen == [6] * loop.step


@pytest.mark.parametrize("later", [False, True])
def test_in_a_later_round_it_may_say_what_the_base_says(tmp_path: Path, later: bool) -> None:
    base = tiny_policy(learned=0.5)
    policy, settings = Begun(base.model), rloo.RlooSettings(half=False)
    common = (policy, Says(), Nothing(), PROMPTS, rollouts.Guards(), settings)
    chat = Sampling(temperature=0.4, max_tokens=8)
    source = rollouts.OnPolicy(*common, chat=chat, base=base if later else None)
    loop = run.Loop("rloo", tmp_path, trainable(policy.model), steps=1, learning_rate=1e-2)
    loop.state |= {"same": SAME, "prices": {"pairs": 0.0, "whole": 3.0}}
    source.vary(loop)
    learns = any(each.grad is not None and bool(each.grad.any()) for _, each in trainable(policy.model))
    assert learns == later


class Nothing:
    """A scorer that likes all the same."""

    def score(self, rows: Sequence[RankingRow], base: Any = None) -> list[list[float]]:
        return [[0.0] * len(row.replies) for row in rows]


def test_without_a_price_nothing_is_added(tmp_path: Path) -> None:
    policy = tiny_policy(learned=0.5)
    loop = run.Loop("rloo", tmp_path, trainable(policy.model), steps=1, learning_rate=1e-2)
    sameness.add(loop, policy, 4, 0, half=False)
    loop.state["same"] = []
    sameness.add(loop, policy, 4, 0, half=False)
    assert all(each.grad is None for _, each in trainable(policy.model))
