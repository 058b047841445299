"""What `remove` takes away, and what it never does."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatapp.core.errors import ModelError, NotFound, UsageError
from chatapp.core.paths import Paths, embedded_model, find_paths
from chatapp.core.settings import Settings, load_settings
from chatapp.library.catalogue import Catalogue
from tests.library.test_catalogue import write_gguf


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return find_paths({"CHATAPP_HOME": str(tmp_path / "home")})


@pytest.fixture
def catalogue(paths: Paths) -> Catalogue:
    return Catalogue(paths, Settings())


def names(catalogue: Catalogue) -> list[str]:
    return [each.name for each in catalogue.list()]


def test_a_link_goes_and_its_file_stays(catalogue: Catalogue, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    catalogue.add(file)
    with pytest.raises(UsageError, match="not in chatapp's own folder"):
        catalogue.remove("tiny", delete_file=True)
    assert names(catalogue) == ["guide", "tiny"]
    removed = catalogue.remove("tiny")
    assert (removed.file, removed.deleted, removed.kept, removed.in_use) == (file, False, True, False)
    assert file.exists() and names(catalogue) == ["guide"]


def test_a_file_of_ones_own_is_set_aside(catalogue: Catalogue, paths: Paths, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    for expected in ("tiny.gguf", "tiny-2.gguf"):
        catalogue.add(file, copy=True)
        removed = catalogue.remove("tiny")
        assert removed.file == paths.models / "removed" / expected and removed.file.exists()
    assert names(catalogue) == ["guide"]
    assert catalogue.add(removed.file, "again").problem is None
    assert catalogue.remove("again", delete_file=True).deleted
    assert not removed.file.exists()


def test_delete_file_deletes_a_copy(catalogue: Catalogue, paths: Paths, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    copy = catalogue.add(file, copy=True).path
    (paths.models / "same.gguf").symlink_to(copy)
    with pytest.raises(UsageError, match="same is the same file"):
        catalogue.remove("tiny", delete_file=True)
    with pytest.raises(UsageError, match="same is the same file"):
        catalogue.remove("tiny")
    assert copy.exists() and names(catalogue) == ["guide", "same", "tiny"]
    catalogue.remove("same")
    assert catalogue.remove("tiny", delete_file=True).kept is False
    assert not copy.exists() and file.exists()


def test_the_embedded_model_stays(catalogue: Catalogue, paths: Paths) -> None:
    with pytest.raises(UsageError, match="stays"):
        catalogue.remove("guide", delete_file=True)
    catalogue.add(embedded_model(), "mine")
    with pytest.raises(UsageError):
        catalogue.remove("mine", delete_file=True)
    catalogue.remove("mine")
    assert embedded_model().is_file()


@pytest.mark.parametrize("name", ["none", "../x", "", "/etc/passwd", "removed"])
def test_what_is_no_model(catalogue: Catalogue, paths: Paths, name: str) -> None:
    (paths.models / "removed").mkdir(parents=True)
    for delete in (False, True):
        with pytest.raises((NotFound, UsageError)):
            catalogue.remove(name, delete)


def test_a_link_to_nothing(catalogue: Catalogue, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    catalogue.add(file)
    file.unlink()
    assert catalogue.remove("tiny").kept is False
    assert names(catalogue) == ["guide"]


def test_the_model_in_use_gives_way_to_the_guide(catalogue: Catalogue, paths: Paths, tmp_path: Path) -> None:
    for name in ("one", "two"):
        catalogue.add(write_gguf(tmp_path / f"{name}.gguf"))
    catalogue.use("two")
    assert catalogue.remove("one").in_use is False
    assert load_settings(paths.settings, {}).model == "two"
    assert catalogue.remove("two").in_use
    assert load_settings(paths.settings, {}).model == "guide"


def test_a_part_of_a_split_model_is_not_added(catalogue: Catalogue, tmp_path: Path) -> None:
    import gguf

    file = tmp_path / "m-00001-of-00002.gguf"
    write_gguf(tmp_path / "m-00002-of-00002.gguf")
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_uint16("split.count", 2)
    writer.add_uint16("split.no", 0)
    import numpy

    writer.add_tensor("token_embd.weight", numpy.zeros((4, 32), dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert catalogue.find(str(file)).problem is None
    with pytest.raises(ModelError, match="one of 2 files"):
        catalogue.add(file)
