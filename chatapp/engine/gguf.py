"""Reads and checks the header of a GGUF file before llama.cpp sees it. Standard library only.

Every count and length is checked against the size of the file before anything is read or allocated, and long
arrays (the tokenizer's) are stepped over, so that a hostile file costs neither memory nor time.
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from chatapp.core.errors import ModelError
from chatapp.core.sanitize import one_line

_MAGIC = b"GGUF"
_CHUNK = 1 << 20
_MAX_STRING = 4 << 20
_MAX_TEXTS = 64 << 20
_MAX_KEY = 1 << 16
_MAX_NAME = 64
_MAX_PAIRS = 100_000
_MAX_TENSORS = 200_000
_MAX_STRINGS = 8_000_000
"""In all arrays of a file together; stepping over so many takes some seconds."""
_ARRAY = 9
_STRING = 8
_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<B",
    10: "<Q",
    11: "<q",
    12: "<d",
}

TENSOR_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}
"""ggml type number -> (name, values in a block, bytes of a block)."""

_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0",
    37: "TQ2_0", 38: "MXFP4", 39: "NVFP4", 40: "Q1_0",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorInfo:
    name: str
    dims: tuple[int, ...]
    """As ggml has them: the row length first."""
    type: str
    offset: int
    """Bytes from the start of the file."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says of itself. Texts are as in the file: make them terminal-safe to show them."""

    path: Path
    version: int
    size: int
    """Bytes of the file."""
    kind: Literal["model", "adapter"]
    architecture: str
    name: str
    """`general.name`, or the file's own name."""
    licence: str
    context_length: int
    """Tokens the model was trained for; 0 when it is not said."""
    parameters: int
    quantisation: str
    chat_template: str | None
    tensors: tuple[TensorInfo, ...]
    metadata: dict[str, Any]
    """Every scalar and string; arrays only when they were asked for."""

    @property
    def parts(self) -> int:
        """Of how many files the model is one."""
        return max(1, _whole(self.metadata, "split.count"))

    @property
    def part(self) -> int:
        """Which of them it is, from 0."""
        return _whole(self.metadata, "split.no")


def read_header(path: Path, arrays: bool = False) -> GgufHeader:
    """Read and check the header of `path`; `arrays` reads the long arrays as well (lists in `metadata`).

    Errors: `ModelError` says in one line what is wrong with the file.
    """
    shown = one_line(path.name, 80)
    try:
        if not path.is_file():
            raise ModelError(f"there is no model file {one_line(str(path))}")
        with path.open("rb") as file:
            return _Reader(path, file, arrays).header()
    except _BadFile as error:
        raise ModelError(
            f"{shown} is not a usable GGUF file: {error}", "download it again or choose another file"
        ) from None
    except OSError as error:
        raise ModelError(
            f"{shown} cannot be read: {error.strerror}", "check the file and its permissions"
        ) from error
    except ValueError as error:
        raise ModelError(f"{one_line(str(path))} is not a file name: {error}") from error


class _BadFile(Exception):
    """Why the file is refused."""


class _Reader:
    """Reads forward through the header in chunks, never past what the file holds."""

    def __init__(self, path: Path, file: BinaryIO, arrays: bool) -> None:
        self._path = path
        self._file = file
        self._arrays = arrays
        self._strings = 0
        """In arrays, so far."""
        self._texts = 0
        """Bytes of text that were read so far."""
        self._size = os.fstat(file.fileno()).st_size
        self._buffer = b""
        self._start = 0
        """Where in the file the buffer starts."""
        self._at = 0
        """Where in the buffer the next byte is."""

    @property
    def _place(self) -> int:
        return self._start + self._at

    def _take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > len(self._buffer) - self._at:
            if count > self._size - self._place:
                raise _BadFile("it ends in the middle of its header")
            self._start, self._at = self._place, 0
            self._file.seek(self._start)
            self._buffer = self._file.read(max(count, _CHUNK))
            if len(self._buffer) < count:
                raise _BadFile("it ends in the middle of its header")
        self._at += count
        return self._buffer[self._at - count : self._at]

    def _skip(self, count: int) -> None:
        if count > self._size - self._place:
            raise _BadFile("it ends in the middle of its header")
        self._at += count
        if self._at > len(self._buffer):
            self._start, self._at, self._buffer = self._place, 0, b""

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _string(self, limit: int) -> str:
        length: int = self._number("<Q")
        if length > limit:
            raise _BadFile(f"it holds a text of {length} bytes where at most {limit} make sense")
        self._texts += length
        if self._texts > _MAX_TEXTS:
            raise _BadFile(f"it holds more than {_MAX_TEXTS >> 20} MiB of text in its header")
        return self._take(length).decode("utf-8", "replace")

    def header(self) -> GgufHeader:
        if self._size < 24 or self._take(4) != _MAGIC:
            raise _BadFile("it does not begin with GGUF")
        version: int = self._number("<I")
        if version not in (2, 3):
            raise _BadFile(f"its version is {version}; 2 and 3 are known")
        tensor_count: int = self._number("<Q")
        pair_count: int = self._number("<Q")
        if tensor_count > _MAX_TENSORS or pair_count > _MAX_PAIRS:
            raise _BadFile(f"it claims {tensor_count} tensors and {pair_count} metadata pairs")
        metadata = self._metadata(pair_count)
        tensors = self._tensors(tensor_count, _alignment(metadata))
        return self._summary(version, metadata, tensors)

    def _metadata(self, count: int) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        seen: set[str] = set()
        for _ in range(count):
            key = self._string(_MAX_KEY)
            if key in seen:
                raise _BadFile(f"it says {one_line(key, 60)} twice")
            seen.add(key)
            kind: int = self._number("<I")
            if kind == _ARRAY:
                values = self._array()
                if values is not None:
                    metadata[key] = values
            else:
                metadata[key] = self._scalar(kind)
        return metadata

    def _scalar(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string(_MAX_STRING)
        form = _SCALARS.get(kind)
        if form is None:
            raise _BadFile(f"it holds metadata of the unknown type {kind}")
        value = self._number(form)
        return bool(value) if kind == 7 else value

    def _array(self) -> list[Any] | None:
        """The array as a list when arrays were asked for, None when it was stepped over."""
        kind: int = self._number("<I")
        count: int = self._number("<Q")
        form = _SCALARS.get(kind)
        if form is None and kind != _STRING:
            raise _BadFile(f"it holds an array of the unknown type {kind}")
        smallest = 8 if form is None else struct.calcsize(form)
        if count > (self._size - self._place) // smallest:
            raise _BadFile(f"it claims an array of {count} values, more than the file can hold")
        if form is None:
            self._strings += count
            if self._strings > _MAX_STRINGS:
                raise _BadFile(f"it claims {self._strings} texts in its arrays")
        if self._arrays:
            return [self._scalar(kind) for _ in range(count)]
        if form is not None:
            self._skip(count * smallest)
            return None
        for _ in range(count):
            self._skip(int.from_bytes(self._take(8), "little"))
        return None

    def _tensors(self, count: int, alignment: int) -> tuple[TensorInfo, ...]:
        read: list[tuple[str, tuple[int, ...], int, int]] = []
        seen: set[str] = set()
        for _ in range(count):
            name = self._string(_MAX_NAME)
            if name in seen:
                raise _BadFile(f"it has the tensor {one_line(name, 64)} twice")
            seen.add(name)
            n_dims: int = self._number("<I")
            if not 1 <= n_dims <= 4:
                raise _BadFile(f"the tensor {one_line(name, 64)} has {n_dims} dimensions")
            dims = tuple(self._number("<Q") for _ in range(n_dims))
            kind: int = self._number("<I")
            read.append((name, dims, kind, self._number("<Q")))
        data = -(-self._place // alignment) * alignment
        return tuple(
            self._tensor(name, dims, kind, offset, data, alignment) for name, dims, kind, offset in read
        )

    def _tensor(
        self, name: str, dims: tuple[int, ...], kind: int, offset: int, data: int, alignment: int
    ) -> TensorInfo:
        shown = f"the tensor {one_line(name, 64)}"
        if kind not in TENSOR_TYPES:
            raise _BadFile(f"{shown} has the unknown type {kind}")
        type_name, block, block_bytes = TENSOR_TYPES[kind]
        if min(dims) < 1 or dims[0] % block:
            raise _BadFile(f"{shown} has the impossible shape {dims}")
        size = math.prod(dims) // block * block_bytes
        if offset % alignment:
            raise _BadFile(f"{shown} is not aligned")
        if data + offset + size > self._size:
            raise _BadFile(f"{shown} reaches past the end of the file; it may be half a download")
        return TensorInfo(name, dims, type_name, data + offset, size)

    def _summary(self, version: int, metadata: dict[str, Any], tensors: tuple[TensorInfo, ...]) -> GgufHeader:
        # Of a split model the first part alone says anything.
        architecture = _text(metadata, "general.architecture")
        if not architecture and not _whole(metadata, "split.no"):
            raise _BadFile("it does not name its architecture")
        return GgufHeader(
            path=self._path,
            version=version,
            size=self._size,
            kind="adapter" if metadata.get("general.type") == "adapter" else "model",
            architecture=architecture,
            name=_text(metadata, "general.name") or self._path.stem,
            licence=_text(metadata, "general.license"),
            context_length=_whole(metadata, f"{architecture}.context_length"),
            parameters=sum(math.prod(tensor.dims) for tensor in tensors),
            quantisation=_quantisation(metadata, tensors),
            chat_template=_text(metadata, "tokenizer.chat_template") or None,
            tensors=tensors,
            metadata=metadata,
        )


def _text(metadata: dict[str, Any], key: str) -> str:
    value = metadata.get(key, "")
    return value if isinstance(value, str) else ""


def _whole(metadata: dict[str, Any], key: str) -> int:
    value = metadata.get(key, 0)
    return value if isinstance(value, int) else 0


def _alignment(metadata: dict[str, Any]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20 or alignment & (alignment - 1):
        raise _BadFile(f"its alignment is {one_line(str(alignment), 30)}")
    return alignment


def _quantisation(metadata: dict[str, Any], tensors: tuple[TensorInfo, ...]) -> str:
    """What the file says, or the type that most of its bytes have."""
    said = metadata.get("general.file_type")
    if isinstance(said, int) and said in _FILE_TYPES:
        return _FILE_TYPES[said]
    bytes_of: dict[str, int] = {}
    for tensor in tensors:
        bytes_of[tensor.type] = bytes_of.get(tensor.type, 0) + tensor.size
    return max(bytes_of, key=lambda each: bytes_of[each], default="")
