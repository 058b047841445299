"""The catalogue on real files."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy
import pytest

from chatapp.core.errors import ModelError, NotFound, UsageError
from chatapp.core.paths import Paths, embedded_model, find_paths
from chatapp.core.settings import Settings, load_settings
from chatapp.library.catalogue import Catalogue


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return find_paths({"CHATAPP_HOME": str(tmp_path / "home")})


def write_gguf(path: Path, kind: str = "model") -> Path:
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_type(kind)
    writer.add_tokenizer_model("gpt2")
    writer.add_tensor("token_embd.weight", numpy.zeros((4, 32), dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_guide_is_first_and_always_there(paths: Paths) -> None:
    first, *others = Catalogue(paths, Settings()).list()
    assert (first.name, first.path, first.embedded) == ("guide", embedded_model(), True)
    assert others == []


def test_a_linked_model_is_listed_and_found(paths: Paths, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    catalogue = Catalogue(paths, Settings())
    added = catalogue.add(file)
    assert (added.name, added.problem, added.embedded) == ("tiny", None, False)
    assert added.path.is_symlink()
    assert [each.name for each in catalogue.list()] == ["guide", "tiny"]
    assert catalogue.find("tiny") == added
    assert catalogue.find(str(file)).path == file
    file.unlink()
    assert "not there" in (catalogue.find("tiny").problem or "")


def test_a_copy_stands_alone_and_leaves_nothing_behind(paths: Paths, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    added = Catalogue(paths, Settings()).add(file, "small", copy=True)
    file.unlink()
    assert added.path.is_file() and not added.path.is_symlink()
    assert [each.name for each in paths.models.iterdir()] == ["small.gguf"]


@pytest.mark.parametrize("name", ["guide", "../up", "a/b", "", ".hidden"])
def test_names_that_cannot_be(paths: Paths, tmp_path: Path, name: str) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    with pytest.raises(UsageError):
        Catalogue(paths, Settings()).add(file, name)
    assert not paths.models.exists()


def test_names_and_files_that_are_not_there(paths: Paths, tmp_path: Path) -> None:
    catalogue = Catalogue(paths, Settings())
    for wrong in ("none", str(tmp_path / "none.gguf"), "none.gguf", "../guide"):
        with pytest.raises(NotFound):
            catalogue.find(wrong)
    with pytest.raises(NotFound):
        catalogue.add(tmp_path / "none.gguf")


def test_what_is_no_model_is_refused(paths: Paths, tmp_path: Path) -> None:
    catalogue = Catalogue(paths, Settings())
    text = tmp_path / "text.gguf"
    text.write_text("not a model")
    adapter = write_gguf(tmp_path / "adapter.gguf", "adapter")
    for file in (text, adapter):
        with pytest.raises(ModelError):
            catalogue.add(file)
        with pytest.raises(ModelError):
            catalogue.use(str(file))
        assert catalogue.find(str(file)).problem
    assert not paths.models.exists()
    assert not paths.settings.exists()


def test_a_file_put_there_by_hand_is_listed_with_its_problem(paths: Paths) -> None:
    paths.models.mkdir(parents=True)
    (paths.models / "half.gguf").write_bytes(b"GGUF\x03\x00")
    entry = Catalogue(paths, Settings()).list()[1]
    assert entry.name == "half"
    assert entry.header is None
    assert entry.problem


def test_use_writes_one_line_and_keeps_the_others(paths: Paths, tmp_path: Path) -> None:
    paths.config.mkdir(parents=True)
    paths.settings.write_text('# mine\nn_ctx = 512\nmodel="guide"  # the old one\n\n[sampling]\ntop_k = 7\n')
    catalogue = Catalogue(paths, Settings())
    catalogue.add(write_gguf(tmp_path / "tiny.gguf"))
    catalogue.use("tiny")
    assert paths.settings.read_text() == '# mine\nn_ctx = 512\nmodel = "tiny"\n\n[sampling]\ntop_k = 7\n'
    assert catalogue.current().name == "tiny"
    settings = load_settings(paths.settings, {})
    assert (settings.model, settings.n_ctx, settings.sampling.top_k) == ("tiny", 512, 7)


def test_a_path_is_used_as_a_path(paths: Paths, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / 'ti "ny\u00e9.gguf')
    catalogue = Catalogue(paths, Settings())
    catalogue.use(str(file))
    assert load_settings(paths.settings, {}).model == str(file)
    assert catalogue.current().path == file
    assert [each.name for each in catalogue.list_with_current()] == ["guide", str(file)]
    assert [each.name for each in catalogue.list()] == ["guide"]


def test_a_name_is_no_name_of_a_file(paths: Paths, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    catalogue = Catalogue(paths, Settings())
    with pytest.raises(UsageError, match="a file's name") as error:
        catalogue.add(file, "some.gguf")
    assert "'some' with --name" in error.value.hint
    # One that is there already can be chosen and taken out.
    paths.models.mkdir(parents=True)
    (paths.models / "some.gguf.gguf").symlink_to(file)
    assert catalogue.use("some.gguf").name == catalogue.current().name == "some.gguf"
    assert catalogue.remove("some.gguf").in_use
