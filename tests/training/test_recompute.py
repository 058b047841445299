"""Layers and logits that are computed again give the gradients of those that are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from chatapp.training import memory, recompute
from chatapp.training.base import half_precision, trainable
from chatapp.training.data import RankingRow
from chatapp.training.endings import early, end_probabilities
from chatapp.training.model import Policy, load_policy
from chatapp.training.packing import pack, per_reply, source_states, states, token_logprobs
from chatapp.training.recompute import recompute_layers
from chatapp.training.reward import RewardModel, ranking_loss
from chatapp.training.settings import Settings
from chatapp.training.switch import using
from tests.training.architectures import make
from tests.training.tiny import tiny_policy

pytestmark = pytest.mark.train
ROWS = [
    RankingRow((1, 9, 8, 7), ((20, 21, 22, 2), (30, 31, 2), (40, 2)), (0, 1, 2)),
    RankingRow((1, 5, 6), ((50, 51, 52, 53, 54, 2), (60, 61, 62, 2)), (0, 1)),
]


def gradients(policy: Policy) -> dict[str, torch.Tensor]:
    """Of a loss that looks at the base, at the policy, and at early endings."""
    packed = pack(ROWS)
    with half_precision(True):
        with torch.no_grad(), policy.reference():
            reference = token_logprobs(policy.model, packed)
        hidden = source_states(policy.model, packed)
        own = token_logprobs(policy.model, packed, hidden, 0.7)
        ends = end_probabilities(policy.model, hidden, early(packed, [3] * 5), 2, 0.7)
    loss = (own - reference).square().mean() + ends.sum()
    # Whatever is on by the time of the backward pass.
    with using(policy.model, None):
        loss.backward()
    return {name: each.grad.clone() for name, each in trainable(policy.model) if each.grad is not None}


def reward_gradients(policy: Policy) -> dict[str, torch.Tensor]:
    model = RewardModel(policy)
    with torch.no_grad():
        model.head.copy_(torch.linspace(-1, 1, len(model.head)))
        for name, each in model.parameters():
            if "lora_B" in name:
                each.copy_(torch.linspace(-0.3, 0.3, each.numel()).view_as(each))
    with model.learning():
        scores = model.raw(pack(ROWS), torch.zeros(5, 6)).split([len(row.replies) for row in ROWS])
        torch.stack([ranking_loss(*each) for each in zip(scores, ROWS, strict=True)]).sum().backward()
        return {name: each.grad.clone() for name, each in model.parameters() if each.grad is not None}


def same(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> None:
    assert some.keys() == others.keys() and any(each.abs().max() > 1e-4 for each in some.values())
    for name, each in some.items():
        torch.testing.assert_close(each, others[name], rtol=2e-2, atol=1e-5)


def test_layers_that_are_computed_again_give_the_same_gradients() -> None:
    plain, again = tiny_policy(learned=0.5), tiny_policy(learned=0.5)
    recompute_layers(again.model)
    same(gradients(plain), gradients(again))


def test_so_do_those_of_a_reward_model_whose_adapter_is_off_by_then() -> None:
    plain, again = tiny_policy(learned=0.5), tiny_policy(learned=0.5)
    recompute_layers(again.model)
    same(reward_gradients(plain), reward_gradients(again))


def test_layers_keep_what_goes_in_alone() -> None:
    def kept(policy: Policy) -> int:
        sizes: list[int] = []

        def size(tensor: torch.Tensor) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(size, lambda tensor: tensor):
            states(policy.model, pack(ROWS))
        return sum(sizes)

    plain, again = tiny_policy(), tiny_policy()
    recompute_layers(again.model)
    assert kept(again) < kept(plain) / 4


@pytest.mark.parametrize("places", [1, 3])
def test_logits_in_parts_are_the_same(places: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gradients(tiny_policy(learned=0.5))
    policy = tiny_policy(learned=0.5)
    width = policy.model.get_base_model().get_output_embeddings().weight.shape[0]
    sizes: list[int] = []
    log_softmax = torch.Tensor.log_softmax

    def counted(self: torch.Tensor, dim: int) -> torch.Tensor:
        sizes.append(len(self))
        return log_softmax(self, dim)

    monkeypatch.setattr(recompute, "LOGITS", places * width)
    monkeypatch.setattr(torch.Tensor, "log_softmax", counted)
    same(whole, gradients(policy))
    assert max(sizes) <= places


def test_layers_are_computed_again_where_all_of_them_would_take_too_much() -> None:
    model, places = tiny_policy().model, 2**21
    plenty = memory.estimate(model, places=places, limit=2**40)
    little = memory.estimate(model, places=places, limit=2**32)
    assert not plenty.again and little.again
    # This one has two layers.
    assert little.activations < 0.6 * plenty.activations
    # What is modest anyway stays as fast as it is.
    assert not memory.estimate(model, places=64, limit=2**30).again


def test_reward_adapters_are_counted(tmp_path: Path) -> None:
    policy, settings = load_policy(make(tmp_path / "tiny.gguf", "llama"), rank=4), Settings()
    assert memory.reward_ranks(settings, ("dpo",)) < memory.reward_ranks(settings, ("reward", "rloo"))
    rewards = memory.reward_ranks(settings, ("reward", "rloo"))
    one = memory.estimate(policy.model, places=64)
    asked: dict[str, Any] = {"places": 64, "rewards": rewards, "caches": 2**20}
    whole = memory.estimate(policy.model, **asked)
    assert memory.estimate_from_file(policy.header, rank=4, **asked) == whole
    names = ("reward", "judge")
    for name in names:
        RewardModel(policy, settings.reward, name)
    lora = [(name.split("."), each) for name, each in policy.model.named_parameters() if "lora_" in name]
    held = sum(each.nbytes for parts, each in lora if set(names) & set(parts))
    assert whole.adapters - one.adapters == held > 0
    assert whole.total - one.total == held + 2**20
    # Once they are there, they still count once.
    assert memory.estimate(policy.model, **asked) == whole


def test_per_reply_sums_are_those_of_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    packed, policy = pack(ROWS), tiny_policy(learned=0.5)
    with torch.no_grad():
        whole = per_reply(token_logprobs(policy.model, packed), packed)
        monkeypatch.setattr(recompute, "LOGITS", 1)
        torch.testing.assert_close(whole, per_reply(token_logprobs(policy.model, packed), packed))
