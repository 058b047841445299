"""`chatapp doctor`."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest

from chatapp.core.errors import ModelError
from chatapp.core.types import Adapter
from chatapp.engine import probe
from chatapp.store.database import open_store
from tests.cli.conftest import Cli
from tests.cli.test_program import program


def test_doctor_tries_the_real_things(cli: Cli) -> None:
    cli.run("ask", "one")
    result = cli._invoke(("doctor", "--json"), None)
    said = json.loads(result.stdout)
    found = {each["name"]: each for each in said["checks"]}
    assert found["database"]["detail"].startswith("1 conversations, 0 rankings")
    assert found["engine"]["status"] == "ok"
    assert cli.engine.requests[-1].sampling.max_tokens == 1
    assert said["ok"] == all(each["status"] != "broken" for each in said["checks"])
    assert result.exit_code == (0 if said["ok"] else 1)


def test_doctor_names_the_adapter_in_use_and_tries_it(cli: Cli) -> None:
    assert (
        "ok     adapter: none, the model answers as it came; 0 in " in cli._invoke(("doctor",), None).stdout
    )
    made = Adapter("r1", "rloo", "guide", cli.house.model_sha256(), None, 0.0, True, "better", "run", "data")
    cli.house.store().adapters.add(made)
    cli.run("adapters", "use", "r1")
    assert "ok     adapter: r1; 1 in " in cli._invoke(("doctor",), None).stdout
    assert cli.engine.adapter is not None and cli.engine.adapter.name == "r1"
    cli.house.with_settings(adapter="r2")
    out = cli._invoke(("doctor",), None)
    assert out.exit_code == 1 and "BROKEN adapter: there is no adapter 'r2'" in out.stdout


def test_doctor_says_whether_training_is_there(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from chatapp.training import extra

    monkeypatch.setattr(extra, "_there", lambda name: name != "torch")
    out = cli._invoke(("doctor",), None).stdout
    assert "note   training: not installed: torch; the chat needs none of it" in out
    assert " -m pip install " in out and "trainings: " in out


def test_doctor_finds_an_engine_that_cannot(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ModelError("it will not load")

    monkeypatch.setattr(cli.engine, "load", refuse)
    out = cli._invoke(("doctor",), None)
    assert out.exit_code == 1
    assert "BROKEN engine: it will not load" in out.stdout


def test_doctor_finds_damage(cli: Cli) -> None:
    with open_store(cli.paths.database) as store:
        conversation = store.conversations.create("long").id
        for _ in range(100):
            store.conversations.add(conversation, None, "user", "words " * 300, "typed", activate=False)
    data = bytearray(cli.paths.database.read_bytes())
    assert len(data) > 100_000
    data[40_000:60_000] = b"\xff" * 20_000
    cli.paths.database.write_bytes(data)
    out = cli._invoke(("doctor",), None)
    assert out.exit_code == 1
    assert "BROKEN database: " in out.stdout


def test_doctor_finds_a_database_that_others_can_read(cli: Cli) -> None:
    cli.run("ask", "one")
    cli.paths.database.chmod(0o644)
    out = cli._invoke(("doctor",), None)
    assert "BROKEN privacy: others can open" in out.stdout


def test_doctor_says_how_to_build_llama_cpp_where_its_kernels_crash(cli: Cli) -> None:
    probe.remember(cli.paths.cache, "Q4_K_M", False, "the engine was killed (SIGSEGV)")
    out = cli._invoke(("doctor",), None).stdout
    assert "note   fast kernels, Q4_K_M: crash here and are off (the engine was killed (SIGSEGV))" in out
    assert "CMAKE_ARGS=" in out
    assert f"llama-cpp-python=={importlib.metadata.version('llama-cpp-python')}" in out


@pytest.mark.parametrize(
    ("home", "config", "environment", "broken"),
    [
        ("file/home", None, {}, {"config.toml", "database file", "database", "engine", "adapter"}),
        ("home", "n_ctx = [", {}, {"config.toml"}),
        ("home", b"\xff\xfe", {}, {"config.toml"}),
        ("home", None, {"CHATAPP_THREADS": "x"}, {"environment"}),
    ],
)
def test_doctor_looks_at_everything_where_something_is_broken(
    tmp_path: Path,
    home: str,
    config: str | bytes | None,
    environment: dict[str, str],
    broken: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").touch()
    if config is not None:
        (tmp_path / home / "config").mkdir(parents=True)
        text = config if isinstance(config, bytes) else config.encode()
        (tmp_path / home / "config" / "config.toml").write_bytes(text)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = program(tmp_path / home, "doctor", "--json")
    found = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1 and done.stderr == ""
    assert broken <= {name for name, each in found.items() if each["status"] == "broken"}
    assert found["model"]["status"] == "ok"
    if "engine" not in broken:
        assert found["engine"]["status"] == found["database"]["status"] == "ok"
    shown = program(tmp_path / home, "doctor").stdout
    assert all(f"BROKEN {name}: " in shown for name in broken)


def test_doctor_goes_on_after_what_nobody_foresaw(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("surprise")

    monkeypatch.setattr("chatapp.store.database.Store.integrity", lambda store: fail())
    out = cli._invoke(("doctor",), None).stdout
    assert "BROKEN database: RuntimeError: surprise" in out and "ok     model: guide" in out


def test_doctor_says_that_there_is_no_such_theme(cli: Cli) -> None:
    assert "theme" not in cli._invoke(("doctor",), None).stdout
    cli.house.with_settings(theme="pink")
    assert "note   theme: no theme 'pink'\n" in cli._invoke(("doctor",), None).stdout
