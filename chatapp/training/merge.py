"""A stand-alone model for other programs: the adapter added into the base's weights, quantised again.

Quantising again can undo what was learned: a change smaller than the steps between two quantised values is
rounded away (4 bits can lose all of it). So before it is offered, the merged file is compared with the base
alone quantised in the same manner: their difference must be what was learned.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatapp.core.errors import ModelError
from chatapp.core.sanitize import one_line
from chatapp.engine.base import ModelSpec, RowScore
from chatapp.engine.cache import sha256
from chatapp.engine.gguf import GgufHeader, read_header
from chatapp.engine.quantise import FILE_TYPES, quantise
from chatapp.engine.tuning import TuningClient
from chatapp.engine.usable import require_adapter, require_model
from chatapp.training.export import BASE, require_base
from chatapp.training.weights import read_tensors

if TYPE_CHECKING:
    from chatapp.training.weights import FloatArray

KEPT = 0.8
"""How much of the adapter's change of log-probabilities must still be there, at least."""
ALIKE = 0.5
"""How well the merged model's change must correlate with the adapter's, at least."""

_OWN_KEYS = ("general.architecture", "general.file_type", "general.alignment")
"""Metadata that the writer decides itself."""


@dataclass(frozen=True, slots=True)
class Survival:
    """What is left of the adapter's change in a merged file. All from log-probabilities of the same rows."""

    kept: float
    """Slope of the quantised model's change over that in F16: 1 is all of it, 0 nothing."""
    correlation: float
    change: float
    """Root mean square of the adapter's change, nats."""
    tokens: int

    @property
    def ok(self) -> bool:
        return self.kept >= KEPT and self.correlation >= ALIKE

    @property
    def reason(self) -> str:
        if self.ok:
            return ""
        return (
            f"{max(0.0, self.kept):.0%} of what was learned survives the quantisation "
            f"(correlation {self.correlation:.2f}; at least {KEPT:.0%} and {ALIKE} are asked for)"
        )


def merge(
    adapter: Path,
    base: Path,
    target: Path,
    quantisation: str,
    rows: Sequence[Sequence[int]],
    *,
    scale: float = 1.0,
    force: bool = False,
    cache: Path | None = None,
) -> Survival:
    """Write `base` with `adapter` in its weights as `quantisation` to `target`, and measure what survived.

    `rows` are token ids of conversations (those that were learned from, or held out). `quantisation` is one
    of `engine.quantise.FILE_TYPES`. Errors: `ModelError` when too little survived, unless `force`; no file is
    left then.
    """
    if quantisation not in FILE_TYPES:
        raise ModelError(
            f"no quantisation is called {one_line(quantisation, 30)}",
            f"choose one of {', '.join(FILE_TYPES)}",
        )
    if not rows:
        raise ModelError("there is no text to check the merged model on", "name a file of conversations")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
        folder = Path(name)
        floats = write_merged(adapter, base, folder / "f16.gguf", scale)
        plain = write_merged(adapter, base, folder / "plain.gguf", 0.0)
        made, control = floats, plain
        if quantisation != "F16":
            made = quantise(floats, folder / "quantised.gguf", quantisation)
            control = quantise(plain, folder / "control.gguf", quantisation)
        survival = measure((floats, plain), (made, control), rows, cache or folder)
        if not survival.ok and not force:
            finer = " or ".join(each for each in ("Q8_0", "F16") if each != quantisation)
            raise ModelError(
                survival.reason, f"choose {finer}, keep the adapter beside its base, or use --force"
            )
        made.replace(target)
    return survival


def write_merged(adapter: Path, base: Path, target: Path, scale: float = 1.0) -> Path:
    """Write `base` + `adapter` to `target`: matrices as F16, the rest as F32, metadata as in the base.

    Works tensor by tensor, so it needs little more memory than the largest of them.
    Errors: `ModelError` for an adapter of another base.
    """
    import numpy as np
    from gguf import GGMLQuantizationType, LlamaFileType

    header = read_header(base, arrays=True)
    require_model(header)
    if header.parts > 1:
        raise ModelError(
            f"{one_line(base.name, 80)} is split into several files",
            "join them with llama-gguf-split --merge",
        )
    own = read_header(adapter)
    require_adapter(own, header)
    require_base(one_line(adapter.name, 80), own.metadata.get(BASE), sha256(base))
    halves = {tensor.name: values for tensor, values in read_tensors(own)}
    alpha = float(own.metadata["adapter.lora.alpha"])
    writer = _writer(header, target)
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    for tensor in header.tensors:
        matrix = len(tensor.dims) > 1
        writer.add_tensor_info(
            tensor.name,
            tensor.dims[::-1],
            np.dtype(np.float16 if matrix else np.float32),
            (2 if matrix else 4) * int(np.prod(tensor.dims)),
            raw_dtype=GGMLQuantizationType.F16 if matrix else GGMLQuantizationType.F32,
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor, values in read_tensors(header):
        if (a := halves.get(f"{tensor.name}.lora_a")) is not None:
            values += change(a, halves[f"{tensor.name}.lora_b"], scale * alpha / a.shape[0])
        writer.write_tensor_data(values.astype(np.float16) if len(tensor.dims) > 1 else values)
    writer.close()
    return target


def change(a: FloatArray, b: FloatArray, factor: float) -> FloatArray:
    """(out, in) what a LoRA adds to a weight, both in the order of rows that the file has."""
    import numpy as np

    return (np.float32(factor) * (b @ a)).astype(np.float32)


def _writer(header: GgufHeader, target: Path) -> Any:
    """A GGUF writer with the metadata of `header`, its types kept."""
    from gguf import GGUFReader, GGUFValueType, GGUFWriter

    writer = GGUFWriter(target, header.architecture)
    for field in GGUFReader(header.path).fields.values():
        if field.name.startswith("GGUF.") or field.name in _OWN_KEYS:
            continue
        kind = field.types[0]
        element = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=element)
    return writer


def measure(
    floats: tuple[Path, Path], quantised: tuple[Path, Path], rows: Sequence[Sequence[int]], cache: Path
) -> Survival:
    """Compare, in the engine, what the adapter changes in F16 with what is left of it once quantised.

    Each pair is the merged file and the same file without the adapter. F16 says cleanly what was learned; in
    a quantised file the activations are rounded as well, which hides small changes.
    """
    import numpy as np

    def difference(pair: tuple[Path, Path]) -> np.ndarray:
        merged, plain = (np.concatenate([score.logprobs for score in _scores(path)]) for path in pair)
        return merged - plain

    def _scores(path: Path) -> Sequence[RowScore]:
        engine.load(ModelSpec(path.absolute(), path.stem))
        return engine.logprobs(rows)

    engine = TuningClient(cache)
    try:
        learned = difference(floats)
        left = learned if quantised == floats else difference(quantised)
    finally:
        engine.close()
    size = float(learned @ learned)
    if size == 0:
        raise ModelError("the adapter changes nothing", "train it first")
    correlation = float(np.corrcoef(learned, left)[0, 1]) if left.any() else 0.0
    return Survival(float(left @ learned) / size, correlation, (size / len(learned)) ** 0.5, len(learned))
