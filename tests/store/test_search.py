"""Full-text search."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatapp.core.types import Provenance
from chatapp.store.database import Store
from tests.store.conftest import ask


def found(store: Store, text: str) -> list[str]:
    return [store.conversations.message(hit.message).text for hit in store.search.query(text)]


def say(store: Store, *texts: str) -> None:
    conversation = store.conversations.create("A title")
    for text in texts:
        store.conversations.add(conversation.id, None, "user", text, "typed")


def test_the_newest_comes_first_with_its_conversation(store: Store) -> None:
    say(store, "coffee by the lake", "tea", "more coffee")
    hits = store.search.query("coffee")
    assert [hit.snippet for hit in hits] == ["more coffee", "coffee by the lake"]
    assert {(hit.conversation, hit.title, hit.role) for hit in hits} == {(1, "A title", "user")}
    assert [hit.snippet for hit in store.search.query("coffee", limit=1)] == ["more coffee"]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("COFFEE", "A coffee, please"),
        ("cafe creme", "Un café crème"),
        ("lake coffee", "coffee by the lake"),
        ("prefe", "a preference of mine"),
        ("ran rep", "how do I rank replies"),
        ("C++", "is C++ hard"),
        ("->", "a -> b"),
        ("100%", "it is 100% so"),
        ("京都", "明日は京都に行きます"),
        ('say "hi"', 'do say "hi" to her'),
    ],
)
def test_finds(store: Store, query: str, text: str) -> None:
    say(store, "something else", text, "nothing of it")
    assert found(store, query) == [text]


@pytest.mark.parametrize(
    "query", ["", "   ", "\0", "absent", "%", "_", '"', "lake NOT coffee", "text:lake", "lake*x"]
)
def test_finds_nothing(store: Store, query: str) -> None:
    say(store, "coffee by the lake")
    assert found(store, query) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.text(max_size=30) | st.text(alphabet='ab"*^():-+ NEAROT\\%_\0', max_size=20))
def test_any_text_is_a_query(store: Store, text: str) -> None:
    store.search.query(text)


def indexed(store: Store) -> int:
    """How many messages the full-text index holds; a search also finds others, slowly."""
    return int(store._connection.rows("SELECT count(*) FROM messages_fts_docsize")[0][0])


def test_a_streaming_reply_is_found_once_it_is_finished(store: Store) -> None:
    prompt, _ = ask(store, replies=0)
    reply = store.conversations.begin_reply(prompt.conversation, prompt.id, Provenance("guide"))
    for end in range(1, 60):
        store.conversations.journal(reply.id, "heron " * end)
    assert found(store, "heron") == []
    assert indexed(store) == 1  # the prompt
    store.conversations.finish(reply.id, "a heron", "stop", Provenance("guide"))
    assert found(store, "heron") == ["a heron"]
    assert indexed(store) == 2
    assert store.integrity() == "ok"


def test_deleted_messages_and_conversations_are_not_found(store: Store) -> None:
    prompt, (reply,) = ask(store, "where is the heron")
    assert found(store, "heron") == [prompt.text]
    store.conversations.delete_message(prompt.id)
    assert found(store, "heron") == found(store, reply.text) == []
    store.conversations.restore_message(prompt.id)
    store.conversations.delete(prompt.conversation)
    assert found(store, "heron") == []
    store.conversations.restore(prompt.conversation)
    assert found(store, "heron") == [prompt.text]


def test_a_snippet_of_a_long_text_shows_the_place(store: Store) -> None:
    say(store, "word " * 500 + "heron " + "word " * 500)
    (hit,) = store.search.query("heron")
    assert "heron" in hit.snippet
    assert len(hit.snippet) < 200
