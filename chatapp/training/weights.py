"""The tensors of a GGUF file as float32 arrays, and the order of rows in which llama.cpp keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from chatapp.core.errors import ModelError
from chatapp.core.sanitize import one_line
from chatapp.engine.gguf import GgufHeader, TensorInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float32]


def read_tensors(header: GgufHeader) -> Iterator[tuple[TensorInfo, FloatArray]]:
    """Each tensor of the file, dequantised, one at a time; arrays have torch's order (the row length last).

    Errors: `ModelError` for a quantisation that cannot be read.
    """
    import numpy as np
    from gguf import GGMLQuantizationType, dequantize

    data = np.memmap(header.path, dtype=np.uint8, mode="r")
    for tensor in header.tensors:
        raw = data[tensor.offset : tensor.offset + tensor.size]
        shape = tensor.dims[::-1]
        try:
            values = dequantize(raw.reshape(*shape[:-1], -1), GGMLQuantizationType[tensor.type])
        except (NotImplementedError, KeyError) as error:
            raise ModelError(
                f"{one_line(header.path.name, 80)} cannot be trained: its weights are {tensor.type}",
                "choose a file with another quantisation, for example Q8_0 or Q4_K_M",
            ) from error
        # A copy: values of F32 tensors would lie in the read-only file.
        yield tensor, np.array(values, dtype=np.float32, order="C").reshape(shape)


def interleave(rows: FloatArray, heads: int) -> FloatArray:
    """Rows of a q or k projection (heads * size, ...) from transformers' order to that of llama files.

    Within each head, transformers rotates the first half against the second; llama.cpp rotates neighbours.
    """
    size = rows.shape[0] // heads
    return rows.reshape(heads, 2, size // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def deinterleave(rows: FloatArray, heads: int) -> FloatArray:
    """The inverse of `interleave`."""
    size = rows.shape[0] // heads
    return rows.reshape(heads, size // 2, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)
