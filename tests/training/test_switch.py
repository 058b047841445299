"""Our switch between adapters does what peft's does, and leaves no trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig

from chatapp.training.switch import using
from tests.training.tiny import tiny_policy

pytestmark = pytest.mark.train
IDS = torch.tensor([[1, 100, 50, 7, 2, 1, 100]])


def with_second() -> Any:
    """A model whose adapters `default` and `second` differ."""
    model = tiny_policy(learned=0.5).model
    model.add_adapter("second", LoraConfig(**_same(model.peft_config["default"])))
    model.set_adapter("default")
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, each in model.named_parameters():
            if ".second." in name:
                each.copy_(torch.randn(each.shape, generator=generator) / 4)
    return model


def _same(config: LoraConfig) -> dict[str, Any]:
    return {"r": config.r, "lora_alpha": config.lora_alpha, "target_modules": config.target_modules}


def logits(model: Any) -> torch.Tensor:
    return model(input_ids=IDS).logits.detach()


def test_it_switches_as_peft_does() -> None:
    model = with_second()
    own = logits(model)
    with model.disable_adapter():
        base = logits(model)
    model.set_adapter("second")
    second = logits(model)
    model.set_adapter("default")
    assert not torch.allclose(own, base) and not torch.allclose(own, second)
    learning = [name for name, each in model.named_parameters() if each.requires_grad]
    with using(model, "second"):
        assert torch.equal(logits(model), second)
        with using(model, None):
            assert torch.equal(logits(model), base)
            with using(model, "default"):
                assert torch.equal(logits(model), own)
        assert torch.equal(logits(model), second)
        assert [name for name, each in model.named_parameters() if each.requires_grad] == learning
    with pytest.raises(KeyError), using(model, None):
        raise KeyError
    assert torch.equal(logits(model), own)
