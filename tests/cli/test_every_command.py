"""What holds for every command: help, JSON, nothing heavy imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from chatapp.cli.app import app
from tests.cli.conftest import Cli

ROOT = Path(__file__).parents[2]


def commands(command: Any, name: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for word, below in getattr(command, "commands", {}).items():
        yield (*name, word), below
        yield from commands(below, (*name, word))


EVERY = [((), typer.main.get_command(app)), *commands(typer.main.get_command(app))]


@pytest.mark.parametrize(("name", "command"), EVERY, ids=[" ".join(name) or "chatapp" for name, _ in EVERY])
def test_help_has_every_option_and_an_example(cli: Cli, name: tuple[str, ...], command: Any) -> None:
    shown = cli.run(*name, "--help")
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert max(parameter.opts, key=len) in shown
            assert getattr(parameter, "help", None), f"{name} {parameter.name} has no help"
    assert "Example" in shown
    assert f"chatapp {' '.join(name)}".strip() in shown.split("Example")[1]


def test_every_listing_takes_json(cli: Cli) -> None:
    for name in (
        "history list",
        "history search x",
        "rankings list",
        "rankings stats",
        "models list",
        "adapters list",
    ):
        json.loads(cli.run(*name.split(), "--json"))


@pytest.mark.parametrize(
    "args",
    [
        "--help",
        "--version",
        "history list",
        "history path",
        "rankings list",
        "models list",
        "adapters list --json",
        "rank --help",
    ],
)
def test_nothing_heavy_is_imported(tmp_path: Path, args: str) -> None:
    code = (
        "import sys\n"
        "from chatapp.cli.app import app\n"
        f"try: app({args.split()!r}, prog_name='chatapp')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'llama_cpp', 'numpy', 'textual', 'transformers', 'pandas'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "CHATAPP_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
