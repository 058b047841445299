"""Later rounds: the policy is held to what it was when the round began, not to the base."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING

from chatapp.training.base import trainable
from chatapp.training.model import Policy
from chatapp.training.switch import using

if TYPE_CHECKING:
    from peft import PeftModel

_NAME = "anchor"


class Anchored(Policy):
    """Its reference is a frozen copy of its own adapter."""

    @contextmanager
    def reference(self) -> Iterator[PeftModel]:
        with using(self.model, _NAME):
            yield self.model

    def to_reference(self) -> None:
        """Make the adapter what that copy is."""
        import torch

        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, each in trainable(self.model):
                each.copy_(parameters[name.replace(".default.", f".{_NAME}.")])


def anchored(policy: Policy) -> Anchored:
    """The same policy, over the same weights, with itself as it is now as its reference."""
    import torch

    model = policy.model
    if _NAME in model.peft_config:
        model.delete_adapter(_NAME)
    model.add_adapter(_NAME, model.peft_config["default"])
    model.set_adapter("default")
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, each in parameters.items():
            if ".default." in name:
                parameters[name.replace(".default.", f".{_NAME}.")].copy_(each)
    return Anchored(**{each.name: getattr(policy, each.name) for each in fields(policy)})
