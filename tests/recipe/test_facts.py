"""The fact sheet agrees with itself and with the program."""

from __future__ import annotations

import re

import pytest

yaml = pytest.importorskip("yaml")

from .conftest import RECIPE  # noqa: E402

FACTS = yaml.safe_load((RECIPE / "facts.yml").read_text())
SAID = " ".join(answer for fact in FACTS for answer in fact["say"])
KEYS = ["Enter"]
KEYS += ["Shift+Enter", "Ctrl+J", "Alt+Enter", "Esc", "Ctrl+C", "Ctrl+Q", "Ctrl+N", "Ctrl+S", "Ctrl+P"]
KEYS += [
    "Ctrl+O",
    "F1",
    "F2",
    "Ctrl+R",
    "Ctrl+T",
    "Up",
    "Left",
    "Right",
    "Backspace",
    "= ",
    "x ",
    "press u",
    "press e",
]
ROOMS = {
    "history": ["list", "show", "search", "delete", "export", "import", "backup", "path"],
    "rankings": ["list", "show", "add", "undo", "export", "import", "stats"],
    "models": ["list", "info", "add", "use"],
    "adapters": ["list", "use", "off", "rollback"],
}
COMMANDS = [f"chatapp {room} {verb}" for room, verbs in ROOMS.items() for verb in verbs]
COMMANDS += ["chatapp rank", "chatapp train", "chatapp doctor", "chatapp bench", "chatapp ask"]
COMMANDS += ["--resume last"]
COMMANDS += ["--demo", "--model", "--adapter", "--system", "--json", "--seed", "--temperature", "chatapp.db"]
COMMANDS += ["config.toml", "CHATAPP_HOME", "make chat", "make test"]


def test_each_fact_has_its_parts() -> None:
    for fact in FACTS:
        assert set(fact) <= {"id", "say", "expect", "do", "get", "key", "ask"}, fact["id"]
        assert fact["say"] and fact["expect"], fact["id"]
        assert any(fact.get(kind) for kind in ("do", "get", "key", "ask")), fact["id"]
    assert len({fact["id"] for fact in FACTS}) == len(FACTS)


def test_each_answer_passes_its_own_patterns() -> None:
    for fact in FACTS:
        for answer in fact["say"]:
            assert any(re.search(p, answer, re.I) for p in fact["expect"]), (fact["id"], answer)


@pytest.mark.parametrize("name", [*KEYS, *COMMANDS])
def test_key_command_or_place_is_known(name: str) -> None:
    assert name in SAID


def test_the_slash_commands_it_names_are_the_programs() -> None:
    from chatapp.tui import commands

    names = {c.name for c in commands.COMMANDS if c.name}
    known = set(re.findall(r"/(\w+)", next(f for f in FACTS if f["id"] == "slash")["say"][0]))
    assert known == names


def test_every_key_it_names_is_the_programs() -> None:
    from chatapp.tui import commands

    keys = {command.key for command in commands.COMMANDS if command.key.startswith("^")}
    assert all(f"Ctrl+{key[1:].upper()}" in SAID for key in keys), keys


@pytest.mark.parametrize(
    "name",
    [
        "situations.yml",
        *sorted(
            f"{p.parent.name}/{p.name}"
            for folder in ("asked", "follow", "doubted")
            for p in (RECIPE / folder).iterdir()
        ),
    ],
)
def test_questions_belong_to_facts(name: str) -> None:
    more = yaml.safe_load((RECIPE / name).read_text())
    assert set(more) <= {fact["id"] for fact in FACTS}


def test_questions_lean_on_facts() -> None:
    ids = {fact["id"] for fact in FACTS}
    for path in (RECIPE / "follow").iterdir():
        for entries in yaml.safe_load(path.read_text()).values():
            assert all(set(entry["after"]) <= ids and entry["ask"] for entry in entries)
