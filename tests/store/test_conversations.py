"""Conversations and message trees."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest

from chatapp.core.errors import NotFound, StoreError, UsageError
from chatapp.core.types import Message, Provenance, Sampling
from chatapp.store.database import Store
from tests.store.conftest import answer, ask


def texts(messages: list[Message]) -> list[str]:
    return [each.text for each in messages]


def test_a_conversation_is_kept_as_it_was_made(store: Store) -> None:
    made = store.conversations.create("Lakes", "Be brief.")
    assert store.conversations.get(made.id) == made
    assert (made.title, made.system, made.messages, made.model) == ("Lakes", "Be brief.", 0, None)
    store.conversations.rename(made.id, "Ponds")
    store.conversations.set_system(made.id, "Be long.")
    again = store.conversations.get(made.id)
    assert (again.title, again.system) == ("Ponds", "Be long.")
    assert again.updated > again.created


def test_the_last_changed_comes_first(store: Store) -> None:
    first, second = store.conversations.create("first"), store.conversations.create("second")
    assert [each.id for each in store.conversations.list()] == [second.id, first.id]
    store.conversations.add(first.id, None, "user", "hello", "typed")
    assert [each.id for each in store.conversations.list()] == [first.id, second.id]
    assert [each.id for each in store.conversations.list(limit=1)] == [first.id]
    latest = store.conversations.latest()
    assert latest is not None and latest.id == first.id


def test_deleting_hides_and_restoring_shows(store: Store) -> None:
    made = store.conversations.create()
    store.conversations.delete(made.id)
    assert store.conversations.list() == []
    assert [each.id for each in store.conversations.list(deleted=True)] == [made.id]
    assert store.conversations.latest() is None
    store.conversations.restore(made.id)
    assert [each.id for each in store.conversations.list()] == [made.id]


def test_what_is_not_there(store: Store) -> None:
    for missing in (
        lambda: store.conversations.get(7),
        lambda: store.conversations.rename(7, "x"),
        lambda: store.conversations.delete(7),
        lambda: store.conversations.messages(7),
        lambda: store.conversations.path(7),
        lambda: store.conversations.message(7),
        lambda: store.conversations.activate(7),
        lambda: store.conversations.delete_message(7),
        lambda: store.conversations.journal(7, "x"),
        lambda: store.conversations.finish(7, "x", "stop", Provenance("guide")),
        lambda: store.conversations.add(7, None, "user", "x", "typed"),
    ):
        with pytest.raises(NotFound):
            missing()


def test_the_provenance_comes_back_whole(store: Store) -> None:
    prompt, _ = ask(store, replies=0)
    sampling = Sampling(seed=2**62, temperature=0.0, top_k=1, top_p=0.5, min_p=0.1, stop=("a", "\n\n"))
    begun = Provenance("guide", "aa", "r3", "bb", sampling)
    reply = store.conversations.begin_reply(prompt.conversation, prompt.id, begun)
    assert (reply.text, reply.finish_reason, reply.provenance) == ("", None, begun)
    ended = replace(begun, prompt_tokens=9, cached_tokens=4, completion_tokens=3, first_token_seconds=0.25)
    done = store.conversations.finish(reply.id, "one two three", "length", ended)
    assert store.conversations.message(reply.id) == done
    assert (done.text, done.finish_reason, done.provenance) == ("one two three", "length", ended)
    assert store.conversations.get(prompt.conversation).model == "guide"


def test_a_reply_is_journalled_and_then_final(store: Store) -> None:
    prompt, _ = ask(store, replies=0)
    reply = store.conversations.begin_reply(prompt.conversation, prompt.id, Provenance("guide"))
    for text in ("one", "one two", "one two three"):
        store.conversations.journal(reply.id, text)
        assert store.conversations.message(reply.id).text == text
    store.conversations.finish(reply.id, "one two three four", "stop", Provenance("guide"))
    with pytest.raises(StoreError, match="never changes"):
        store.conversations.journal(reply.id, "else")
    with pytest.raises(StoreError, match="never changes"):
        store.conversations.finish(reply.id, "else", "stop", Provenance("guide"))
    assert store.conversations.message(reply.id).text == "one two three four"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE messages SET text = 'else'",
        "UPDATE messages SET parent = NULL WHERE parent IS NOT NULL",
        "UPDATE messages SET role = 'system'",
        "UPDATE messages SET finish_reason = 'length'",
        "UPDATE messages SET writer_pid = 1",
        "UPDATE messages SET system = 'other'",
        "UPDATE replies SET model = 'other'",
        "UPDATE messages SET active = 1",
        "DELETE FROM conversations",
    ],
)
def test_the_schema_itself_refuses(store: Store, statement: str) -> None:
    prompt, _ = ask(store, replies=2)
    store.conversations.set_system(prompt.conversation, "Be brief.")
    raw = sqlite3.connect(store.path)
    raw.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError):
        raw.execute(statement)
    raw.close()


def test_a_parent_in_another_conversation_is_refused(store: Store) -> None:
    prompt, _ = ask(store)
    other = store.conversations.create()
    with pytest.raises(UsageError, match="not in conversation"):
        store.conversations.add(other.id, prompt.id, "assistant", "x", "model")
    assert store.conversations.messages(other.id) == []


def test_alternatives_leave_the_active_reply_active(store: Store) -> None:
    prompt, (first,) = ask(store)
    lanes = store.conversations.begin_replies(prompt.conversation, prompt.id, [Provenance("guide")] * 3)
    assert [each.active for each in lanes] == [False, False, False]
    for lane in lanes:
        store.conversations.finish(lane.id, f"lane {lane.id}", "stop", Provenance("guide"))
    assert texts(store.conversations.path(prompt.conversation)) == [prompt.text, first.text]
    siblings = store.conversations.children(prompt.conversation, prompt.id)
    assert [each.id for each in siblings] == [first.id, *(lane.id for lane in lanes)]


def test_activating_a_deep_message_brings_its_whole_branch(store: Store) -> None:
    prompt, (left, right) = ask(store, replies=2)
    below_left = store.conversations.add(prompt.conversation, left.id, "user", "and left?", "typed")
    deep = answer(store, below_left, "deep left")
    store.conversations.activate(right.id)
    assert texts(store.conversations.path(prompt.conversation)) == [prompt.text, right.text]
    store.conversations.activate(deep.id)
    assert store.conversations.path(prompt.conversation)[-1].id == deep.id
    assert [each.id for each in store.conversations.ancestors(deep.id)] == [
        prompt.id, left.id, below_left.id, deep.id,
    ]  # fmt: skip


def test_editing_the_first_message_makes_a_second_root(store: Store) -> None:
    prompt, _ = ask(store)
    edited = store.conversations.add(prompt.conversation, None, "user", "edited", "typed")
    assert texts(store.conversations.path(prompt.conversation)) == ["edited"]
    assert [each.id for each in store.conversations.children(prompt.conversation, None)] == [
        prompt.id, edited.id,
    ]  # fmt: skip


def test_deleting_a_message_hides_its_subtree_and_activates_the_newest_sibling(store: Store) -> None:
    prompt, (first, second, third) = ask(store, replies=3)
    below = store.conversations.add(prompt.conversation, first.id, "user", "more", "typed")
    store.conversations.delete_message(first.id)
    assert texts(store.conversations.path(prompt.conversation)) == [prompt.text, third.text]
    assert {each.id for each in store.conversations.messages(prompt.conversation)} == {
        prompt.id, second.id, third.id,
    }  # fmt: skip
    assert len(store.conversations.messages(prompt.conversation, deleted=True)) == 5
    with pytest.raises(UsageError, match="deleted"):
        store.conversations.add(prompt.conversation, first.id, "user", "x", "typed")
    with pytest.raises(UsageError, match="deleted"):
        store.conversations.activate(below.id)
    with pytest.raises(UsageError, match="deleted"):
        store.conversations.restore_message(below.id)
    store.conversations.restore_message(first.id)
    assert texts(store.conversations.path(prompt.conversation)) == [prompt.text, first.text, "more"]


def test_deleting_another_sibling_leaves_the_active_one(store: Store) -> None:
    prompt, (first, second, _) = ask(store, replies=3)
    store.conversations.delete_message(second.id)
    assert texts(store.conversations.path(prompt.conversation)) == [prompt.text, first.text]
    store.conversations.restore_message(second.id)
    assert texts(store.conversations.path(prompt.conversation)) == [prompt.text, first.text]


def test_restoring_does_not_bring_back_what_was_deleted_before(store: Store) -> None:
    prompt, (first,) = ask(store)
    below = store.conversations.add(prompt.conversation, first.id, "user", "more", "typed")
    store.conversations.delete_message(below.id)
    store.conversations.delete_message(prompt.id)
    assert store.conversations.path(prompt.conversation) == []
    store.conversations.restore_message(prompt.id)
    assert texts(store.conversations.path(prompt.conversation)) == [prompt.text, first.text]


def test_text_that_utf8_cannot_hold(store: Store) -> None:
    conversation = store.conversations.create("a\ud800b")
    message = store.conversations.add(conversation.id, None, "user", "x\udfffy \0 \x1b[31m 🙂", "typed")
    assert conversation.title == "a\ufffdb"
    assert message.text == "x\ufffdy \0 \x1b[31m 🙂"
    assert store.integrity() == "ok"


def test_a_failed_change_leaves_nothing_behind(store: Store) -> None:
    prompt, _ = ask(store)
    before = store.conversations.messages(prompt.conversation)
    with pytest.raises(StoreError):
        store.conversations.add(prompt.conversation, prompt.id, "assistant", "x", "nowhere")  # type: ignore[arg-type]
    assert store.conversations.messages(prompt.conversation) == before
    assert not store._connection.db.conn.in_transaction
