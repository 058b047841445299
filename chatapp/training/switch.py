"""The LoRA layers of a model, and which of its adapters is on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def layers(model: Any) -> list[Any]:
    """Those of `model` (a `peft.PeftModel`)."""
    base = model.get_base_model()
    return [base.get_submodule(name) for name in model.base_model.targeted_module_names]


@contextmanager
def using(model: Any, adapter: str | None) -> Iterator[None]:
    """Within it every LoRA layer of `model` adds the adapter of that name, or none.

    Which parameters learn stays as it is. peft's own switches visit every module and every parameter of all
    adapters, which takes longer than a small model takes for a batch.
    """
    switched = layers(model)
    before = [(layer._disable_adapters, layer._active_adapter) for layer in switched]
    for layer in switched:
        layer._disable_adapters = adapter is None
        if adapter is not None:
            layer._active_adapter = [adapter]
    try:
        yield
    finally:
        for layer, (disabled, active) in zip(switched, before, strict=True):
            layer._disable_adapters, layer._active_adapter = disabled, active
