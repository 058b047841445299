"""How much memory a training will take, said before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chatapp.core.errors import TrainingError

_PROGRAM = 700 * 2**20
"""Python, torch, transformers and peft themselves."""
_FLOAT = 4


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes."""

    program: int
    weights: int
    """The base in float32, and once more in bfloat16 where half precision computes with it."""
    adapters: int
    """LoRA parameters, their gradients, and the two moments of the optimizer."""
    activations: int
    """What is kept for the backward pass of one batch."""
    logits: int

    @property
    def total(self) -> int:
        return self.program + self.weights + self.adapters + self.activations + self.logits


def estimate(model: Any, *, places: int, learned: int, half: bool = True) -> Estimate:
    """For a batch of `places` padded tokens of which `learned` get logits. `model`: a `peft.PeftModel`."""
    config = model.config.get_text_config()
    base = sum(each.numel() for name, each in model.named_parameters() if "lora_" not in name)
    lora = sum(each.numel() for name, each in model.named_parameters() if "lora_" in name)
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    # Of each layer: inputs of the norms, of q, k, v, o, of gate, up, down, and the LoRA's own copies of them.
    kept = layers * (14 * width + 6 * inner)
    # Attention of one row of up to 512 places, all heads, scores and weights.
    attention = layers * config.num_attention_heads * 2 * min(places, 512)
    return Estimate(
        program=_PROGRAM,
        weights=base * (_FLOAT + (2 if half else 0)),
        adapters=lora * _FLOAT * 4,
        activations=places * (kept + attention) * (3 if half else _FLOAT),
        logits=learned * config.vocab_size * _FLOAT * 4,
    )


def require(expected: Estimate, limit: int | None) -> None:
    """Refuse before any work what would not fit. `limit` in bytes; None asks the machine what is free."""
    if limit is None:
        import psutil

        limit = psutil.virtual_memory().available
    if expected.total > limit:
        raise TrainingError(
            f"this training needs about {expected.total / 2**30:.1f} GiB of memory and may take "
            f"{limit / 2**30:.1f} GiB",
            "make the batch smaller, or train a smaller model",
        )


def peak() -> int:
    """Bytes of memory that this process has had at most so far."""
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
