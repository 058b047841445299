"""Quantising happens in a process of its own, wherever the user is."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatapp.engine.gguf import read_header
from chatapp.engine.quantise import quantise


def test_nothing_is_imported_from_the_users_folder(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise ImportError('not the one that was meant')\n")
    monkeypatch.chdir(tmp_path)
    made = quantise(tiny, tmp_path / "small.gguf", "Q8_0")
    assert read_header(made).quantisation == "Q8_0"
