"""`chatapp ask`."""

from __future__ import annotations

import pytest

from chatapp.core.types import Turn
from chatapp.engine.scripted import ScriptedEngine
from chatapp.store.database import open_store
from tests.cli.conftest import Cli


def scripted(cli: Cli, *replies: str) -> None:
    cli.engine = ScriptedEngine(replies, pace=0)


def test_one_reply_comes_to_standard_output_and_is_stored(cli: Cli) -> None:
    scripted(cli, "Hello yourself.")
    assert cli.run("ask", "Hello") == "Hello yourself.\n"
    with open_store(cli.paths.database) as store:
        assert [each.text for each in store.conversations.path(1)] == ["Hello", "Hello yourself."]


def test_the_json_shape(cli: Cli) -> None:
    scripted(cli, "one two three")
    said = cli.json("ask", "Count", "--seed", "5", "--max-tokens", "2")
    assert (said["conversation"], said["prompt"], said["model"], said["adapter"]) == (1, 1, "guide", None)
    (reply,) = said["replies"]
    assert reply["text"] == "one two "
    assert (reply["id"], reply["finish_reason"], reply["completion_tokens"], reply["seed"]) == (
        2,
        "length",
        2,
        5,
    )
    assert reply["prompt_tokens"] > 0
    assert reply["seconds"] >= reply["first_token_seconds"] >= 0


def test_four_alternatives_differ_and_the_seed_repeats_them(cli: Cli) -> None:
    scripted(cli, "a", "A ", "b", "", "c", "d", "e")
    first = cli.json("ask", "-n", "4", "--seed", "7", "A letter")
    again = cli.json("ask", "-n", "4", "--seed", "7", "A letter")
    texts = [each["text"] for each in first["replies"]]
    assert len({text.strip().casefold() for text in texts}) == 4
    assert [each["text"] for each in again["replies"]] == texts
    assert again["conversation"] != first["conversation"]
    # Each reply says the seed that gives it again.
    for each in first["replies"]:
        (alone,) = cli.json("ask", "--seed", str(each["seed"]), "A letter")["replies"]
        assert alone["text"] == each["text"]


def test_alternatives_are_numbered_and_the_first_is_shown(cli: Cli) -> None:
    scripted(cli, "left", "right")
    out = cli.run("ask", "-n", "2", "--seed", "0", "Where?")
    assert out == "1. (message 2)\nleft\n\n2. (message 3)\nright\n\n"
    with open_store(cli.paths.database) as store:
        assert store.conversations.path(1)[-1].text == "left"


def test_fewer_different_replies_than_asked_for_is_said(cli: Cli) -> None:
    scripted(cli, "Yes.")
    assert len(cli.json("ask", "-n", "3", "Well?")["replies"]) == 1
    assert "1 of 3" in cli.notes


def test_piped_input_stands_before_the_text(cli: Cli) -> None:
    cli.run("ask", "Sum this up", input="some notes\n")
    assert list(cli.engine.requests[-1].turns) == [Turn("user", "some notes\n\nSum this up")]


def test_piped_input_alone_is_enough(cli: Cli) -> None:
    cli.run("ask", input="some notes\n")
    assert cli.engine.requests[-1].turns[-1].text == "some notes"


def test_nothing_to_ask_is_wrong_usage(cli: Cli) -> None:
    error = cli.fails("ask", code=2, input="")
    assert error.startswith("error: there is nothing to ask\nhint: ")


def test_continue_takes_the_last_conversation_or_the_one_named(cli: Cli) -> None:
    scripted(cli, "fine")
    cli.run("ask", "one")
    cli.run("ask", "two")
    cli.run("ask", "-c", "three")
    assert [each.text for each in cli.engine.requests[-1].turns] == ["two", "fine", "three"]
    cli.run("ask", "--continue", "1", "four")
    assert [each.text for each in cli.engine.requests[-1].turns] == ["one", "fine", "four"]
    assert "no conversation 9" in cli.fails("ask", "-c", "9", "five")
    cli.run("ask", "-c", "2", "-s", "Be brief.", "six")
    assert cli.engine.requests[-1].turns[0] == Turn("system", "Be brief.")


def test_flags_reach_the_engine(cli: Cli) -> None:
    cli.run(
        *("ask", "Hi", "--seed", "3", "--temperature", "0.2", "--top-p", "0.5", "--top-k", "7"),
        *("--min-p", "0.1", "--max-tokens", "9", "-s", "Be brief."),
    )
    request = cli.engine.requests[-1]
    sampling = request.sampling
    assert (sampling.seed, sampling.temperature, sampling.top_p) == (3, 0.2, 0.5)
    assert (sampling.top_k, sampling.min_p, sampling.max_tokens) == (7, 0.1, 9)
    assert request.turns[0] == Turn("system", "Be brief.")


@pytest.mark.parametrize(
    "wrong",
    [
        ["--temperature", "-1"],
        ["--temperature", "nan"],
        ["--top-p", "2"],
        ["--top-k", str(2**63)],
        ["--max-tokens", "9" * 20],
        ["-n", "0"],
        ["--seed", "x"],
        ["--seed", str(2**32)],
    ],
)
def test_values_out_of_range_are_wrong_usage(cli: Cli, wrong: list[str]) -> None:
    assert wrong[0] in cli.fails("ask", "Hi", *wrong, code=2)
    assert cli.json("history", "list") == []


def test_a_seed_that_was_reported_gives_the_reply_again(cli: Cli) -> None:
    cli.engine = ScriptedEngine(lambda request, lane, seed: f"reply {seed}", pace=0)
    replies = cli.json("ask", "-n", "3", "--seed", str(2**31 - 1), "Hi")["replies"]
    assert max(each["seed"] for each in replies) > 2**31 - 1
    for each in replies:
        assert cli.json("ask", "--seed", str(each["seed"]), "Hi")["replies"][0]["text"] == each["text"]


def test_numbers_that_nothing_could_mean_are_wrong_usage(cli: Cli) -> None:
    for args in (
        ("bench", "--seconds", "inf"),
        ("bench", "--seconds", "nan"),
        ("train", "--max-minutes", "nan"),
        ("history", "list", "--limit", "1" + "0" * 20),
        ("history", "search", "x", "--limit", "1" + "0" * 20),
    ):
        error = cli.fails(*args, code=2)
        assert args[-2] in error and "to be an id" not in error


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("Look:\n\n```python\nprint(1)\n```\nand\n```\nno\n```", "print(1)\n"),
        ("~~~~\n```\nkept\n```\n~~~~\n", "```\nkept\n```\n"),
        ("```\nnever closed", "never closed\n"),
    ],
)
def test_extract_prints_the_first_code_block_alone(cli: Cli, reply: str, code: str) -> None:
    scripted(cli, reply)
    assert cli.run("ask", "-x", "Code, please") == code


def test_extract_without_a_code_block_fails(cli: Cli) -> None:
    scripted(cli, "No code today.")
    assert "no code block" in cli.fails("ask", "-x", "Code, please")


def test_no_save_keeps_nothing(cli: Cli) -> None:
    said = cli.json("ask", "--no-save", "A secret")
    assert said["conversation"] is None
    assert said["replies"][0]["id"] is None
    assert said["replies"][0]["text"]
    assert cli.json("history", "list") == []


def test_no_save_can_go_on_with_a_stored_conversation(cli: Cli) -> None:
    scripted(cli, "fine")
    cli.run("ask", "one")
    cli.run("ask", "--no-save", "-c", "a secret")
    assert [each.text for each in cli.engine.requests[-1].turns] == ["one", "fine", "a secret"]
    assert [each["text"] for each in cli.json("history", "show", "1")["messages"]] == ["one", "fine"]


def test_control_characters_never_reach_the_terminal(cli: Cli) -> None:
    scripted(cli, "\x1b]52;c;aGk=\x07 \x9b2J red")
    out = cli.run("ask", "Hi")
    assert "\x1b" not in out and "\x9b" not in out and "\x07" not in out
    assert "red" in out
    raw = cli.run("ask", "Hi", "--json")
    assert "\x1b" not in raw and "\x9b" not in raw
    assert "\x1b" in cli.json("ask", "Hi")["replies"][0]["text"]


def test_a_dying_engine_is_one_line_and_a_hint(cli: Cli) -> None:
    cli.engine.fail_after(2)
    error = cli.fails("ask", "Hi there")
    assert [line.split(":")[0] for line in error.splitlines()] == ["error", "hint"]
    messages = cli.json("history", "show", "last")["messages"]
    assert (messages[0]["text"], messages[1]["finish_reason"]) == ("Hi there", "error")


@pytest.mark.parametrize("args", [("--debug", "ask", "Hi"), ("ask", "Hi", "--debug")])
def test_debug_shows_where(cli: Cli, args: tuple[str, ...]) -> None:
    cli.engine.fail_after(0)
    assert type(cli._invoke(args, None).exception).__name__ == "EngineDied"
    cli.run("ask", "--", "--debug")
    assert cli.engine.requests[-1].turns[-1].text == "--debug"


def test_demo_touches_nothing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from chatapp.cli.app import app

    monkeypatch.setenv("CHATAPP_HOME", str(cli.home))
    result = CliRunner().invoke(app, ["ask", "--demo", "hello"])
    assert result.exit_code == 0
    assert result.stdout.strip()
    assert not cli.home.exists()


def test_a_mistyped_id_is_no_text(cli: Cli) -> None:
    cli.run("ask", "one")
    assert "'99x' is not an id" in cli.fails("ask", "-c", "99x", "hello", code=2)
    assert len(cli.json("history", "show", "1")["messages"]) == 2
    cli.run("ask", "-c", "3 dogs?")
    cli.run("ask", "-c", "last", "99x", "hello")
    assert cli.engine.requests[-1].turns[-1].text == "99x hello"
    cli.run("ask", "--", "-c", "99x")
    assert cli.engine.requests[-1].turns[-1].text == "-c 99x"


def test_nothing_is_added_to_a_deleted_conversation(cli: Cli) -> None:
    scripted(cli, "a", "b")
    cli.run("ask", "-n", "2", "one")
    cli.run("history", "delete", "1")
    error = cli.fails("ask", "-c", "1", "two")
    assert error == "error: conversation 1 was deleted\nhint: bring it back: `chatapp history restore 1`\n"
    for order in (("--order", "2>3"), ("--all-bad",)):
        assert "conversation 1 was deleted" in cli.fails("rankings", "add", "--prompt", "1", *order)
    assert [each["text"] for each in cli.json("history", "show", "1")["messages"]] == ["one", "a", "b"]
    cli.run("history", "restore", "1")
    cli.run("rankings", "add", "--prompt", "1", "--order", "2>3")
    cli.run("ask", "-c", "1", "two")


def test_what_can_never_be_sent_is_not_stored(cli: Cli) -> None:
    scripted(cli, "fine")
    cli.run("ask", "one")
    n_ctx = cli.engine.load(cli.house.spec()).n_ctx
    for args in (("ask",), ("ask", "-c", "1"), ("ask", "--no-save")):
        error = cli.fails(*args, input="word " * n_ctx)
        assert f"error: the message takes {n_ctx + 3} tokens, and the context holds {n_ctx}" in error
        assert f", of which at most {n_ctx - 512} are free for the prompt\nhint: " in error
        assert "16 MiB were piped in" in cli.fails(*args, input="word " * (4 << 20))
    assert [each["messages"] for each in cli.json("history", "list")] == [2]
    cli.run("ask", "--max-tokens", "1", input="word " * (n_ctx - 4))


def test_a_message_that_leaves_no_room_for_its_replies_is_not_stored(cli: Cli) -> None:
    scripted(cli, "left", "right")
    n_ctx = cli.engine.load(cli.house.spec()).n_ctx
    words = "word " * (n_ctx - 515)
    error = cli.fails("ask", "-s", "Be brief.", input=words)
    assert f"error: the message takes {n_ctx - 507} tokens" in error and "--max-tokens 507, " in error
    error = cli.fails("ask", "-n", "2", input=words)
    assert f"at most {n_ctx - 1024} are free for the prompt" in error and "--max-tokens 256, " in error
    assert cli.json("history", "list") == []
    cli.run("ask", input=words)
    assert [each["messages"] for each in cli.json("history", "list")] == [2]
    # Turns before it would be dropped, the system prompt would not.
    cli.run("ask", "-c", input=words)
    assert "error: the message takes" in cli.fails("ask", "-c", "-s", "Be brief.", input=words)
    assert [each["messages"] for each in cli.json("history", "list")] == [4]


def test_what_is_not_saved_has_no_ids(cli: Cli) -> None:
    scripted(cli, "left", "right")
    cli.run("ask", "one")
    for flag in ("--no-save", "--demo"):
        assert cli.run("ask", flag, "-n", "2", "--seed", "0", "Where?") == "1.\nleft\n\n2.\nright\n\n"
        said = cli.json("ask", flag, "Where?")
        assert (said["conversation"], said["prompt"], said["replies"][0]["id"]) == (None, None, None)
