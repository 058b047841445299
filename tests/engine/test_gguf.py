"""The header check takes good files and refuses the rest with a `ModelError`, quickly, in little memory."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatapp.core.errors import ModelError
from chatapp.engine.gguf import TENSOR_TYPES, read_header
from chatapp.engine.usable import require_model
from tests.engine.tiny_gguf import CHATML, make_model


def test_says_what_the_file_says(tiny: Path) -> None:
    header = read_header(tiny)
    require_model(header)
    assert (header.name, header.architecture, header.licence) == ("tiny", "llama", "CC0-1.0")
    assert (header.context_length, header.quantisation, header.chat_template) == (512, "F16", CHATML)
    assert header.parameters == sum(
        int.__mul__(*tensor.dims) if len(tensor.dims) == 2 else tensor.dims[0] for tensor in header.tensors
    )
    assert header.size == tiny.stat().st_size
    assert "tokenizer.ggml.tokens" not in header.metadata
    assert len(read_header(tiny, arrays=True).metadata["tokenizer.ggml.tokens"]) == 259


def test_agrees_with_the_gguf_package(tiny: Path) -> None:
    from gguf import GGUFReader
    from gguf.constants import GGML_QUANT_SIZES

    theirs = {tensor.name: (tensor.data_offset, tensor.n_bytes) for tensor in GGUFReader(tiny).tensors}
    assert {tensor.name: (tensor.offset, tensor.size) for tensor in read_header(tiny).tensors} == theirs
    assert {number: sizes[1:] for number, sizes in TENSOR_TYPES.items()} == {
        int(kind): sizes for kind, sizes in GGML_QUANT_SIZES.items()
    }


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGUF",
        b"not a model at all, but long enough to have a header",
        b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
        b"FUGG" + struct.pack("<IQQ", 3, 0, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62) + b"key",
        b"GGUF" + struct.pack("<IQQQ3sIIQ", 3, 0, 1, 3, b"key", 9, 0, 2**62),
        b"GGUF" + struct.pack("<IQQQ3sIIQ", 3, 0, 1, 3, b"key", 9, 9, 1),
        b"GGUF" + struct.pack("<IQQQ3sIQ", 3, 0, 1, 3, b"key", 8, 2**61),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    with pytest.raises(ModelError):
        read_header(path)


def test_an_array_longer_than_the_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQQ3sIIQ", 3, 0, 1, 3, b"key", 9, 8, 2**40) + bytes(1000))
    with pytest.raises(ModelError, match="more than the file can hold"):
        read_header(path, arrays=True)


def test_an_array_of_millions_of_texts_is_refused_before_it_is_stepped_over(tmp_path: Path) -> None:
    path = tmp_path / "many.gguf"
    path.write_bytes(struct.pack("<4sIQQQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"a", 9, 8, 9_000_000))
    with path.open("r+b") as file:
        file.truncate(80_000_000)  # a hole: nothing is written
    with pytest.raises(ModelError, match="9000000 texts"):
        read_header(path)


def test_texts_that_fill_the_memory_are_refused(tmp_path: Path) -> None:
    path, size, place = tmp_path / "texts.gguf", 4 << 20, 24
    with path.open("wb") as file:
        file.write(struct.pack("<4sIQQ", b"GGUF", 3, 0, 100))
        for number in range(100):  # between them holes: nothing is written
            file.seek(place)
            file.write(struct.pack("<Q3sIQ", 3, b"%03d" % number, 8, size))
            place = file.tell() + size
        file.truncate(place)
    with pytest.raises(ModelError, match="MiB of text"):
        read_header(path)


def test_impossible_tensors_are_refused(tiny: Path, tmp_path: Path) -> None:
    data = tiny.read_bytes()
    name = b"blk.0.attn_q.weight"
    # After the name: two dimensions, the type, the offset.
    at = data.index(name) + len(name)
    head = struct.calcsize("<IQQ")
    changes: dict[str, bytes] = {
        "twice": data.replace(b"blk.0.attn_v.weight", name),
        "not aligned": data[: at + head + 4] + struct.pack("<Q", 1) + data[at + head + 12 :],
        "unknown type": data[: at + head] + struct.pack("<I", 4) + data[at + head + 4 :],
        "5 dimensions": data[:at] + struct.pack("<I", 5) + data[at + 4 :],
        "impossible shape": data[: at + 4] + struct.pack("<Q", 0) + data[at + 12 :],
        "past the end": data[: at + 4] + struct.pack("<Q", 2**60) + data[at + 12 :],
    }
    path = tmp_path / "changed.gguf"
    for reason, changed in changes.items():
        path.write_bytes(changed)
        with pytest.raises(ModelError, match=reason):
            read_header(path)


def test_half_a_download_is_refused(tiny: Path, tmp_path: Path) -> None:
    data = tiny.read_bytes()
    half = tmp_path / "half.gguf"
    half.write_bytes(data[:-100])
    with pytest.raises(ModelError, match="half a download"):
        read_header(half)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.gguf", Path("/dev/zero"), Path("nul\0l")):
        with pytest.raises(ModelError):
            read_header(path)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = make_model(tmp_path_factory.mktemp("small") / "small.gguf", layers=1)
    return path.read_bytes()


@settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_mutated_file_parses_or_is_refused(small: bytes, tmp_path: Path, data: st.DataObject) -> None:
    header_end = 12_000
    mutated = bytearray(small)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, header_end))
        fresh = data.draw(
            st.binary(min_size=1, max_size=8)
            | st.sampled_from([2**64 - 1, 2**63, 2**40, 2**31, 0]).map(
                lambda number: struct.pack("<Q", number)
            )
        )
        mutated[place : place + len(fresh)] = fresh
    cut = data.draw(st.none() | st.integers(0, len(mutated)))
    path = tmp_path / "mutated.gguf"
    path.write_bytes(bytes(mutated[:cut]))
    tracemalloc.start()
    try:
        header = read_header(path, arrays=data.draw(st.booleans()))
        require_model(header)
        assert all(tensor.offset + tensor.size <= len(mutated) for tensor in header.tensors)
    except ModelError as error:
        assert "\n" not in str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 16 * 2**20
