"""The command line in this process, in a house with a scripted engine and a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chatapp.cli.app import app
from chatapp.core.paths import find_paths
from chatapp.core.settings import Settings
from chatapp.engine.scripted import ScriptedEngine
from chatapp.session.wiring import House


class Cli:
    """`run` gives standard output; `fails` gives standard error."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.paths = find_paths({"CHATAPP_HOME": str(home)})
        self.engine = ScriptedEngine(pace=0)
        self.house = House(self.paths, Settings(), self.engine)
        self.notes = ""

    def _invoke(self, args: tuple[str, ...], input: str | None) -> Any:
        # Flags change the settings of a house for its run, so each run gets a house of its own.
        with House(self.paths, self.house.settings, self.engine) as house:
            return CliRunner().invoke(app, list(args), obj=house, input=input, prog_name="chatapp")

    def run(self, *args: str, input: str | None = None) -> str:
        result = self._invoke(args, input)
        assert result.exit_code == 0, result.output + repr(result.exception)
        self.notes = result.stderr
        return str(result.stdout)

    def json(self, *args: str, input: str | None = None) -> Any:
        return json.loads(self.run(*args, "--json", input=input))

    def fails(self, *args: str, code: int = 1, input: str | None = None) -> str:
        result = self._invoke(args, input)
        assert result.exit_code == code, f"{result.exit_code}: {result.output} {result.exception!r}"
        assert "Traceback" not in result.output
        return str(result.stderr)


def stopped_at_once(
    heard: list[tuple[int, int]],
) -> Callable[[bool], AbstractContextManager[Callable[[int, int], None]]]:
    """A `shown_import` at whose first word, which goes to `heard`, somebody presses Ctrl+C."""

    @contextmanager
    def stopping(as_json: bool) -> Iterator[Callable[[int, int], None]]:
        def told(done: int, total: int) -> None:
            heard.append((done, total))
            raise KeyboardInterrupt

        yield told

    return stopping


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    made = Cli(tmp_path / "home")
    yield made
    made.house.close()
