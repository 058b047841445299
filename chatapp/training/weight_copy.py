"""The adapter's weights as they are at one moment: to go back to, or to go half way back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from chatapp.training.base import TrainedPolicy, trainable

if TYPE_CHECKING:
    from torch import Tensor


def copied(model: Any) -> dict[str, Tensor]:
    """Every trainable parameter of `model`, by name."""
    return {name: each.detach().clone() for name, each in trainable(model)}


def restore(model: Any, copy: Mapping[str, Tensor]) -> None:
    """Back to what `copied` gave."""
    import torch

    with torch.no_grad():
        for name, each in trainable(model):
            each.copy_(copy[name])


@contextmanager
def at_reference(policy: TrainedPolicy) -> Iterator[None]:
    """Within it the adapter is what the policy's reference is, so that it can be sampled from."""
    now = copied(policy.model)
    policy.to_reference()
    try:
        yield
    finally:
        restore(policy.model, now)


def part_of_the_way(model: Any, start: Mapping[str, Tensor], share: float) -> None:
    """From `start` only `share` of the way to where the parameters are now."""
    import torch

    with torch.no_grad():
        for name, each in trainable(model):
            each.copy_(torch.lerp(start[name], each, share))


def adds_nothing(model: Any) -> bool:
    """Whether the model with its adapter is the base."""
    return not any(bool(each.any()) for name, each in trainable(model) if "lora_B" in name)


def scale(model: Any, factor: float) -> None:
    """Multiply what the adapter adds to the base by `factor`; 0 leaves the base."""
    import torch

    with torch.no_grad():
        for name, each in trainable(model):
            if "lora_B" in name:
                each.mul_(factor)
