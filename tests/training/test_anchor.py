"""A later round is held to what the policy was when the round began."""

from pathlib import Path

import pytest

from chatapp.training.anchor import anchored
from chatapp.training.base import trainable
from chatapp.training.model import load_policy
from chatapp.training.weight_copy import copied, restore, scale
from tests.training.architectures import make
from tests.training.test_parity import changed

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")
IDS = [[30, 31, 32, 33]]


def test_the_reference_is_the_start_of_the_round(tmp_path: Path) -> None:
    policy = changed(load_policy(make(tmp_path / "model.gguf", "llama")))

    def logits() -> torch.Tensor:
        with torch.no_grad():
            return policy.model(input_ids=torch.tensor(IDS)).logits

    begun = logits()
    with policy.reference():
        base = logits()
    later = anchored(policy)
    names = [name for name, _ in trainable(policy.model)]
    start = copied(policy.model)
    scale(policy.model, 3.0)
    assert not torch.allclose(logits(), begun)
    with later.reference():
        assert torch.equal(logits(), begun)
    assert [name for name, _ in trainable(policy.model)] == names
    assert all(".default." in name for name in names)
    # Off is still the base, and what was copied can be had again; at nothing the adapter is the base too.
    with policy.reference():
        assert torch.equal(logits(), base)
    later.to_reference()
    assert torch.equal(logits(), begun)
    restore(policy.model, start)
    assert torch.equal(logits(), begun)
    policy.to_reference()
    assert torch.equal(logits(), base)
    # A round after that begins where this one ended.
    restore(policy.model, start)
    scale(policy.model, 0.5)
    halfway = logits()
    again = anchored(later)
    scale(policy.model, 2.0)
    with again.reference():
        assert torch.equal(logits(), halfway)
