"""Reading preference files: every format, and every way in which a line can be wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatapp.core.errors import FormatError
from chatapp.core.types import Group, GroupReply, Turn
from chatapp.preferences.formats import reader
from chatapp.preferences.formats.load import FORMATS, load
from tests.preferences.groups import JSON

U, A = "user", "assistant"


def user(text: str) -> dict[str, str]:
    return {"role": U, "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": A, "content": text}


def pair(prompt: tuple[Turn, ...], better: str, worse: str) -> Group:
    return Group(prompt, (GroupReply(better), GroupReply(worse)), ((0,), (1,)))


def thumb(prompt: tuple[Turn, ...], text: str, value: int) -> Group:
    return Group(prompt, (GroupReply(text, thumb=value),))  # type: ignore[arg-type]


def lines(tmp_path: Path, *rows: Any) -> Path:
    file = tmp_path / "file.jsonl"
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return file


Q = (Turn("user", "Sky?"),)
TALK = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Sky?\n\nAssistant:"
TWICE = "\n\nHuman: a\n\nHuman: b\n\nAssistant: "
TALKED = (Turn("user", "Hi"), Turn("assistant", "Hello"), Turn("user", "Sky?"))


@pytest.mark.parametrize(
    ("format", "row", "groups"),
    [
        (
            "trl-preference",
            {"prompt": [user("Sky?")], "chosen": [assistant("Blue.")], "rejected": [assistant("Green.")]},
            [pair(Q, "Blue.", "Green.")],
        ),
        (
            "trl-preference",
            {"chosen": [user("Sky?"), assistant("Blue.")], "rejected": [user("Sky?"), assistant("Green.")]},
            [pair(Q, "Blue.", "Green.")],
        ),
        (
            "trl-preference",
            {"prompt": "Sky?", "chosen": "Blue.", "rejected": "Green.", "score_chosen": 9},
            [pair(Q, "Blue.", "Green.")],
        ),
        (
            "trl-preference",
            {"chosen": "The sky is blue.", "rejected": "The sky is green."},
            [pair((Turn("user", "The sky is"),), " blue.", " green.")],
        ),
        (
            "trl-preference",
            {
                "prompt": [{"role": "user", "content": [{"type": "text", "text": "Sky?"}]}],
                "chosen": [assistant("Blue.")],
                "rejected": [assistant("\ud800")],
            },
            [pair(Q, "Blue.", "\ufffd")],
        ),
        (
            "trl-unpaired",
            {"prompt": [user("Sky?")], "completion": [assistant("Blue.")], "label": True},
            [thumb(Q, "Blue.", 1)],
        ),
        (
            "trl-unpaired",
            {"prompt": "Sky?", "completion": "Green.", "label": False},
            [thumb(Q, "Green.", -1)],
        ),
        (
            "trl-sft",
            {"prompt": "Sky?", "completion": "Blue."},
            [Group(Q, (GroupReply("Blue."),), demonstration=0)],
        ),
        (
            "hh-rlhf",
            {"chosen": TALK + " Blue.", "rejected": TALK + " Green."},
            [pair(TALKED, "Blue.", "Green.")],
        ),
        (
            "hh-rlhf",
            {
                "chosen": "\n\nHuman: a\n\nHuman: b\n\nAssistant: c",
                "rejected": "\n\nHuman: a\n\nHuman: b\n\nAssistant: ",
            },
            [pair((Turn("user", "a\n\nb"),), "c", "")],
        ),
        (
            "taskmaster",
            {
                "context": json.dumps(
                    [
                        {"role": "agent", "text": "Hello."},
                        {"role": "user", "text": "Tea"},
                        {"role": "agent", "text": "Let me see."},
                        {"role": "agent", "api": {"menu": {"query": "tea"}}},
                        {"role": "api", "response": {"menu": {"items": ["té"]}}},
                    ]
                ),
                "generation": json.dumps({"role": "agent", "text": "Here."}),
                "reward": 1.0,
            },
            [
                thumb(
                    (
                        Turn("assistant", "Hello."),
                        Turn("user", "Tea"),
                        Turn("assistant", 'Let me see.\n{"menu":{"query":"tea"}}'),
                        Turn("user", '{"menu":{"items":["té"]}}'),
                    ),
                    "Here.",
                    1,
                )
            ],
        ),
        (
            "taskmaster",
            {
                "context": '[{"role": "user", "text": "Tea"}]',
                "generation": '{"role": "agent", "api": {"menu": {}}}',
                "reward": 0.0,
            },
            [thumb((Turn("user", "Tea"),), '{"menu":{}}', -1)],
        ),
    ],
)
def test_reads(tmp_path: Path, format: str, row: dict[str, Any], groups: list[Group]) -> None:
    for asked in (format, "auto"):
        loaded = load(lines(tmp_path, row), asked)
        assert (loaded.format, loaded.groups, loaded.malformed) == (format, groups, [])


def node(text: str, role: str, rank: int | None, *replies: Any, **more: Any) -> dict[str, Any]:
    return {"text": text, "role": role, "rank": rank, "replies": list(replies), **more}


def test_reads_a_tree(tmp_path: Path) -> None:
    tree = node(
        "q", "prompter", None,
        node("a", "assistant", 1, node("q2", "prompter", 0, node("only", "assistant", 0))),
        node(
            "b", "assistant", 0,
            node("q3", "prompter", None, node("c", "assistant", 0), node("d", "assistant", 0)),
        ),
        node("e", "assistant", 1),
        node("f", "assistant", None),
        node("g", "assistant", 2, deleted=True),
    )  # fmt: skip
    loaded = load(lines(tmp_path, {"message_tree_id": "x", "prompt": tree}))
    assert loaded.format == "oasst"
    q = (Turn("user", "q"),)
    assert loaded.groups == [
        Group(q, tuple(GroupReply(text) for text in "abef"), ((1,), (0, 2))),
        Group(
            (*q, Turn("assistant", "b"), Turn("user", "q3")), (GroupReply("c"), GroupReply("d")), ((0, 1),)
        ),
    ]


@pytest.mark.parametrize(
    ("format", "row", "reason"),
    [
        ("trl-preference", "{", "not JSON: Expecting property name"),
        ("trl-preference", "[1]", "not a JSON object"),
        ("trl-preference", "[" * 100_000, "RecursionError"),
        ("trl-preference", '{"a": ' + "9" * 5000 + "}", "ValueError"),
        ("trl-preference", {"prompt": "q", "chosen": "a"}, "rejected is not text"),
        ("trl-preference", {"prompt": "q", "chosen": "a", "rejected": "a"}, "the same"),
        ("trl-preference", {"prompt": " ", "chosen": "a", "rejected": "b"}, "prompt is empty"),
        ("trl-preference", {"chosen": "a", "rejected": "b"}, "prompt is empty"),
        (
            "trl-preference",
            {"prompt": [], "chosen": [assistant("a")], "rejected": [assistant("b")]},
            "is empty",
        ),
        (
            "trl-preference",
            {"prompt": [user("q")], "chosen": [assistant("a"), user("b")], "rejected": [assistant("b")]},
            "chosen has 2 turns after the prompt",
        ),
        (
            "trl-preference",
            {"prompt": [user("q")], "chosen": [user("a")], "rejected": [assistant("b")]},
            "not of the assistant",
        ),
        (
            "trl-preference",
            {"prompt": [{"role": "tool", "content": ""}], "chosen": [], "rejected": []},
            "role 'tool'",
        ),
        (
            "trl-preference",
            {"prompt": [{"role": U, "content": [{"type": "image"}]}], "chosen": [], "rejected": []},
            "other than text",
        ),
        ("trl-unpaired", {"prompt": "q", "completion": "a", "label": "good"}, "neither true nor false"),
        ("hh-rlhf", {"chosen": "Hi", "rejected": "Ho"}, "does not begin"),
        ("hh-rlhf", {"chosen": TALK + " a", "rejected": TALK + " b\n\nHuman: c"}, "does not end"),
        ("hh-rlhf", {"chosen": TALK + " a", "rejected": TALK.replace("Hi", "Ho") + " b"}, "part before"),
        ("hh-rlhf", {"chosen": "\n\nAssistant: a", "rejected": "\n\nAssistant: b"}, "prompt is empty"),
        ("hh-rlhf", {"chosen": TALK + " a", "rejected": TALK + " a"}, "the same"),
        ("taskmaster", {"context": "[]", "generation": "{}", "reward": 1}, "context is empty"),
        ("taskmaster", {"context": "[", "generation": "{}", "reward": 1}, "context is not JSON"),
        (
            "taskmaster",
            {
                "context": [{"role": "user", "text": "a"}],
                "generation": {"role": "agent", "text": "b"},
                "reward": 0.5,
            },
            "neither 0 nor 1",
        ),
        ("oasst", {"prompt": node("q", "robot", None)}, "role 'robot'"),
        (
            "oasst",
            {"prompt": node("q", "prompter", None, node("a", "assistant", "1"))},  # type: ignore[arg-type]
            "not a whole number",
        ),
        ("rankings", {"prompt": [user("q")], "replies": []}, "is empty"),
        ("rankings", {"prompt": [user("q")], "replies": [{"text": "a"}], "tiers": [[1]]}, "no reply has"),
        (
            "rankings",
            {"prompt": [user("q")], "replies": [{"text": "a"}], "tiers": [[0], [0]]},
            "stands in two",
        ),
        (
            "rankings",
            {"prompt": [user("q")], "replies": [{"text": "a"}], "tiers": [[0]], "all_bad": True},
            "contrad",
        ),
        ("rankings", {"prompt": [user("q")], "replies": [{"text": "a", "origin": "?"}]}, "origin '?'"),
        ("rankings", {"prompt": [user("q")], "replies": [{"text": "a"}], "milliseconds": 2**63}, "large"),
        ("rankings", {"prompt": [user("q")], "replies": [{"text": "a"}], "milliseconds": -1}, "negative"),
    ],
)
def test_a_malformed_line_is_named_and_skipped(tmp_path: Path, format: str, row: Any, reason: str) -> None:
    fine = {
        "trl-unpaired": {"prompt": "q", "completion": "a", "label": True},
        "hh-rlhf": {"chosen": TALK + " a", "rejected": TALK + " b"},
        "taskmaster": {
            "context": [{"role": "user", "text": "a"}],
            "generation": {"role": "agent", "text": "b"},
            "reward": 0,
        },
        "oasst": {
            "prompt": node("q", "prompter", None, node("a", "assistant", 0), node("b", "assistant", 1)),
        },
        "rankings": {"prompt": [user("q")], "replies": [{"text": "a"}], "tiers": [[0]]},
    }.get(format, {"prompt": "q", "chosen": "a", "rejected": "b"})
    loaded = load(lines(tmp_path, fine, "", row, fine), format)
    assert len(loaded.groups) == 2
    assert loaded.rows == 3
    (malformed,) = loaded.malformed
    assert malformed.line == 3
    assert reason in malformed.reason
    assert str(malformed).startswith("line 3: ")


PAIR = '{"prompt": "q", "chosen": "caf\xe9", "rejected": "b"}'


def test_what_is_no_file_of_rows_is_one_error(tmp_path: Path) -> None:
    for name, content, why in (
        ("array.json", b'[\n {"prompt": "q"}\n]', "one JSON array"),
        ("line.json", b'[{"prompt": "q", "chosen": "a", "rejected": "b"}]', "one JSON array"),
        ("parquet.parquet", b"PAR1....", "Parquet"),
        ("other.jsonl", b'{"a": 1}\n' * 30, "cannot tell"),
        ("mixed.jsonl", b'not json\n{"a": 1}\n', "cannot tell"),
        ("latin.jsonl", PAIR.encode("latin-1"), "nothing in latin.jsonl can be read: line 1: not UTF-8"),
        ("wide.jsonl", PAIR.encode("utf-16"), "nothing in wide.jsonl can be read: line 1: not UTF-8"),
        ("mac.jsonl", f"{PAIR}\r{PAIR}".encode(), "nothing in mac.jsonl can be read: line 1: not JSON"),
        ("text.jsonl", b"not json\n" * 30, "none of the first 20 lines in text.jsonl can be read: line 1"),
        ("empty.jsonl", b"", "empty.jsonl is empty"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError, match=why):
            load(tmp_path / name)
    with pytest.raises(FormatError, match="cannot read"):
        load(tmp_path / "absent.jsonl")
    with pytest.raises(FormatError, match="cannot read"):
        load(tmp_path)
    with pytest.raises(FormatError, match="unknown format"):
        load(tmp_path / "empty.jsonl", "xml")


def test_gzip_with_any_name_and_a_byte_order_mark(tmp_path: Path) -> None:
    row = json.dumps({"prompt": "q", "chosen": "a", "rejected": "b"}).encode()
    file = tmp_path / "anything"
    file.write_bytes(gzip.compress(b"\xef\xbb\xbf" + row + b"\r\n" + row))
    assert len(load(file).groups) == 2


def test_damaged_gzip_keeps_what_came_before(tmp_path: Path) -> None:
    row = json.dumps({"prompt": "q", "chosen": "a", "rejected": "b"}).encode() + b"\n"
    packed = gzip.compress(row * 20_000, compresslevel=0)
    file = tmp_path / "cut.jsonl.gz"
    file.write_bytes(packed[: len(packed) // 2])
    loaded = load(file)
    assert len(loaded.groups) > 1000
    assert "damaged" in loaded.malformed[-1].reason
    assert loaded.malformed[-1].line == loaded.rows


def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path) -> None:
    file = lines(tmp_path, {"a": 1}, {"b": "x" * 1000}, {"c": 3})
    found = list(reader.read_rows(file, longest_line=100))
    assert found == [(1, {"a": 1}), (2, reader.Malformed(2, "longer than 100 bytes")), (3, {"c": 3})]


def test_a_file_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bomb.gz"
    file.write_bytes(gzip.compress(b"x" * 10**6))
    with pytest.raises(FormatError, match="more than"):
        list(reader.read_rows(file, longest_line=1000, largest_file=10**5))


in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@in_one_folder
@given(st.binary(max_size=200), st.sampled_from(["auto", *FORMATS]))
def test_any_bytes(tmp_path: Path, content: bytes, format: str) -> None:
    file = tmp_path / "any"
    file.write_bytes(content)
    try:
        loaded = load(file, format)
    except FormatError:
        return
    assert len(loaded.groups) + len(loaded.malformed) <= loaded.rows * 2


KEYS = [  # all that any format reads
    "prompt", "chosen", "rejected", "completion", "label", "context", "generation", "reward", "replies",
    "tiers", "all_bad", "demonstration", "tags", "milliseconds", "created", "source", "text", "role", "rank",
    "content", "origin", "thumb", "model", "api", "response", "deleted", "type",
]  # fmt: skip
ROWS = st.recursive(
    JSON,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS), inner | st.sampled_from([U, A, "agent", "prompter"]), max_size=6
        )
    ),
    max_leaves=10,
)


@in_one_folder
@given(
    st.lists(st.dictionaries(st.sampled_from(KEYS), ROWS, max_size=6), max_size=4),
    st.sampled_from([*FORMATS]),
)
def test_any_json(tmp_path: Path, rows: list[Any], format: str) -> None:
    loaded = load(lines(tmp_path, *rows), format)
    assert loaded.rows == len(rows)
    assert all(isinstance(group, Group) and group.prompt and group.replies for group in loaded.groups)


def test_open_assistant_trees(public_data: Path) -> None:
    file = public_data / "oasst" / "en_trees_a.jsonl.gz"
    loaded = load(file)
    assert (loaded.format, loaded.rows, loaded.malformed) == ("oasst", 50, [])

    def ranked_families(message: dict[str, Any]) -> list[tuple[str, dict[str, int]]]:
        ranks = {
            each["text"]: each["rank"]
            for each in message["replies"]
            if each["role"] == "assistant" and each.get("rank") is not None
        }
        below = [family for each in message["replies"] for family in ranked_families(each)]
        return [(message["text"], ranks), *below] if len(ranks) > 1 else below

    expected = []
    with gzip.open(file, "rt") as trees:
        for line in trees:
            expected += ranked_families(json.loads(line)["prompt"])
    found = [
        (
            group.prompt[-1].text,
            {group.replies[place].text: rank for rank, tier in enumerate(group.tiers) for place in tier},
        )
        for group in loaded.groups
    ]
    assert len(found) == 97
    assert {prompt: dense(ranks) for prompt, ranks in expected} == dict(found)


def dense(ranks: dict[str, int]) -> dict[str, int]:
    order = sorted(set(ranks.values()))
    return {text: order.index(rank) for text, rank in ranks.items()}


def test_taskmaster_ratings(public_data: Path) -> None:
    loaded = load(public_data / "taskmaster" / "tm4_reward_train.jsonl.gz")
    assert (loaded.format, loaded.rows) == ("taskmaster", 2383)
    assert {each.reason for each in loaded.malformed} == {"the context is empty"}
    assert len(loaded.groups) + len(loaded.malformed) == 2383
    up = sum(group.replies[0].thumb > 0 for group in loaded.groups)
    assert 0.85 < up / len(loaded.groups) < 0.88
