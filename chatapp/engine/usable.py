"""Which files can be used: a model that can chat, with all its parts, and an adapter that fits it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from chatapp.core.errors import ModelError
from chatapp.core.sanitize import one_line
from chatapp.engine.gguf import GgufHeader, TensorInfo, read_header

_MAX_PARTS = 10_000
_NO_DECODER = frozenset(
    {"bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "t5encoder", "clip"}
)


def require_model(header: GgufHeader) -> None:
    """Refuse what cannot chat: adapters, encoders, parts of a split file. Errors: `ModelError`."""
    shown = one_line(header.path.name, 80)
    if header.kind == "adapter":
        raise ModelError(
            f"{shown} is a LoRA adapter, not a model", "name the model it belongs to, and the adapter with -a"
        )
    if header.architecture in _NO_DECODER:
        raise ModelError(
            f"{shown} is an encoder ({one_line(header.architecture, 30)}) and cannot write replies"
        )
    if header.part:
        raise ModelError(
            f"{shown} is part {header.part + 1} of a split model", "name its first part (…-00001-of-…)"
        )
    if not header.tensors and header.parts == 1:
        raise ModelError(f"{shown} holds a vocabulary alone, no weights")
    if "tokenizer.ggml.model" not in header.metadata:
        raise ModelError(f"{shown} has no tokenizer inside", "choose a file that was converted whole")
    if not 0 <= header.context_length < 2**31:
        raise ModelError(f"{shown} claims a context of {header.context_length} tokens")
    missing = next((each for each in _other_parts(header) if not each.is_file()), None)
    if missing is not None:
        raise ModelError(f"a part of the split model is missing: {one_line(missing.name, 80)}")


def tensors_of(header: GgufHeader) -> tuple[TensorInfo, ...]:
    """Those of all parts of a split model, of which `header` is the first's. Errors: `ModelError`."""
    others = (tensor for part in _other_parts(header) for tensor in read_header(part).tensors)
    return (*header.tensors, *others)


def _other_parts(header: GgufHeader) -> Iterator[Path]:
    """The files that a split model has beside its first; llama.cpp finds them by their names."""
    parts = header.parts
    stem = header.path.name.removesuffix(f"-00001-of-{parts:05d}.gguf")
    for number in range(2, min(parts, _MAX_PARTS) + 1):
        yield header.path.with_name(f"{stem}-{number:05d}-of-{parts:05d}.gguf")


def require_adapter(header: GgufHeader, base: GgufHeader) -> None:
    """Refuse an adapter that does not fit `base`: llama.cpp may die of one. Errors: `ModelError`."""
    shown = one_line(header.path.name, 80)
    hint = "choose an adapter that was trained on this model"
    if header.kind != "adapter" or header.metadata.get("adapter.type") != "lora":
        raise ModelError(f"{shown} is not a LoRA adapter", hint)
    if header.architecture != base.architecture:
        raise ModelError(f"{shown} is for {header.architecture}, the model is {base.architecture}", hint)
    alpha = header.metadata.get("adapter.lora.alpha", 0.0)
    if not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
        raise ModelError(f"{shown} has no usable adapter.lora.alpha", hint)
    of_base = {tensor.name: tensor for tensor in tensors_of(base)}
    own = {tensor.name: tensor for tensor in header.tensors}
    if not own:
        raise ModelError(f"{shown} has no tensors", hint)
    for name, tensor in own.items():
        if not name.endswith((".lora_a", ".lora_b")):
            if name.endswith("_norm.weight"):
                continue
            raise ModelError(f"{shown}: {one_line(name, 64)} is no LoRA tensor", hint)
        target = name.removesuffix(".lora_a").removesuffix(".lora_b")
        a, b, weight = own.get(f"{target}.lora_a"), own.get(f"{target}.lora_b"), of_base.get(target)
        if a is None or b is None or weight is None:
            raise ModelError(f"{shown}: {one_line(target, 64)} lacks a half or its weight in the model", hint)
        if len(a.dims) < 2 or len(b.dims) < 2 or len(weight.dims) < 2:
            raise ModelError(f"{shown}: {one_line(tensor.name, 64)} is no matrix", hint)
        # llama.cpp stores its halves the other way round, and merging would change a tied output as well.
        if target == "token_embd.weight":
            raise ModelError(f"{shown} changes the embedding, which is not supported", hint)
        if a.dims[1] != b.dims[0] or (a.dims[0], b.dims[1]) != weight.dims[:2]:
            raise ModelError(f"{shown}: {one_line(target, 64)} has another shape than in the model", hint)
