"""Which GGUF architectures can be trained, and what each is in transformers' terms.

A GGUF file's metadata is its configuration. Everything that it says is carried over or refused: what is
ignored here would train another model than the one that serves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatapp.core.errors import ModelError
from chatapp.core.sanitize import one_line
from chatapp.engine.gguf import GgufHeader

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from chatapp.training.weights import FloatArray

SUPPORTED = {
    "llama": "Llama, Mistral and their kin",
    "qwen2": "Qwen2 and Qwen2.5",
    "qwen3": "Qwen3 (dense)",
    "gemma2": "Gemma 2",
    "gemma3": "Gemma 3 (text)",
    "phi3": "Phi-3 and Phi-4",
}
"""`general.architecture` in the file -> which models those are. Mistral models call themselves llama."""

PERMUTED = frozenset({"llama"})
"""Where rows of q and k are stored interleaved: llama.cpp rotates neighbours, transformers rotates halves."""

OFFSET_NORMS = frozenset({"gemma2", "gemma3"})
"""Where norms are stored as 1 + w."""

_SLIDING_PATTERN = {"gemma2": 2, "gemma3": 6}
_NOT_WEIGHTS = ("rope_freqs.", "rope_factors_long.", "rope_factors_short.")


@dataclass(frozen=True, slots=True)
class Rotary:
    """How this file departs from plain rotary positions: angles are divided by `factors`, cos and sin are
    multiplied by `attention`."""

    factors: tuple[float, ...]
    """One for each pair of rotated dimensions."""
    attention: float = 1.0


def require_trainable(header: GgufHeader) -> None:
    """Refuse what the trainer would get wrong, before any work. Errors: `ModelError` with the reason."""
    shown = one_line(header.path.name, 80)
    architecture = header.architecture
    if architecture not in SUPPORTED:
        known = ", ".join(SUPPORTED)
        raise ModelError(
            f"{shown} cannot be trained: its architecture is {one_line(architecture, 40)}",
            f"these can be trained: {known} (Mistral models are llama)",
        )
    metadata = header.metadata

    def value(key: str) -> Any:
        return metadata.get(f"{architecture}.{key}")

    why = None
    if value("expert_count"):
        why = "it is a mixture of experts"
    elif header.parts > 1:
        why = "it is split into several files; join them with llama-gguf-split"
    elif value("rope.scaling.type") not in (None, "none", "linear", "longrope"):
        why = f"its rotary scaling is {one_line(str(value('rope.scaling.type')), 40)}"
    elif value("attention.causal") is False:
        why = "it is not a causal model"
    elif value("attention.value_length") not in (None, value("attention.key_length")):
        why = "its keys and values have different sizes"
    elif architecture == "gemma2" and value("rope.freq_base_swa") not in (None, value("rope.freq_base")):
        why = "its sliding layers have rotary positions of their own"
    elif architecture != "phi3" and value("rope.dimension_count") not in (None, head_size(header)):
        why = "it rotates only a part of each head"
    if why is not None:
        raise ModelError(f"{shown} cannot be trained: {why}", "choose another model to train")
    for key in ("embedding_length", "block_count", "feed_forward_length", "attention.head_count"):
        if not isinstance(value(key), int):
            raise ModelError(f"{shown} cannot be trained: it gives no single {architecture}.{key}")


def head_size(header: GgufHeader) -> int:
    """Dimensions of one attention head. It need not be width / heads."""
    get, architecture = header.metadata.get, header.architecture
    size = get(f"{architecture}.attention.key_length")
    if isinstance(size, int):
        return size
    return int(header.metadata[f"{architecture}.embedding_length"]) // int(
        header.metadata[f"{architecture}.attention.head_count"]
    )


def heads(header: GgufHeader) -> tuple[int, int]:
    """How many heads the queries have, and how many the keys have."""
    of_queries = int(header.metadata[f"{header.architecture}.attention.head_count"])
    of_keys = header.metadata.get(f"{header.architecture}.attention.head_count_kv", of_queries)
    return of_queries, int(of_keys)


def permuted_heads(header: GgufHeader, tensor: str) -> int | None:
    """Of how many heads the rows of `tensor` are interleaved in the file; None for those that are not."""
    if header.architecture not in PERMUTED:
        return None
    if ".attn_q." in tensor:
        return heads(header)[0]
    return heads(header)[1] if ".attn_k." in tensor else None


def configuration(header: GgufHeader) -> PreTrainedConfig:
    """The file's metadata as transformers' configuration. Rotary scaling is not in it: see `rotary`."""
    from transformers import AutoConfig

    architecture = header.architecture
    shapes = {tensor.name: tensor.dims for tensor in header.tensors}

    def value(key: str, default: Any = None) -> Any:
        return header.metadata.get(f"{architecture}.{key}", default)

    of_queries, of_keys = heads(header)
    size = head_size(header)
    width, layers = value("embedding_length"), value("block_count")
    settings: dict[str, Any] = {
        "vocab_size": shapes["token_embd.weight"][1],
        "hidden_size": width,
        "intermediate_size": value("feed_forward_length"),
        "num_hidden_layers": layers,
        "num_attention_heads": of_queries,
        "num_key_value_heads": of_keys,
        "max_position_embeddings": header.context_length or 2048,
        "rms_norm_eps": value("attention.layer_norm_rms_epsilon", 1e-5),
        "tie_word_embeddings": "output.weight" not in shapes,
        "use_cache": False,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }
    base = float(value("rope.freq_base", 10_000.0))
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": base}
    kind = architecture
    if architecture == "phi3":
        rope["partial_rotary_factor"] = value("rope.dimension_count", size) / size
        # llama.cpp leaves Phi's sliding window out, so the trainer does as well.
        settings |= {"sliding_window": None}
    else:
        settings["head_dim"] = size
    if architecture == "llama":
        settings["attention_bias"] = any(
            f"blk.0.attn_{each}.bias" in shapes for each in ("q", "k", "v", "output")
        )
        settings["mlp_bias"] = any(f"blk.0.ffn_{each}.bias" in shapes for each in ("gate", "up", "down"))
    if architecture in _SLIDING_PATTERN:
        # llama.cpp knows the 27B models by their depth and scales their attention in another way.
        big = layers == {"gemma2": 46, "gemma3": 62}[architecture]
        settings["query_pre_attn_scalar"] = width // of_queries if big else size
        window = value("attention.sliding_window", 4096 if architecture == "gemma2" else 0)
        pattern = value("attention.sliding_window_pattern", _SLIDING_PATTERN[architecture])
        sliding = [bool(window) and (layer % pattern) < pattern - 1 for layer in range(layers)]
        settings["sliding_window"] = window or None
        settings["layer_types"] = ["sliding_attention" if each else "full_attention" for each in sliding]
    if architecture == "gemma2":
        settings["attn_logit_softcapping"] = value("attn_logit_softcapping", 50.0)
        settings["final_logit_softcapping"] = value("final_logit_softcapping", 30.0)
    if architecture == "gemma3":
        kind = "gemma3_text"
        settings["final_logit_softcapping"] = value("final_logit_softcapping") or None
        local = {"rope_type": "default", "rope_theta": float(value("rope.freq_base_swa", 10_000.0))}
        settings["rope_parameters"] = {"full_attention": rope, "sliding_attention": local}
    else:
        settings["rope_parameters"] = rope
    return AutoConfig.for_model(kind, **settings)


def rotary(header: GgufHeader, tensors: dict[str, FloatArray], context: int) -> Rotary | None:
    """What scales this file's rotary positions, None when nothing does.

    `tensors` holds its rope tensors. Long factors apply when the engine's whole context, `context` tokens, is
    longer than what the model was trained on first: that is how llama.cpp chooses.
    """
    architecture = header.architecture

    def value(key: str, default: Any = None) -> Any:
        return header.metadata.get(f"{architecture}.{key}", default)

    pairs = int(value("rope.dimension_count", head_size(header))) // 2
    original = int(value("rope.scaling.original_context_length", header.context_length))
    long = tensors.get("rope_factors_long.weight")
    short = tensors.get("rope_factors_short.weight")
    own = tensors.get("rope_freqs.weight")
    if own is None:
        own = long if context > original else short
    factors = [1.0] * pairs if own is None else [float(each) for each in own]
    if len(factors) != pairs:
        raise ModelError(
            f"{one_line(header.path.name, 80)} has {len(factors)} rotary factors, {pairs} are needed"
        )
    stretch = 1.0
    if value("rope.scaling.type") != "none":
        stretch = float(value("rope.scaling.factor") or value("rope.scale_linear") or 1.0)
    factors = [each * stretch for each in factors]
    attention = float(value("rope.scaling.attn_factor", 1.0))
    if all(math.isclose(each, 1.0) for each in factors) and math.isclose(attention, 1.0):
        return None
    return Rotary(tuple(factors), attention)


def is_weight(tensor: str) -> bool:
    """Whether a tensor of the file is a parameter (rotary factors are not)."""
    return not tensor.startswith(_NOT_WEIGHTS)
