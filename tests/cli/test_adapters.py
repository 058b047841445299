"""`chatapp adapters`: on a scripted engine, and on a tiny model where weights are the point."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chatapp.cli.adapter_files import say_pair
from chatapp.cli.app import app
from chatapp.core.paths import find_paths
from chatapp.core.settings import Settings
from chatapp.core.types import Adapter, Provenance
from chatapp.engine.base import Request
from chatapp.engine.gguf import read_header
from chatapp.engine.scripted import ScriptedEngine
from chatapp.session.wiring import House
from tests.cli.conftest import Cli
from tests.engine.tiny_gguf import make_adapter, make_model

WINS = {"value": 0.63, "low": 0.55, "high": 0.7, "n": 200}
TUNED = {"words": 8.25, "short": 0.0}


def add(cli: Cli, name: str, parent: str | None = None, **changes: Any) -> Adapter:
    """A training's adapter for the scripted model; its file holds nothing."""
    sha256 = cli.house.model_sha256()
    made = Adapter(
        name, "rloo", "guide", sha256, parent, 1_795_000_000.0, True, "better than the base", "run", "data",
        {"seed": 3}, {"against": "the base", "wins": WINS, "preference": None, "tuned": TUNED},
    )  # fmt: skip
    file = cli.paths.adapters / name / "adapter.gguf"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"GGUF")
    return cli.house.store().adapters.add(replace(made, **changes))


def in_use(cli: Cli) -> str | None:
    [*names] = [each["name"] for each in cli.json("adapters", "list", "--all") if each["active"]]
    assert len(names) < 2
    return names[0] if names else None


def rank(cli: Cli, better: str | None, worse: str | None) -> None:
    """One ranking of a reply by each."""
    store = cli.house.store()
    conversation = store.conversations.create()
    prompt = store.conversations.add(conversation.id, None, "user", "Where?", "typed")
    ids = []
    for name in (better, worse):
        source = Provenance("guide", cli.house.model_sha256(), name)
        reply = store.conversations.begin_reply(conversation.id, prompt.id, source, activate=False)
        ids.append(store.conversations.finish(reply.id, f"by {name}", "stop", source).id)
    store.rankings.add(prompt.id, ids, ((ids[0],), (ids[1],)))


def test_the_list_says_what_each_is_worth(cli: Cli) -> None:
    assert cli.json("adapters", "list") == []
    cli.run("adapters", "list")
    assert "chatapp train" in cli.notes
    add(cli, "r1")
    add(cli, "r2", "r1", accepted=False, reason="no better than r1")
    for better, worse in [("r2", "r1")] * 3 + [("r1", "r2")]:
        rank(cli, better, worse)
    cli.run("adapters", "use", "r1")
    first, second = cli.run("adapters", "list").splitlines()
    assert first.startswith("* r1\trloo\tguide\t2026-") and first.endswith("\tbase\twins 63% on 200\t")
    assert second.startswith("r2\t")
    assert second.endswith("\tr1\trefused: no better than r1\tbeats r1 in 3 of 4")
    listed = cli.json("adapters", "list")
    assert [(each["name"], each["parent"], each["active"]) for each in listed] == [
        ("r1", None, True),
        ("r2", "r1", False),
    ]
    assert listed[0]["evaluation"]["wins"] == WINS
    assert listed[1]["rankings"]["share"] == 0.75
    assert listed[1]["rankings"]["low"] < 0.75 < listed[1]["rankings"]["high"]


def test_adapters_of_other_models_are_listed_on_request(cli: Cli) -> None:
    add(cli, "r1")
    add(cli, "r2", model_sha256="0" * 64, model="mistral")
    assert [each["name"] for each in cli.json("adapters", "list")] == ["r1"]
    assert [each["name"] for each in cli.json("adapters", "list", "--all")] == ["r1", "r2"]
    error = cli.fails("adapters", "use", "r2")
    assert error.startswith("error: r2 was trained on another model file (mistral)\nhint: ")
    assert in_use(cli) is None


def test_show_has_every_figure_with_its_interval(cli: Cli) -> None:
    add(cli, "r1")
    rank(cli, "r1", None)
    shown = cli.run("adapters", "show", "r1")
    assert "wins:             0.630 [0.550, 0.700] of 200\n" in shown
    assert "your rankings:    beats base in 1 of 1: won 1.000 [0.207, 1.000]\n" in shown
    for _ in range(2):
        rank(cli, None, "r1")
    assert "your rankings:    loses to base in 2 of 3: won 0.333 [" in cli.run("adapters", "show", "r1")
    assert "tuned:            words 8.25, short 0\n" in shown
    assert "preference" not in shown
    assert cli.json("adapters", "show", "r1")["settings"] == {"seed": 3}


def test_use_off_and_rollback(cli: Cli) -> None:
    add(cli, "r1")
    add(cli, "r2", "r1", accepted=False, reason="no better")
    cli.run("adapters", "use", "r2")
    assert "no better" in cli.notes
    assert in_use(cli) == "r2"
    cli.run("adapters", "rollback")
    assert cli.notes == "r1 answers from now on\n"
    assert in_use(cli) == "r1"
    cli.run("adapters", "rollback")
    assert in_use(cli) is None
    assert "no round to go back to" in cli.fails("adapters", "rollback", code=2)
    cli.run("adapters", "use", "r2")
    cli.run("adapters", "off")
    assert in_use(cli) is None
    cli.run("adapters", "use", "r1")
    cli.run("adapters", "use", "base")
    assert in_use(cli) is None


def test_replies_name_the_adapter_that_wrote_them(cli: Cli) -> None:
    add(cli, "r1")
    add(cli, "r2", "r1")
    cli.run("adapters", "use", "r2")
    assert cli.json("ask", "Hi")["adapter"] == "r2"
    assert cli.json("ask", "Hi", "-a", "r1")["adapter"] == "r1"
    assert cli.json("ask", "Hi", "-a", "base")["adapter"] is None
    assert cli.json("ask", "Hi", "-n", "3")["adapter"] == "r2"
    assert cli.json("ask", "Hi", "--no-save")["adapter"] == "r2"
    assert "r9" in cli.fails("ask", "Hi", "-a", "r9")
    shown = cli.json("history", "show", "1")["messages"]
    assert [each.get("adapter") for each in shown] == [None, "r2"]


def test_a_setting_that_is_stronger_is_told(cli: Cli) -> None:
    add(cli, "r1")
    cli.house.with_settings(adapter="base")
    cli.run("adapters", "use", "r1")
    assert "the setting `adapter` says 'base'" in cli.notes


def test_delete_hides_and_restore_brings_back(cli: Cli) -> None:
    add(cli, "r1")
    cli.run("adapters", "use", "r1")
    cli.run("adapters", "delete", "r1")
    assert "answers as it came" in cli.notes and "`chatapp adapters restore r1`" in cli.notes
    assert cli.json("adapters", "list") == []
    cli.run("adapters", "list")
    assert "`chatapp adapters list --deleted`" in cli.notes and "chatapp train" not in cli.notes
    assert "r1 (deleted)" in cli.run("adapters", "list", "--deleted")
    assert "was deleted" in cli.fails("adapters", "use", "r1")
    cli.run("adapters", "restore", "r1")
    assert [each["name"] for each in cli.json("adapters", "list")] == ["r1"]
    assert in_use(cli) is None


def test_purge_asks_and_frees(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    add(cli, "r1")
    folder = cli.paths.adapters / "r1"
    cli.fails("adapters", "delete", "r1", "--purge", code=2)
    monkeypatch.setattr("chatapp.cli.arguments.is_terminal", lambda: True)
    cli.fails("adapters", "delete", "r1", "--purge", input="n\n")
    assert folder.is_dir() and not cli.house.store().adapters.get("r1").deleted
    cli.run("adapters", "delete", "r1", "--purge", input="y\n")
    assert not folder.exists()
    assert "figures stay" in cli.notes
    freed = "error: the files of r1 were freed\nhint: `chatapp train` makes a new adapter\n"
    assert cli.fails("adapters", "restore", "r1") == cli.fails("adapters", "use", "r1") == freed
    assert "r1 (deleted, files freed)" in cli.run("adapters", "list", "--deleted")
    assert "0.630" in cli.run("adapters", "show", "r1")
    add(cli, "r2")
    cli.run("adapters", "delete", "r2", "--purge", "--yes")
    assert not (cli.paths.adapters / "r2").exists()


@pytest.mark.parametrize(
    "command", ["show", "use", "delete", "restore", "compare", "export {} out", "merge {} out.gguf"]
)
def test_names_that_are_not_there(cli: Cli, command: str) -> None:
    add(cli, "r12")
    args = command.format("r1").split() if "{}" in command else [command, "r1"]
    assert cli.fails("adapters", *args) == "error: there is no adapter 'r1'\nhint: there is r12\n"


# Beside each other


@pytest.fixture
def telling(cli: Cli) -> Cli:
    """The scripted engine says which adapter is set, and the seed."""

    def reply(request: Request, lane: int, seed: int) -> str:
        return f"{engine.adapter.name if engine.adapter else 'base'} {seed}"

    engine = ScriptedEngine(reply, pace=0)
    cli.engine = engine
    add(cli, "r1")
    add(cli, "r2", "r1")
    return cli


def test_compare_asks_both_the_same(telling: Cli) -> None:
    rank(telling, "r2", "r1")
    shown = telling.run("adapters", "compare", "r2", "--prompt", "Hi", "--prompt", "Bye", "--seed", "5")
    assert shown == (
        "> Hi\nr2: r2 5\nr1: r1 5\n\n> Bye\nr2: r2 5\nr1: r1 5\n\n"
        "In your rankings r2 beats r1 in 1 of 1: won 100% [21%, 100%]\n"
    )
    for _ in range(2):
        rank(telling, "r1", "r2")
    lost = telling.run("adapters", "compare", "r2", "--prompt", "Hi")
    assert "In your rankings r2 loses to r1 in 2 of 3: won 33% [" in lost
    told = telling.json("adapters", "compare", "r1", "--prompt", "Hi")
    assert (told["a"], told["b"], told["prompts"]) == (
        "r1",
        "base",
        [{"prompt": "Hi", "a": "r1 1", "b": "base 1"}],
    )
    assert told["temperature"] == 0.7 and told["rankings"]["rankings"] == 0
    telling.house.store().adapters.delete("r1")
    assert telling.json("adapters", "compare", "r2", "--prompt", "Hi")["b"] == "base"


def test_compare_takes_prompts_from_the_store(telling: Cli) -> None:
    assert "--prompt" in telling.fails("adapters", "compare", "r2")
    for text in ("one", "two", "three", "three", "two", "one"):
        telling.run("ask", text)
    before = telling.json("history", "list")
    found = telling.json("adapters", "compare", "base", "r2", "-n", "2")["prompts"]
    assert len(found) == 2 and {each["prompt"] for each in found} < {"one", "two", "three"}
    assert all((each["a"], each["b"]) == ("base 1", "r2 1") for each in found)
    assert telling.json("history", "list") == before
    every = telling.json("adapters", "compare", "base", "r2", "-n", "9")["prompts"]
    assert sorted(each["prompt"] for each in every) == ["one", "three", "two"]


def test_compare_with_itself_makes_no_sense(telling: Cli) -> None:
    telling.fails("adapters", "compare", "r2", "r2", "--prompt", "Hi", code=2)
    telling.fails("adapters", "compare", "base", "--prompt", "Hi", code=2)


def test_replies_of_a_model_cannot_steer_the_terminal(telling: Cli) -> None:
    telling.engine._script = ["\x1b[31mred \x9b2J[/bold]"]
    shown = telling.run("adapters", "compare", "r2", "--prompt", "Hi\x1b]0;x\x07")
    assert "\x1b" not in shown and "\x9b" not in shown and "[/bold]" in shown


def test_on_a_terminal_they_stand_side_by_side(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    say_pair("Hi", ("r2", "base"), ["one\x1b[2J", "two [red]"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "> Hi"
    assert "r2" in lines[1] and "base" in lines[1]
    assert lines[2].split()[-2:] == ["two", "[red]"] and lines[2].startswith("one")
    assert "\x1b" not in lines[2]


# Files for other programs


def test_without_the_extra_the_command_is_told(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(cli, "r1")
    monkeypatch.setattr("chatapp.training.extra._there", lambda name: name != "peft")
    error = cli.fails("adapters", "export", "r1", str(tmp_path / "out"))
    assert error.startswith("error: training needs peft\nhint: ") and " -m pip install " in error
    assert not (tmp_path / "out").exists()


def test_merge_writes_a_model_of_its_own(tmp_path: Path) -> None:
    """Real weights in real llama.cpp: Q8_0 keeps what was learned."""
    pytest.importorskip("torch")
    base = make_model(tmp_path / "tiny.gguf")
    settings = Settings(model=str(base), threads=1)
    with House(find_paths({"CHATAPP_HOME": str(tmp_path / "home")}), settings) as house:
        file = house.paths.adapters / "r1" / "adapter.gguf"
        file.parent.mkdir(parents=True)
        make_adapter(file, alpha=1.0)
        made = Adapter("r1", "rloo", "tiny", house.model_sha256(), None, 0.0, True, "better", "run", "data")
        house.store().adapters.add(made)

        def run(*args: str) -> Any:
            return CliRunner().invoke(app, ["adapters", "merge", "r1", *args], obj=house, prog_name="chatapp")

        out = tmp_path / "mine.gguf"
        done = run(str(out), "--json")
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        assert told["ok"] and told["kept"] > 0.9 and told["tokens"] > 500
        header = read_header(out)
        assert (header.kind, header.quantisation) == ("model", "Q8_0")
        assert header.parameters == read_header(base).parameters
        before = out.read_bytes()
        again = run(str(out))
        assert again.exit_code == 2 and "is there already" in again.stderr
        assert out.read_bytes() == before
        missing = run(str(tmp_path / "nowhere" / "m.gguf"))
        assert missing.exit_code == 1 and "there is no folder" in missing.stderr
        assert not (tmp_path / "nowhere").exists()
        unknown = run(str(tmp_path / "x.gguf"), "--quant", "Q9")
        assert unknown.exit_code == 1 and "Q4_K_M" in unknown.stderr
