"""The GGUF file that the chat uses, as a torch model with a trainable LoRA on it.

    policy = load_policy(Path("guide.gguf"), rank=8, alpha=16, seed=0)
    policy.model(input_ids=ids).logits          # with the adapter
    with policy.reference():                    # the base
        policy.model(input_ids=ids).logits

Token ids come from llama.cpp's own tokenizer, never from a converted one: those split differently.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from chatapp.core.errors import ModelError
from chatapp.core.sanitize import one_line
from chatapp.engine.cache import sha256
from chatapp.engine.gguf import GgufHeader, read_header
from chatapp.engine.usable import require_model
from chatapp.training.architectures import (
    OFFSET_NORMS,
    Rotary,
    configuration,
    is_weight,
    permuted_heads,
    require_trainable,
    rotary,
)
from chatapp.training.switch import layers, using
from chatapp.training.weight_copy import scale
from chatapp.training.weights import deinterleave, read_tensors

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

    from chatapp.training.weights import FloatArray

ENGINE_CONTEXT = 8192
"""Tokens of the engine's context where the caller does not say; only long rotary factors depend on it."""

_SOFTCAPPED = "softcapped"


@dataclass(slots=True)
class Policy:
    """A base model in float32 with a LoRA adapter that starts as the identity."""

    model: PeftModel
    header: GgufHeader
    base_sha256: str
    rank: int
    alpha: float
    names: dict[str, str]
    """Tensor name in the GGUF file -> name of the base's parameter."""

    @property
    def path(self) -> Path:
        return self.header.path

    @property
    def architecture(self) -> str:
        return self.header.architecture

    @property
    def width(self) -> int:
        """Size of the hidden states."""
        return int(self.header.metadata[f"{self.architecture}.embedding_length"])

    @contextmanager
    def reference(self) -> Iterator[PeftModel]:
        """Within it the adapter is off: the model is the base, exactly."""
        with using(self.model, None):
            yield self.model

    def to_reference(self) -> None:
        """Make the adapter what it is within `reference`: nothing."""
        scale(self.model, 0.0)

    def lora(self, name: str = "default") -> Iterator[tuple[str, torch.nn.Parameter, torch.nn.Parameter]]:
        """Tensor name in the GGUF file, A (rank, in) and B (out, rank) of each matrix that the adapter `name`
        changes."""
        modules = dict(self.model.get_base_model().named_modules())
        for tensor, parameter in self.names.items():
            module: Any = modules.get(parameter.removesuffix(".weight"))
            if hasattr(module, "lora_A"):
                yield tensor, module.lora_A[name].weight, module.lora_B[name].weight


def load_policy(
    gguf: Path,
    *,
    rank: int = 8,
    alpha: float = 16.0,
    adapter: Path | None = None,
    seed: int = 0,
    context: int = ENGINE_CONTEXT,
    cache: Path | None = None,
) -> Policy:
    """Dequantise `gguf` to float32 and put a LoRA on every linear layer but the output.

    `adapter` (ours in GGUF form, or a PEFT folder) is gone on from; its own rank and alpha win. `context` is
    the size of the engine's KV cache in tokens. `cache` remembers the file's SHA-256.
    Errors: `ModelError` for what cannot be trained, before any work, and for an adapter of another base.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    from chatapp.training.export import read_adapter

    header = read_header(gguf)
    require_model(header)
    require_trainable(header)
    digest = sha256(gguf, cache)
    start = None
    if adapter is not None:
        start = read_adapter(adapter, header, digest)
        rank, alpha = start.rank, start.alpha
    import torch

    base, names = _base(header, context)
    config = LoraConfig(
        r=rank,
        lora_alpha=cast(Any, alpha),
        lora_dropout=0.0,
        bias="none",
        target_modules=_linear_layers(base),
        task_type=TaskType.CAUSAL_LM,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = get_peft_model(base, config)
    model.eval()
    for layer in layers(model):
        # In half precision the products cast their input themselves; to float32 and back is for nothing.
        layer.cast_input_dtype_enabled = False
    policy = Policy(model, header, digest, rank, alpha, names)
    if start is not None:
        start.copy_into(policy)
    return policy


def _linear_layers(base: PreTrainedModel) -> list[str]:
    """Last names of the linear layers, the output's left out."""
    from torch.nn import Linear

    output = base.get_output_embeddings()
    found = {
        name.rpartition(".")[2]
        for name, module in base.named_modules()
        if isinstance(module, Linear) and module is not output
    }
    return sorted(found)


def _base(header: GgufHeader, context: int) -> tuple[PreTrainedModel, dict[str, str]]:
    """The base model in float32 and its tensor names. Every tensor finds its parameter and the reverse."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    shown = one_line(header.path.name, 80)
    config = configuration(header)
    implementation = "sdpa"
    if getattr(config, "attn_logit_softcapping", None):
        _register_softcapped()
        implementation = _SOFTCAPPED
    with no_init_weights():
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            config, dtype=torch.float32, attn_implementation=implementation
        )
    model.tie_weights()
    names = _names(header, model)
    parameters = dict(model.named_parameters())
    ropes: dict[str, FloatArray] = {}
    with torch.no_grad():
        for tensor, values in read_tensors(header):
            if not is_weight(tensor.name):
                ropes[tensor.name] = values
                continue
            target = names.get(tensor.name)
            if target is None:
                raise ModelError(
                    f"{shown} cannot be trained: the trainer does not know its {one_line(tensor.name, 64)}"
                )
            parameter = parameters.pop(target)
            own = torch.from_numpy(_to_torch(header, tensor.name, values))
            if own.shape != parameter.shape:
                raise ModelError(
                    f"{shown} cannot be trained: its {one_line(tensor.name, 64)} has another shape"
                )
            parameter.copy_(own)
        for name, parameter in parameters.items():
            if not name.endswith(".bias"):
                raise ModelError(f"{shown} cannot be trained: it has no {one_line(name, 80)}")
            # A bias that is not in the file is none.
            parameter.zero_()
        _rotate(model, rotary(header, ropes, context))
    return model, names


def _names(header: GgufHeader, model: PreTrainedModel) -> dict[str, str]:
    """Tensor name in the file -> parameter name, by the gguf package's own table."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    architecture = next(key for key, name in MODEL_ARCH_NAMES.items() if name == header.architecture)
    table = get_tensor_name_map(architecture, model.config.num_hidden_layers)
    names: dict[str, str] = {}
    for parameter, _ in model.named_parameters():
        stem, dot, suffix = parameter.rpartition(".")
        tensor = table.get_name(stem)
        if tensor is not None:
            names[f"{tensor}{dot}{suffix}"] = parameter
    return names


def _to_torch(header: GgufHeader, name: str, values: FloatArray) -> FloatArray:
    """`values` of the file as transformers keeps them."""
    if header.architecture in OFFSET_NORMS and name.endswith("norm.weight"):
        return values - 1
    if (count := permuted_heads(header, name)) is not None:
        return deinterleave(values, count).copy()
    return values


def _rotate(model: PreTrainedModel, scaling: Rotary | None) -> None:
    """Scale the model's rotary positions; transformers knows nothing of the factors in the file."""
    import torch

    if scaling is None:
        return
    embedding: Any = model.get_decoder().rotary_emb
    # Gemma 3 scales its full layers alone.
    prefix = "full_attention_" if hasattr(embedding, "full_attention_inv_freq") else ""
    factors = torch.tensor(scaling.factors)
    for buffer in ("inv_freq", "original_inv_freq"):
        getattr(embedding, f"{prefix}{buffer}").div_(factors)
    name = f"{prefix}attention_scaling"
    setattr(embedding, name, getattr(embedding, name) * scaling.attention)


def _register_softcapped() -> None:
    """Make Gemma 2's attention take boolean masks, as the others' does: the plain one would add True as 1."""
    import torch
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask
    from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

    def attend(
        module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **settings: Any
    ) -> tuple[Any, Any]:
        if attention_mask is not None and attention_mask.dtype == torch.bool:
            lowest = torch.finfo(query.dtype).min
            attention_mask = torch.zeros_like(attention_mask, dtype=query.dtype).masked_fill_(
                ~attention_mask, lowest
            )
        return eager_attention_forward(module, query, key, value, attention_mask, **settings)

    AttentionInterface.register(_SOFTCAPPED, attend)
    AttentionMaskInterface.register(_SOFTCAPPED, eager_mask)
