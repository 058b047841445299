"""The commands with the embedded model in its own process. What it says is its own affair."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chatapp.cli.app import app
from chatapp.core.paths import embedded_model, find_paths
from chatapp.core.settings import Settings
from chatapp.session.wiring import House

pytest.importorskip("llama_cpp")
pytestmark = pytest.mark.skipif(not embedded_model().exists(), reason="the embedded model is not built")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(find_paths({"CHATAPP_HOME": str(tmp_path)}), Settings(threads=1))


def run(house: House, *args: str) -> Any:
    result = CliRunner().invoke(app, [*args, "--json"], obj=house)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_four_different_replies_and_the_same_four_again(house: House) -> None:
    with house:
        first = run(house, "ask", "-n", "4", "--seed", "7", "--max-tokens", "40", "I had a long day.")
        again = run(house, "ask", "-n", "4", "--seed", "7", "--max-tokens", "40", "I had a long day.")
        texts = [each["text"] for each in first["replies"]]
        assert len({" ".join(text.split()).casefold() for text in texts}) == 4
        assert [each["text"] for each in again["replies"]] == texts
        assert [each["seed"] for each in again["replies"]] == [each["seed"] for each in first["replies"]]
        messages = run(house, "history", "show", str(first["conversation"]))["messages"]
        # one that was sampled again, since it said nearly what another says, was stored after the others
        stored = sorted(first["replies"], key=lambda each: each["id"])
        assert [(each["id"], each["text"]) for each in messages[1:]] == [
            (each["id"], each["text"]) for each in stored
        ]
        assert {each["model"] for each in messages[1:]} == {"guide"}
        with house.store() as store:
            source = store.conversations.message(first["replies"][0]["id"]).provenance
        assert source is not None
        assert len(source.model_sha256 or "") == 64
        assert len(source.template_sha256 or "") == 64


def test_doctor_writes_a_token_with_it(house: House) -> None:
    with house:
        said = run(house, "doctor")
    found = {each["name"]: each["status"] for each in said["checks"]}
    assert said["ok"]
    assert (found["model"], found["engine"], found["database"]) == ("ok", "ok", "ok")
