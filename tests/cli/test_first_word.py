"""The first word: a command, a typo of one, or a message that opens the chat."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from chatapp.cli.app import app
from chatapp.cli.arguments import with_optional_value
from chatapp.session.wiring import House
from tests.cli.conftest import Cli


@pytest.mark.parametrize("typo", ["hisotry", "modles", "rankngs", "docter"])
def test_a_typo_of_a_command_is_no_message(cli: Cli, typo: str) -> None:
    error = cli.fails(typo, code=2)
    assert "did you mean" in error
    assert len(error.splitlines()) == 2


@pytest.mark.parametrize("args", [["hello"], ["hello", "there"], ["--", "history"], ["history of tea"], []])
def test_other_words_open_the_chat_which_needs_a_terminal(cli: Cli, args: list[str]) -> None:
    assert cli.fails(*args).startswith("error: the chat needs a terminal\nhint: ")


def test_the_chat_gets_its_first_message_and_flags(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import chatapp.cli.app
    import chatapp.tui.app

    opened: list[Any] = []

    class Screen:
        return_code = 0

        def __init__(self, house: Any, **more: Any) -> None:
            opened.append((house.settings.model, house.settings.system, more))

        def run(self) -> None:
            pass

    monkeypatch.setattr(chatapp.tui.app, "ChatApp", Screen)
    monkeypatch.setattr(chatapp.cli.app, "is_terminal", lambda: True)
    cli.run("What", "now", "-m", "other", "--system", "Be brief.")
    cli.run("ask", "stored")
    cli.run("--resume", "last", "go on")
    cli.run("--resume", "1")
    cli.run("--resume", "last", "hello")
    cli.run("--resume", "hello there")
    cli.run("--resume", "hello", "there")
    cli.run("--", "--help")
    assert opened == [
        ("other", "Be brief.", {"first_message": "What now", "resume": None}),
        ("guide", "", {"first_message": "go on", "resume": 1}),
        ("guide", "", {"first_message": None, "resume": 1}),
        ("guide", "", {"first_message": "hello", "resume": 1}),
        ("guide", "", {"first_message": "hello there", "resume": 1}),
        ("guide", "", {"first_message": "hello there", "resume": 1}),
        ("guide", "", {"first_message": "--help", "resume": None}),
    ]
    assert "no conversation 8" in cli.fails("--resume", "8")
    assert "to send it as a message: chatapp --resume last abc" in cli.fails("--resume", "abc", code=2)
    cli.run("history", "delete", "1")
    assert "conversation 1 was deleted\nhint: bring it back: `chatapp history restore 1`" in cli.fails(
        "--resume", "1"
    )
    assert len(opened) == 7


def test_an_id_after_resume_is_no_message(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    monkeypatch.setattr("chatapp.cli.app.is_terminal", lambda: True)
    monkeypatch.setattr("chatapp.tui.app.ChatApp.run", lambda app: opened.append(app._first_message))
    cli.run("ask", "stored")
    cli.run("--resume", "last", "last")
    cli.run("--resume", "1", "1")
    assert opened == ["last", "1"]


@pytest.mark.parametrize(("flag", "gone"), [("-m", "model"), ("-a", "adapter")])
def test_the_chat_opens_with_what_was_asked_for(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, flag: str, gone: str
) -> None:
    opened: list[Any] = []
    monkeypatch.setattr("chatapp.cli.app.is_terminal", lambda: True)
    monkeypatch.setattr("chatapp.tui.app.ChatApp.run", lambda app: opened.append(app))
    for text in ([], ["What is this?"]):
        with House(cli.paths, cli.house.settings) as house:
            result = CliRunner().invoke(app, [flag, "r9", *text], obj=house)
        assert (result.exit_code, result.stderr.count("\n"), opened) == (1, 2, [])
        assert f"no {gone} 'r9'\nhint: " in result.stderr
    with House(cli.paths, replace(cli.house.settings, **{gone: "r9"})) as house:
        assert CliRunner().invoke(app, [], obj=house).exit_code == 0  # the conversations are there to be read
    assert len(opened) == 1


def test_options_with_and_without_a_value() -> None:
    names = frozenset({"-c", "--continue"})
    for given, filled in [
        (["-c"], ["-c", "last"]),
        (["-c", "12", "x"], ["-c", "12", "x"]),
        (["-c", "text"], ["-c", "last", "text"]),
        (["--continue", "last"], ["--continue", "last"]),
        (["--", "-c"], ["--", "-c"]),
    ]:
        assert with_optional_value(given, names, "last") == filled


def test_rank_needs_a_terminal_and_something_to_rank(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.fails("rank").startswith("error: ranking needs a terminal\nhint: ")
    monkeypatch.setattr("chatapp.cli.rank.is_terminal", lambda: True)
    assert "nothing left to rank" in cli.fails("rank", "-k", "3")
    cli.fails("rank", "--pick", "nonsense", code=2)


@pytest.mark.parametrize("gone", ["model", "adapter"])
def test_rank_samples_from_nothing_else(cli: Cli, monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    cli.run("ask", "Well?")
    monkeypatch.setattr("chatapp.cli.rank.is_terminal", lambda: True)
    monkeypatch.setattr("chatapp.tui.app.ChatApp.run", lambda _: None)
    cli.run("rank")
    with House(cli.paths, replace(cli.house.settings, **{gone: "r9"})) as house:
        result = CliRunner().invoke(app, ["rank"], obj=house)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 2)
    assert f"no {gone} 'r9'\nhint: " in result.stderr


@pytest.mark.parametrize("flag", [("-m", "other"), ("-a", "r1"), ("-s", "Be brief."), ("--resume", "last")])
def test_a_flag_of_the_chat_before_a_command_is_not_dropped_silently(cli: Cli, flag: tuple[str, str]) -> None:
    error = cli.fails(*flag, "ask", "hello", code=2)
    assert "before ask would do nothing\nhint: put it behind: see `chatapp ask --help`" in error
    assert not cli.engine.requests
