"""`chatapp models`."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy

from tests.cli.conftest import Cli


def write_gguf(path: Path) -> Path:
    """A file with a sound header and one small tensor."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("Tiny \x1b[31mred")
    writer.add_context_length(128)
    writer.add_tokenizer_model("gpt2")
    writer.add_tensor("token_embd.weight", numpy.zeros((4, 32), dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_guide_is_always_first(cli: Cli) -> None:
    first = cli.json("models", "list")[0]
    assert (first["name"], first["embedded"], first["active"]) == ("guide", True, True)


def test_add_info_use(cli: Cli, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    cli.run("models", "add", str(file), "--name", "small")
    info = cli.json("models", "info", "small")
    assert (info["architecture"], info["context_length"], info["parameters"]) == ("llama", 128, 128)
    assert info["problem"] is None
    assert "\x1b" not in cli.run("models", "info", "small")
    cli.run("models", "use", "small")
    assert 'model = "small"' in cli.paths.settings.read_text()
    assert "already" in cli.fails("models", "add", str(file), "--name", "small", code=2)
    assert "no model 'none'" in cli.fails("models", "use", "none")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF, or not")
    assert cli.fails("models", "add", str(broken)).count("\n") == 2


def test_a_file_in_use_by_its_path_is_listed_and_named_so(cli: Cli, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "guide.gguf")
    cli.run("models", "use", str(file))
    assert cli.notes.startswith(f"{file} is written into ")
    cli.house.with_settings(model=str(file))
    found = {each["name"]: each["active"] for each in cli.json("models", "list")}
    assert found == {"guide": False, str(file): True}
    assert cli.run("models", "list").splitlines()[1].startswith(f"* {file}\t")
