"""How much memory a training will take, said before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chatapp.core.errors import TrainingError
from chatapp.engine.gguf import GgufHeader
from chatapp.training.data import RankingRow, SftRow, Side
from chatapp.training.packing import MICRO, PLACES, tokens
from chatapp.training.plan import Stage
from chatapp.training.recompute import LOGITS
from chatapp.training.rollouts import OnPolicySettings, guards_from, sample_length
from chatapp.training.settings import Settings

_PROGRAM = 700 * 2**20
"""Python, torch, transformers and peft themselves."""
_MODEST = 3 * 2**30
"""What a training may always take; more than half of what there is it takes only when it has to."""
_FLOAT = 4


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes."""

    program: int
    weights: int
    """The base in float32, and once more in bfloat16 where half precision computes with it."""
    adapters: int
    """The LoRA that learns, its gradients and the two moments of the optimizer, and the LoRAs beside it."""
    activations: int
    """What is kept for the backward pass of one batch."""
    logits: int
    caches: int = 0
    """The KV caches of the engines that draw replies; they are processes of their own."""
    again: bool = False
    """Whether layers are computed again for the backward pass (see `recompute`)."""

    @property
    def total(self) -> int:
        own = self.program + self.weights + self.adapters + self.activations + self.logits
        return own + self.caches


def estimate(
    model: Any, *, places: int, rewards: int = 0, caches: int = 0, limit: int | None = None, half: bool = True
) -> Estimate:
    """For a batch of `places` padded tokens that may take `limit` bytes (None asks the machine what is free):
    layers are computed again where all that they compute would take too much. `model`: a `peft.PeftModel`;
    `rewards`: as `reward_ranks` gives it; `caches`: bytes of the engines' KV caches."""
    rank = model.peft_config["default"].r
    config = model.config.get_text_config()
    shape = _Shape(
        base=sum(each.numel() for name, each in model.named_parameters() if "lora_" not in name),
        lora=sum(each.numel() for name, each in model.named_parameters() if ".default." in name) // rank,
        width=config.hidden_size,
        inner=config.intermediate_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        vocabulary=config.vocab_size,
    )
    return _comfortable(_Load(shape, places, rank, rewards, caches, half), limit)


def estimate_from_file(
    header: GgufHeader,
    *,
    places: int,
    rewards: int = 0,
    caches: int = 0,
    limit: int | None = None,
    rank: int = 8,
    half: bool = True,
) -> Estimate:
    """The same before anything is loaded, from what the model's file says of itself."""

    def number(key: str) -> int:
        value = header.metadata.get(f"{header.architecture}.{key}")
        return value if isinstance(value, int) else 0

    matrices = [each.dims for each in header.tensors if each.name.startswith("blk.") and len(each.dims) == 2]
    embedding = next((each.dims for each in header.tensors if each.name == "token_embd.weight"), (0, 0))
    shape = _Shape(
        base=header.parameters,
        lora=sum(sum(dims) for dims in matrices),
        width=number("embedding_length"),
        inner=number("feed_forward_length"),
        layers=number("block_count"),
        heads=number("attention.head_count"),
        vocabulary=embedding[-1],
    )
    return _comfortable(_Load(shape, places, rank, rewards, caches, half), limit)


@dataclass(frozen=True, slots=True)
class _Shape:
    base: int
    """Parameters."""
    lora: int
    """Parameters of a LoRA of rank 1."""
    width: int
    inner: int
    layers: int
    heads: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class _Load:
    """What a training puts on a model."""

    shape: _Shape
    places: int
    rank: int
    rewards: int
    caches: int
    half: bool


def _comfortable(load: _Load, limit: int | None) -> Estimate:
    whole = _estimate(load, again=False)
    if whole.total <= max(_MODEST, (_free() if limit is None else limit) // 2):
        return whole
    return _estimate(load, again=True)


def _estimate(load: _Load, again: bool) -> Estimate:
    shape, places = load.shape, load.places
    # Of each layer: inputs of the norms, of q, k, v, o, of gate, up, down, and the LoRA's own copies of them.
    kept = 14 * shape.width + 6 * shape.inner
    # Attention of one row of up to 512 places, all heads, scores and weights.
    attention = shape.heads * 2 * min(places, 512)
    layer = places * (kept + attention) * (3 if load.half else _FLOAT)
    inputs = places * shape.width * _FLOAT
    return Estimate(
        program=_PROGRAM,
        weights=shape.base * (_FLOAT + (2 if load.half else 0)),
        # One LoRA learns at a time, with gradients and moments; the others are there.
        adapters=shape.lora * (4 * load.rank + load.rewards) * _FLOAT,
        activations=shape.layers * inputs + layer if again else shape.layers * layer,
        logits=min(places * shape.vocabulary, LOGITS) * _FLOAT * 4,
        caches=load.caches,
        again=again,
    )


def reward_ranks(settings: Settings, stages: Sequence[Stage]) -> int:
    """The ranks of the LoRAs of all reward models that are there at once, together: the one that judges, and
    the one that leads where there is one."""
    return settings.reward.rank * (2 if "reward" in stages else 1)


def largest_batch(side: Side, settings: Settings, stages: Sequence[Stage], mix: Sequence[SftRow] = ()) -> int:
    """Places of the largest batch that a stage will put through the network; 0 where there is nothing to
    learn from. The samples of RLOO and PPO are taken to be as long as they may be; `mix` is the general
    dialogue."""
    if not side.rankings and not side.demonstrations:
        return 0
    # DPO may have to stand in for the others.
    batches = [
        _whole(side.rankings, settings.dpo.batch),
        _longest(side.rankings, min(MICRO, settings.reward.batch)),
        _longest(mix, MICRO),
    ]
    if "sft" in stages:
        batches.append(_longest([*side.demonstrations, *mix], MICRO))
    if "rloo" in stages and side.rankings:
        batches.append(_group(_sampled(side, settings.rloo), settings.rloo.micro))
    if "ppo" in stages and side.rankings:
        batches.append(sum(_sampled(side, settings.ppo)[-settings.ppo.minibatch :]))
    return max(batches)


def _sampled(side: Side, settings: OnPolicySettings) -> list[int]:
    """Places of each prompt with its samples, which are taken to be as long as they may be; ascending."""
    reply = sample_length(settings.sampling, guards_from(side.rankings))
    return sorted(len(prompt) + settings.samples * reply for prompt in side.prompts)


def _whole(rows: Sequence[RankingRow | SftRow], count: int) -> int:
    """Places of the `count` longest of `rows` in one batch."""
    longest = sorted(rows, key=lambda row: tokens([row]))[-count:]
    return tokens(longest) if longest else 0


def _longest(rows: Sequence[RankingRow | SftRow], count: int) -> int:
    """Places of the largest group of at most `count` that `packing.alike` may make of some of `rows`."""
    return _group(sorted(tokens([row]) for row in rows), count)


def _group(widths: Sequence[int], count: int) -> int:
    """The same of rows that are `widths` places long, ascending."""
    return max(
        (width * min(count, at, max(1, PLACES // width)) for at, width in enumerate(widths, start=1)),
        default=0,
    )


def require(expected: Estimate, limit: int | None) -> None:
    """Refuse before any work what would not fit. `limit` in bytes; None asks the machine what is free."""
    if limit is None:
        limit = _free()
    if expected.total > limit:
        raise TrainingError(
            f"this training needs about {expected.total / 2**30:.1f} GiB of memory and may take "
            f"{limit / 2**30:.1f} GiB",
            "free some memory, raise --max-memory, or train a smaller model",
        )


def _free() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def peak() -> int:
    """Bytes of memory that this process has had at most so far."""
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
