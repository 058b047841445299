"""Adapters for the embedded model with random weights: each makes it say something else."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from chatapp.core.paths import embedded_model
from chatapp.core.types import Adapter
from chatapp.engine.cache import sha256
from chatapp.engine.gguf import read_header
from chatapp.session.wiring import House
from chatapp.training.export import BASE


@cache
def guide_sha256() -> str:
    return sha256(embedded_model())


def write_random_adapter(
    path: Path, seed: int, base_sha256: str | None = None, strength: float = 3.0
) -> Path:
    """`strength`: of the change, relative to a random matrix that keeps the size of what goes through it."""
    import numpy as np
    from gguf import GGUFWriter

    base = read_header(embedded_model())
    rng = np.random.default_rng(seed)
    rank = 4
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, base.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    writer.add_string(BASE, guide_sha256() if base_sha256 is None else base_sha256)
    for tensor in base.tensors:
        if tensor.name.endswith("ffn_up.weight"):
            width, rows = tensor.dims
            a = rng.standard_normal((rank, width)) * strength / width**0.5
            b = rng.standard_normal((rows, rank)) / rank**0.5
            writer.add_tensor(f"{tensor.name}.lora_a", a.astype(np.float32))
            writer.add_tensor(f"{tensor.name}.lora_b", b.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def register(
    house: House,
    name: str,
    parent: str | None = None,
    seed: int | None = None,
    run: str = "run",
    data_sha256: str = "data",
) -> Adapter:
    """An adapter as a training leaves it: its file and its row."""
    number = int(name.removeprefix("r"))
    write_random_adapter(house.paths.adapters / name / "adapter.gguf", number if seed is None else seed)
    made = Adapter(
        name,
        "rloo",
        "guide",
        guide_sha256(),
        parent,
        1_700_000_000.0 + number,
        True,
        "better",
        run,
        data_sha256,
    )
    return house.store().adapters.add(made)
