"""The trained LoRA out of torch and back: a GGUF adapter for the chat, a PEFT folder for other programs.

A GGUF adapter of ours carries the SHA-256 of the file that it was trained on and refuses any other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatapp.core.errors import ModelError
from chatapp.core.sanitize import one_line
from chatapp.core.whole_file import whole_file
from chatapp.engine.gguf import GgufHeader, read_header
from chatapp.engine.usable import require_adapter
from chatapp.training.architectures import permuted_heads
from chatapp.training.weights import deinterleave, interleave, read_tensors

if TYPE_CHECKING:
    from chatapp.training.model import Policy
    from chatapp.training.weights import FloatArray

_VECTOR = 16
"""llama.cpp's fast float32 products want a multiple of this; a rank of 8 slows small models by a third."""

Metadata = Mapping[str, str | int | float | bool]

PREFIX = "chatapp."
BASE = f"{PREFIX}base.sha256"
RANK = f"{PREFIX}lora.rank"
HEAD = f"{PREFIX}reward.head"
BIAS = f"{PREFIX}reward.bias"
"""The score head of a reward adapter is metadata: llama.cpp refuses tensors that belong to no weight."""


@dataclass(frozen=True, slots=True)
class AdapterState:
    """A LoRA read from a file. Rows are in transformers' order."""

    rank: int
    alpha: float
    tensors: dict[str, tuple[FloatArray, FloatArray]]
    """Tensor name of the base -> A (rank, in), B (out, rank)."""
    metadata: dict[str, Any]
    """Ours, without the prefix; empty for adapters of other programs."""

    def copy_into(self, policy: Policy) -> None:
        """Make `policy`'s adapter this one. Errors: `ModelError` when it adapts other matrices."""
        import torch

        left = dict(self.tensors)
        with torch.no_grad():
            for tensor, a, b in policy.lora():
                if tensor not in left:
                    raise ModelError(f"the adapter has nothing for {one_line(tensor, 64)}")
                own_a, own_b = left.pop(tensor)
                if a.shape != own_a.shape or b.shape != own_b.shape:
                    raise ModelError(f"the adapter has another shape for {one_line(tensor, 64)}")
                a.copy_(torch.from_numpy(own_a.copy()))
                b.copy_(torch.from_numpy(own_b.copy()))
        if left:
            raise ModelError(
                f"the adapter also changes {one_line(next(iter(left)), 64)}; that is not trained"
            )


def write_adapter(
    policy: Policy,
    path: Path,
    metadata: Metadata,
    head: Sequence[float] | None = None,
    bias: float = 0.0,
    name: str = "default",
) -> Path:
    """Write `policy`'s LoRA `name` as a GGUF adapter that llama.cpp loads, in one step.

    `metadata` is kept under our prefix; `head` (width of the model) makes it a reward adapter.
    Errors: `OSError` when it cannot be written; what stood there is then unchanged.
    """
    import numpy as np
    from gguf import GGUFWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        writer = GGUFWriter(part, policy.architecture)
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        # Zeros make the rank up to what llama.cpp computes fast; alpha / rank stays the same.
        padding = -policy.rank % _VECTOR
        writer.add_float32("adapter.lora.alpha", policy.alpha * (policy.rank + padding) / policy.rank)
        writer.add_string(BASE, policy.base_sha256)
        writer.add_uint32(RANK, policy.rank)
        for key, value in metadata.items():
            _add(writer, f"{PREFIX}{key}", value)
        if head is not None:
            writer.add_array(HEAD, [float(each) for each in head])
            writer.add_float32(BIAS, bias)
        for tensor, a, b in policy.lora(name):
            rows = np.pad(b.detach().float().numpy(), ((0, 0), (0, padding)))
            columns = np.pad(a.detach().float().numpy(), ((0, padding), (0, 0)))
            writer.add_tensor(f"{tensor}.lora_a", columns)
            writer.add_tensor(f"{tensor}.lora_b", _stored(policy.header, tensor, rows))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with part.open("rb+") as file:
            os.fsync(file.fileno())
    return path


def _add(writer: Any, key: str, value: str | int | float | bool) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_int64(key, value)
        case float():
            writer.add_float64(key, value)
        case _:
            writer.add_string(key, str(value))


def _stored(header: GgufHeader, tensor: str, rows: FloatArray) -> FloatArray:
    """B's rows in the order of the file's own weight: what is not permuted loads and is silently wrong."""
    import numpy as np

    if (count := permuted_heads(header, tensor)) is not None:
        rows = interleave(rows, count)
    return np.ascontiguousarray(rows)


def read_adapter(path: Path, base: GgufHeader, base_sha256: str) -> AdapterState:
    """A GGUF adapter or a PEFT folder, checked against the base that it is to be used with.

    Errors: `ModelError` when it is of another base or shape.
    """
    return _read_peft(path, base, base_sha256) if path.is_dir() else _read_gguf(path, base, base_sha256)


def adapter_metadata(header: GgufHeader) -> dict[str, Any]:
    """What we wrote into an adapter's header, without the prefix."""
    own = (key for key in header.metadata if key.startswith(PREFIX))
    return {key.removeprefix(PREFIX): header.metadata[key] for key in own}


def require_base(shown: str, recorded: object, digest: str) -> None:
    if recorded is not None and recorded != digest:
        raise ModelError(
            f"{shown} was trained on another model file", "use the model it was trained on, or train again"
        )


def _read_gguf(path: Path, base: GgufHeader, digest: str) -> AdapterState:
    header = read_header(path)
    shown = one_line(path.name, 80)
    require_adapter(header, base)
    require_base(shown, header.metadata.get(BASE), digest)
    halves = {tensor.name: values for tensor, values in read_tensors(header)}
    tensors: dict[str, tuple[FloatArray, FloatArray]] = {}
    for name, a in halves.items():
        target = name.removesuffix(".lora_a")
        if target == name:
            continue
        b = halves[f"{target}.lora_b"]
        if (count := permuted_heads(base, target)) is not None:
            b = deinterleave(b, count).copy()
        tensors[target] = (a, b)
    ranks = {a.shape[0] for a, _ in tensors.values()}
    if len(ranks) != 1:
        raise ModelError(f"{shown} has matrices of several ranks; one rank is trained here")
    stored = ranks.pop()
    rank = header.metadata.get(RANK, stored)
    if not isinstance(rank, int) or not 0 < rank <= stored:
        raise ModelError(f"{shown} claims a rank of {rank} and has {stored}")
    alpha = float(header.metadata["adapter.lora.alpha"]) * rank / stored
    # What lies beyond the rank is padding.
    own = {name: (a[:rank], b[:, :rank]) for name, (a, b) in tensors.items()}
    return AdapterState(rank, alpha, own, adapter_metadata(header))


def write_peft(policy: Policy, folder: Path, metadata: Metadata) -> Path:
    """Write a folder that `peft.PeftModel.from_pretrained` takes; our metadata is its `chatapp.json`."""
    policy.model.save_pretrained(str(folder))
    text = json.dumps({**metadata, "base.sha256": policy.base_sha256}, indent=2)
    (folder / "chatapp.json").write_text(text + "\n", encoding="utf-8")
    return folder


def _read_peft(folder: Path, base: GgufHeader, digest: str) -> AdapterState:
    from peft import PeftConfig
    from safetensors.numpy import load_file

    shown = one_line(folder.name, 80)
    try:
        config: Any = PeftConfig.from_pretrained(str(folder))
        state = load_file(folder / "adapter_model.safetensors")
        own = folder / "chatapp.json"
        metadata = json.loads(own.read_text(encoding="utf-8")) if own.is_file() else {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{shown} is not a PEFT adapter: {one_line(str(error), 100)}") from error
    require_base(shown, metadata.get("base.sha256"), digest)
    if config.peft_type != "LORA" or config.use_rslora or config.use_dora or config.bias != "none":
        raise ModelError(f"{shown} is not a plain LoRA adapter")
    names = _peft_names(base)
    tensors: dict[str, tuple[FloatArray, FloatArray]] = {}
    for name, a in state.items():
        module, found, _ = name.removeprefix("base_model.model.").partition(".lora_A.")
        if not found:
            continue
        if module not in names:
            raise ModelError(f"{shown} changes {one_line(module, 64)}, which this model does not have")
        b = state[name.replace("lora_A", "lora_B")]
        tensors[names[module]] = (a.astype("float32"), b.astype("float32"))
    return AdapterState(int(config.r), float(config.lora_alpha), tensors, metadata)


def _peft_names(base: GgufHeader) -> dict[str, str]:
    """Module name in transformers -> tensor name in the file."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    architecture = next(key for key, name in MODEL_ARCH_NAMES.items() if name == base.architecture)
    layers = int(base.metadata[f"{base.architecture}.block_count"])
    weights = {tensor.name for tensor in base.tensors}
    return {
        module: f"{tensor}.weight"
        for module, (_, tensor) in get_tensor_name_map(architecture, layers).mapping.items()
        if f"{tensor}.weight" in weights
    }
