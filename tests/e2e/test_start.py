"""What can be wrong before there is a screen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chatapp.core.paths import find_paths
from chatapp.core.settings import Settings
from chatapp.session.wiring import House
from chatapp.tui.app import _training_of
from tests.e2e.terminal import Terminal

pytestmark = pytest.mark.e2e


def test_a_database_that_is_none_is_said_in_two_lines(tmp_path: Path) -> None:
    paths = find_paths({"CHATAPP_HOME": str(tmp_path)})
    paths.database.parent.mkdir(parents=True)
    paths.database.write_bytes(b"not a database " * 1000)
    environment = {**os.environ, "CHATAPP_HOME": str(tmp_path)}
    with Terminal([sys.executable, "-m", "chatapp"], environment, 100, 30) as terminal:
        assert terminal.wait_end(30) == 1
        screen = terminal.wait("hint:")
    assert "error:" in screen and "Traceback" not in screen


def test_the_training_imports_nothing_from_the_folder_where_one_stands(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit('this one ran')")
    with House(find_paths({"CHATAPP_HOME": str(tmp_path / "home")}), Settings()) as house:
        command = _training_of(house)
    assert command[-2:] == ("train", "--json")
    done = subprocess.run(
        [*command[:-2], "train", "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
