"""Whole conversations out of the database and into it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatapp.core.errors import ChatappError, FormatError
from chatapp.core.types import Provenance
from chatapp.store.database import Store
from tests.store.conftest import answer, ask


def made(store: Store) -> dict[str, Any]:
    prompt, (first, second) = ask(store, replies=2)
    written = store.conversations.add(prompt.conversation, prompt.id, "assistant", "written", "edit")
    below = store.conversations.add(prompt.conversation, second.id, "user", "and then?", "typed")
    answer(store, below, "the end")
    store.rankings.add(prompt.id, [second.id, first.id], ((first.id, second.id),), tags=["x"])
    store.rankings.demonstrate(prompt.id, written.id, [first.id])
    store.rankings.thumb(first.id, -1)
    return store.archive.record(prompt.conversation)


def test_judgements_keep_their_moments(store: Store) -> None:
    record = made(store)
    moments = {"rankings": "2024-05-01T10:00:00.000000Z", "thumbs": "2024-05-02T10:00:00.000000Z"}
    for kind, moment in moments.items():
        record[kind][0]["created"] = moment
    record["demonstrations"][0]["created"] = "9999-01-01T00:00:00.000000Z"  # cannot be
    again = store.archive.record(store.archive.add(record).id)
    assert {kind: again[kind][0]["created"] for kind in moments} == moments
    assert again["demonstrations"][0]["created"] < "9"
    del record["thumbs"][0]["created"]
    assert store.archive.record(store.archive.add(record).id)["thumbs"][0]["created"] > "2025"


def test_a_copy_is_the_same_but_for_its_ids(store: Store) -> None:
    record = json.loads(json.dumps(made(store)))
    copied = store.archive.add(record)
    again = json.loads(json.dumps(store.archive.record(copied.id)))
    offset = again["messages"][0]["id"] - record["messages"][0]["id"]
    assert offset > 0
    assert again["rankings"][0]["shown"] == [id + offset for id in record["rankings"][0]["shown"]]
    assert len(again["thumbs"]) == len(again["demonstrations"]) == 1
    for one, other in zip(record["messages"], again["messages"], strict=True):
        assert other["parent"] == (None if one["parent"] is None else one["parent"] + offset)
        same = {"text", "role", "origin", "active", "created", "finish_reason", "provenance"}
        assert {name: one[name] for name in same} == {name: other[name] for name in same}
    assert store.integrity() == "ok"


def test_an_unfinished_reply_comes_along_where_something_follows_it(store: Store) -> None:
    conversation = store.conversations.create().id
    prompt = store.conversations.add(conversation, None, "user", "hello", "typed")
    growing = store.conversations.begin_reply(conversation, prompt.id, Provenance("guide"))
    store.conversations.journal(growing.id, "half of")
    store.conversations.begin_reply(conversation, prompt.id, Provenance("guide"), activate=False)
    store.conversations.add(conversation, growing.id, "user", "go on", "typed")
    copied = store.archive.add(store.archive.record(conversation))
    texts = {each.text: each.finish_reason for each in store.conversations.messages(copied.id)}
    assert texts == {"hello": None, "half of": "interrupted", "go on": None}


@pytest.mark.parametrize(
    ("field", "value"),
    [("prompt_tokens", "x"), ("seconds", "\x1b[2J"), ("cached_tokens", True), ("model", 5), ("adapter", [])],
)
def test_provenance_of_another_type_is_refused(store: Store, field: str, value: object) -> None:
    record = made(store)
    (one, *_) = (each for each in record["messages"] if each["provenance"])
    one["provenance"][field] = value
    with pytest.raises(FormatError):
        store.archive.add(record)
    one["provenance"][field] = None
    one["provenance"] = {"model": "guide", "sampling": {"temperature": 1, "stop": []}}
    store.archive.add(record)


def test_a_damaged_record_says_what_is_wrong(store: Store) -> None:
    record = made(store)
    prompt = record["rankings"][0]["prompt"]
    for changed, said in (
        ({key: value for key, value in record.items() if key != "rankings"}, "`rankings` is missing"),
        (record | {"messages": record["messages"][1:]}, f"message {prompt} is missing"),
        (record | {"title": None}, "a value is of another type than expected"),
        (record | {"messages": [record["messages"][0] | {"role": "robot"}]}, "'robot' is none of"),
    ):
        with pytest.raises(FormatError, match=f"^the conversation is damaged: {said}"):
            store.archive.add(changed)


def test_moments_and_ids_out_of_the_ordinary(store: Store) -> None:
    record = made(store)
    record["messages"][0]["created"] = "0900-01-01T00:00:00Z"
    copied = store.archive.add(record)
    assert store.archive.record(copied.id)["messages"][0]["created"].startswith("0900-01-01T")
    record["messages"][0]["id"] = float("inf")
    with pytest.raises(FormatError):
        store.archive.add(record)


def test_a_deleted_reply_that_was_judged_comes_along_and_stays_deleted(store: Store) -> None:
    prompt, (first, second, third) = ask(store, replies=3)
    store.rankings.add(prompt.id, [first.id, second.id], ((second.id,), (first.id,)))
    written = store.conversations.add(prompt.conversation, prompt.id, "assistant", "written", "edit")
    store.rankings.demonstrate(prompt.id, written.id, [first.id])
    store.rankings.thumb(third.id, -1)
    for each in (written, first, third):
        store.conversations.activate(each.id)
        store.conversations.delete_message(each.id)
    store.conversations.restore_message(written.id)
    before = store.groups.list()
    copied = store.archive.add(json.loads(json.dumps(store.archive.record(prompt.conversation))))
    again = store.conversations.messages(copied.id, deleted=True)
    assert [(each.text, each.deleted) for each in again] == [
        ("Where is the lake?", False),
        ("reply 0", True),
        ("reply 1", False),
        ("written", False),
    ]
    assert [each.text for each in store.conversations.path(copied.id)] == ["Where is the lake?", "written"]
    in_copy = store.groups.list()[1::2]
    assert [(each.replies, each.tiers) for each in in_copy] == [(each.replies, each.tiers) for each in before]
    store.conversations.restore_message(again[1].id)
    assert store.conversations.path(copied.id)[-1].text == "reply 0"  # it was active when it was deleted


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.data())
def test_a_damaged_record_is_refused_whole(store: Store, data: st.DataObject) -> None:
    if not store.conversations.list():
        made(store)
    record = copy.deepcopy(store.archive.record(1))
    place: Any = record
    while True:  # walk to some value and put another there
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if isinstance(place[key], (dict, list)) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(st.none() | st.integers() | st.text(max_size=3) | st.just([]) | st.just({}))
        break
    before = len(store.conversations.list())
    try:
        store.archive.add(record)
    except ChatappError:
        assert len(store.conversations.list()) == before
    assert store.integrity() == "ok"
