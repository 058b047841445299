"""What cannot chat, and what does not fit a model, is refused before llama.cpp sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatapp.core.errors import ModelError
from chatapp.engine.gguf import read_header
from chatapp.engine.usable import require_adapter, require_model, tensors_of
from tests.engine.tiny_gguf import make_adapter, make_model


def test_an_adapter_is_not_a_model(tiny: Path, adapter: Path) -> None:
    require_adapter(read_header(adapter), read_header(tiny))
    with pytest.raises(ModelError, match="LoRA adapter"):
        require_model(read_header(adapter))
    with pytest.raises(ModelError, match="not a LoRA adapter"):
        require_adapter(read_header(tiny), read_header(tiny))


def test_an_adapter_of_the_embedding_is_refused(tiny: Path, tmp_path: Path) -> None:
    path = make_adapter(tmp_path / "embedding.gguf", target="token_embd.weight")
    with pytest.raises(ModelError, match="changes the embedding"):
        require_adapter(read_header(path), read_header(tiny))


def test_a_split_model_has_the_tensors_of_all_its_parts(tiny: Path, adapter: Path, tmp_path: Path) -> None:
    first = read_header(make_model(tmp_path / "parts.gguf", split=8))
    require_model(first)
    assert first.parts == 4 and not first.tensors
    assert {each.name for each in tensors_of(first)} == {each.name for each in read_header(tiny).tensors}
    require_adapter(read_header(adapter), first)
    with pytest.raises(ModelError, match="another shape"):
        require_adapter(read_header(make_adapter(tmp_path / "wrong.gguf", width=96)), first)
    second = tmp_path / "parts-00002-of-00004.gguf"
    with pytest.raises(ModelError, match="is part 2 of a split model"):
        require_model(read_header(second))
    second.unlink()
    with pytest.raises(ModelError, match="parts-00002-of-00004"):
        require_model(first)


def test_a_vocabulary_alone_is_no_model(tmp_path: Path) -> None:
    from gguf import GGUFWriter

    writer = GGUFWriter(tmp_path / "words.gguf", "llama")
    writer.add_tokenizer_model("gpt2")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(ModelError, match="a vocabulary alone"):
        require_model(read_header(tmp_path / "words.gguf"))


@pytest.mark.parametrize(
    "wrong", [{"architecture": "qwen2"}, {"width": 96}, {"kind": "alora"}, {"alpha": float("nan")}]
)
def test_an_adapter_that_does_not_fit_is_refused(
    tiny: Path, tmp_path: Path, wrong: dict[str, object]
) -> None:
    path = make_adapter(tmp_path / "wrong.gguf", **wrong)  # type: ignore[arg-type]
    with pytest.raises(ModelError):
        require_adapter(read_header(path), read_header(tiny))
