"""The LoRA layers of a model, and which of its adapters is on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any


def layers(model: Any) -> list[Any]:
    """Those of `model` (a `peft.PeftModel`)."""
    base = model.get_base_model()
    return [base.get_submodule(name) for name in model.base_model.targeted_module_names]


def using(model: Any, adapter: str | None) -> AbstractContextManager[None]:
    """Within it every LoRA layer of `model` adds the adapter of that name, or none.

    Which parameters learn stays as it is. peft's own switches visit every module and every parameter of all
    adapters, which takes longer than a small model takes for a batch.
    """
    return _set(
        [(each, adapter is None, [adapter] if adapter else each._active_adapter) for each in layers(model)]
    )


def as_now(switched: list[Any]) -> AbstractContextManager[None]:
    """A context within which the same adapters of these layers are on as at this call."""
    return _set([(layer, layer._disable_adapters, layer._active_adapter) for layer in switched])


@contextmanager
def _set(states: list[tuple[Any, bool, Any]]) -> Iterator[None]:
    before = [(layer, layer._disable_adapters, layer._active_adapter) for layer, _, _ in states]
    for layer, disabled, active in states:
        layer._disable_adapters, layer._active_adapter = disabled, active
    try:
        yield
    finally:
        for layer, disabled, active in before:
            layer._disable_adapters, layer._active_adapter = disabled, active
