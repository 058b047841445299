"""How much memory a training will take, said before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chatapp.core.errors import TrainingError
from chatapp.engine.gguf import GgufHeader
from chatapp.training.data import RankingRow, SftRow, Side
from chatapp.training.packing import tokens
from chatapp.training.plan import Stage
from chatapp.training.rollouts import guards_from, sample_length
from chatapp.training.settings import Settings

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
    shape = _Shape(
        base=sum(each.numel() for name, each in model.named_parameters() if "lora_" not in name),
        lora=sum(each.numel() for name, each in model.named_parameters() if "lora_" in name),
        width=config.hidden_size,
        inner=config.intermediate_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        vocabulary=config.vocab_size,
    )
    return _estimate(shape, places, learned, half)


def estimate_from_file(
    header: GgufHeader, *, places: int, learned: int, rank: int = 8, half: bool = True
) -> Estimate:
    """The same before anything is loaded, from what the model's file says of itself."""

    def number(key: str) -> int:
        value = header.metadata.get(f"{header.architecture}.{key}")
        return value if isinstance(value, int) else 0

    matrices = [each.dims for each in header.tensors if each.name.startswith("blk.") and len(each.dims) == 2]
    embedding = next((each.dims for each in header.tensors if each.name == "token_embd.weight"), (0, 0))
    shape = _Shape(
        base=header.parameters,
        lora=rank * sum(sum(dims) for dims in matrices),
        width=number("embedding_length"),
        inner=number("feed_forward_length"),
        layers=number("block_count"),
        heads=number("attention.head_count"),
        vocabulary=embedding[-1],
    )
    return _estimate(shape, places, learned, half)


@dataclass(frozen=True, slots=True)
class _Shape:
    base: int
    """Parameters; `lora` likewise."""
    lora: int
    width: int
    inner: int
    layers: int
    heads: int
    vocabulary: int


def _estimate(shape: _Shape, places: int, learned: int, half: bool) -> Estimate:
    # Of each layer: inputs of the norms, of q, k, v, o, of gate, up, down, and the LoRA's own copies of them.
    kept = shape.layers * (14 * shape.width + 6 * shape.inner)
    # Attention of one row of up to 512 places, all heads, scores and weights.
    attention = shape.layers * shape.heads * 2 * min(places, 512)
    return Estimate(
        program=_PROGRAM,
        weights=shape.base * (_FLOAT + (2 if half else 0)),
        adapters=shape.lora * _FLOAT * 4,
        activations=places * (kept + attention) * (3 if half else _FLOAT),
        logits=learned * shape.vocabulary * _FLOAT * 4,
    )


def largest_batch(side: Side, settings: Settings, stages: Sequence[Stage], mix: Sequence[SftRow] = ()) -> int:
    """Places of the largest batch that a stage will put through the network; 0 where there is nothing to
    learn from. The samples of RLOO and PPO are taken to be as long as they may be; `mix` is the general
    dialogue."""
    rows: list[RankingRow | SftRow] = [*side.rankings, *side.demonstrations]
    if not rows:
        return 0
    batches = [_longest(rows, max(settings.dpo.batch, settings.reward.batch))]
    if "sft" in stages:
        edits = _longest(side.demonstrations, settings.sft.batch)
        batches.append(edits + _longest(mix, round(settings.sft.mix * settings.sft.batch)))
    for stage, own, at_once in (
        ("rloo", settings.rloo, settings.rloo.micro),
        ("ppo", settings.ppo, settings.ppo.minibatch),
    ):
        if stage in stages and side.rankings:
            reply = sample_length(own.sampling, guards_from(side.rankings))
            prompts = sorted(map(len, side.prompts))[-at_once:]
            batches.append(sum(prompts) + len(prompts) * own.samples * reply)
            batches.append(_longest(mix, own.mix_rows))
    return max(batches)


def _longest(rows: Sequence[RankingRow | SftRow], count: int) -> int:
    """Places of the `count` longest of `rows` in one batch."""
    longest = sorted(rows, key=lambda row: tokens([row]))[-count:] if count else []
    return tokens(longest) if longest else 0


def require(expected: Estimate, limit: int | None) -> None:
    """Refuse before any work what would not fit. `limit` in bytes; None asks the machine what is free."""
    if limit is None:
        import psutil

        limit = psutil.virtual_memory().available
    if expected.total > limit:
        raise TrainingError(
            f"this training needs about {expected.total / 2**30:.1f} GiB of memory and may take "
            f"{limit / 2**30:.1f} GiB",
            "free some memory, raise --max-memory, or train a smaller model",
        )


def peak() -> int:
    """Bytes of memory that this process has had at most so far."""
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
