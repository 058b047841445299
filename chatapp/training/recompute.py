"""Less memory for more time: what a layer computes is forgotten and computed again for the backward pass.

Chen et al. 2016, "Training deep nets with sublinear memory cost" (arXiv 1604.06174). Gradients stay what they
are; each step pays for one more forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from chatapp.training.switch import as_now, layers

if TYPE_CHECKING:
    from torch import Tensor

LOGITS = 2**25
"""Logits that are there at once, at most; more of them are computed in parts."""


def recompute_layers(model: Any) -> None:
    """From now on each layer of `model` (a `peft.PeftModel`) keeps nothing but what goes into it."""
    from torch.utils.checkpoint import checkpoint

    switched = layers(model)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        # By the time of the backward pass another adapter may be on.
        return nullcontext(), as_now(switched)

    for layer in model.get_base_model().get_decoder().layers:
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False, context_fn=contexts)
        layer.gradient_checkpointing = True
        # Of the layer alone: what is in it stays without dropout.
        layer.training = True


def at_once(width: int) -> int:
    """For how many places there may be logits at once, `width` for each."""
    return max(1, LOGITS // width)


def in_parts(compute: Callable[..., Tensor], width: int, *tensors: Tensor) -> Tensor:
    """`compute(*tensors)` of n entries, which takes `width` logits for each of the n places: where those are
    too many at once, part by part, each computed again for the backward pass."""
    import torch
    from torch.utils.checkpoint import checkpoint

    size = at_once(width)
    if len(tensors[0]) <= size:
        return compute(*tensors)
    parts = zip(*(each.split(size) for each in tensors), strict=True)
    return torch.cat([checkpoint(compute, *part, use_reentrant=False) for part in parts])
