"""A reward model for the embedded model, written by hand: it likes replies of many tokens."""

from __future__ import annotations

from pathlib import Path

from chatapp.core.paths import embedded_model
from chatapp.engine.gguf import read_header
from chatapp.training.export import BIAS, HEAD, PREFIX
from chatapp.training.serve import FEATURES


def write_reward(path: Path) -> Path:
    """The score is log(1 + tokens) - 3; the hidden state counts for nothing, its LoRA changes nothing."""
    import numpy as np
    from gguf import GGUFWriter

    base = read_header(embedded_model())
    width = base.metadata[f"{base.architecture}.embedding_length"]
    assert isinstance(width, int)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, base.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 1.0)
    writer.add_array(HEAD, [0.0] * width)
    writer.add_float32(BIAS, -3.0)
    for name in FEATURES:
        writer.add_float32(f"{PREFIX}reward.{name}", float(name == "length"))
    tensor = next(each for each in base.tensors if each.name.endswith("ffn_up.weight"))
    columns, rows = tensor.dims
    writer.add_tensor(f"{tensor.name}.lora_a", np.zeros((1, columns), np.float32))
    writer.add_tensor(f"{tensor.name}.lora_b", np.zeros((rows, 1), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
