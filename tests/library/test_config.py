"""Changing one line of config.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.core.errors import SettingsError
from chatapp.library.config import set_value


def test_a_new_key_stands_before_the_first_table(tmp_path: Path) -> None:
    file = tmp_path / "new" / "config.toml"
    set_value(file, "model", "a")
    assert file.read_text() == 'model = "a"\n'
    file.write_text("n_ctx = 5\n[sampling]\nmodel = 3\n")
    set_value(file, "model", "b")
    assert file.read_text() == 'n_ctx = 5\nmodel = "b"\n[sampling]\nmodel = 3\n'


@pytest.mark.parametrize("text", ["model = [", '"model" = "quoted"\n'])
def test_what_cannot_be_changed_is_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(SettingsError):
        set_value(file, "model", "a")
    assert file.read_text() == text
    assert [each.name for each in tmp_path.iterdir()] == ["config.toml"]


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ('system = """\nmodel = "inside"\n"""\n', 'system = """\nmodel = "inside"\n"""\nmodel = "a"\n'),
        ('system = """\nmodel = X\n"""\nmodel = "a"\n', 'system = """\nmodel = X\n"""\nmodel = "a"\n'),
        ('system = """\nmodel = X\n"""\nmodel = "b"\n', 'system = """\nmodel = X\n"""\nmodel = "a"\n'),
        ('system = """\n[short answer]\n"""\n[b]\n', 'system = """\n[short answer]\n"""\nmodel = "a"\n[b]\n'),
        ('system = """\n[short answer]\n"""\n', 'system = """\n[short answer]\n"""\nmodel = "a"\n'),
    ],
)
def test_a_text_of_several_lines_is_left_as_it_is(tmp_path: Path, text: str, changed: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    set_value(file, "model", "a")
    assert file.read_text() == changed


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    with pytest.raises(SettingsError, match="not UTF-8"):
        set_value(file, "model", "caf\udce9.gguf")
    assert not file.exists()


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_is_read_back_or_refused(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    file = tmp_path_factory.mktemp("config") / "config.toml"
    file.write_text("n_ctx = 5\n")
    try:
        set_value(file, "model", value)
    except SettingsError:
        assert any(ord(each) < 0x20 or ord(each) == 0x7F for each in value)
        assert file.read_text() == "n_ctx = 5\n"
    else:
        set_value(file, "theme", "dark")
        read = tomllib.loads(file.read_text(encoding="utf-8"))
        assert read == {"n_ctx": 5, "model": value, "theme": "dark"}


def test_a_link_to_the_file_stays_one(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles.toml", tmp_path / "config.toml"
    real.write_text("n_ctx = 5\n")
    link.symlink_to(real)
    set_value(link, "model", "a")
    assert link.is_symlink() and real.read_text() == 'n_ctx = 5\nmodel = "a"\n'


def test_what_cannot_be_read_or_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for file in (tmp_path, tmp_path / "file" / "config.toml"):
        with pytest.raises(SettingsError, match=r"cannot (read|write)"):
            set_value(file, "model", "a")
