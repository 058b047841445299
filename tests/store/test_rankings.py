"""Ranking events, thumbs, demonstrations."""

from __future__ import annotations

import sqlite3

import pytest

from chatapp.core.errors import NotFound, UsageError
from chatapp.core.types import Provenance
from chatapp.store.database import Store
from tests.store.conftest import answer, ask


def test_a_ranking_comes_back_as_it_was_made(store: Store) -> None:
    prompt, replies = ask(store, replies=4)
    a, b, c, d = (each.id for each in replies)
    made = store.rankings.add(
        prompt.id, [c, a, d, b], ((d,), (b, a)), tags=("brief", "kind"), milliseconds=4200, source="cli"
    )
    assert made.shown == (c, a, d, b)
    assert made.tiers == ((d,), (b, a))
    assert (made.tags, made.milliseconds, made.source) == (("brief", "kind"), 4200, "cli")
    assert store.rankings.get(made.id) == made
    assert store.rankings.list() == [made]
    assert store.rankings.latest() == made
    assert store.rankings.for_prompt(prompt.id) == made
    assert store.rankings.ranks(1) == {a: 2, b: 2, c: None, d: 1}


def test_what_makes_no_sense_is_refused(store: Store) -> None:
    prompt, replies = ask(store, replies=3)
    a, b, c = (each.id for each in replies)
    _, (stranger,) = ask(store)
    streaming = store.conversations.begin_reply(prompt.conversation, prompt.id, Provenance("guide"))
    add = store.rankings.add
    for wrong, why in (
        (lambda: add(prompt.id, [], (), all_bad=True), "at least one"),
        (lambda: add(prompt.id, [a, b], ()), "either"),
        (lambda: add(prompt.id, [a, b], ((a,), (b,)), all_bad=True), "either"),
        (lambda: add(prompt.id, [a, b], ((a,), ())), "without a reply"),
        (lambda: add(prompt.id, [a, a, b], ((a,), (b,))), "shown twice"),
        (lambda: add(prompt.id, [a, b], ((a,), (b, a))), "ranked twice"),
        (lambda: add(prompt.id, [a, b], ((a,), (c,))), "not shown"),
        (lambda: add(prompt.id, [a, stranger.id], ((a,), (stranger.id,))), "not a reply to"),
        (lambda: add(prompt.id, [a, streaming.id], ((a,),)), "still being written"),
        (lambda: store.rankings.thumb(prompt.id, 1), "not a reply"),
        (lambda: store.rankings.thumb(a, 2), "not 2"),  # type: ignore[arg-type]
        (lambda: store.rankings.demonstrate(prompt.id, a, [a]), "other replies"),
        (lambda: store.rankings.demonstrate(prompt.id, a, [stranger.id]), "not a reply to"),
    ):
        with pytest.raises(UsageError, match=why):
            wrong()
    with pytest.raises(NotFound):
        add(prompt.id, [a, 999], ((a,), (999,)))
    store.conversations.delete_message(c)
    with pytest.raises(UsageError, match="deleted"):
        add(prompt.id, [a, c], ((a,), (c,)))
    assert store.rankings.list(include_retracted=True) == []


def test_a_later_ranking_of_the_same_or_more_replies_replaces(store: Store) -> None:
    prompt, replies = ask(store, replies=4)
    a, b, c, d = (each.id for each in replies)
    first = store.rankings.add(prompt.id, [a, b, c], ((a,), (b,), (c,)))
    same = store.rankings.add(prompt.id, [c, b, a], ((c,), (b,), (a,)))
    assert store.rankings.list() == [same]
    fewer = store.rankings.add(prompt.id, [a, b], ((a,), (b,)))
    assert store.rankings.list() == [same, fewer]
    more = store.rankings.add(prompt.id, [a, b, c, d], ((d,), (a, b, c)))
    assert store.rankings.list() == [more]
    overlap = store.rankings.add(prompt.id, [a, b], ((b,), (a,)))
    assert store.rankings.list() == [more, overlap]
    assert store.rankings.list(include_retracted=True) == [first, same, fewer, more, overlap]
    store.rankings.retract(overlap.id)
    store.rankings.retract(more.id)
    assert store.rankings.list() == [same, fewer]


def test_retracting_brings_back_what_was_replaced(store: Store) -> None:
    prompt, (a, b) = ask(store, replies=2)
    first = store.rankings.add(prompt.id, [a.id, b.id], ((a.id,), (b.id,)))
    second = store.rankings.add(prompt.id, [a.id, b.id], (), all_bad=True)
    assert store.rankings.for_prompt(prompt.id) == second
    assert store.rankings.ranks(1)[a.id] is None
    store.rankings.retract(second.id)
    store.rankings.retract(second.id)
    assert store.rankings.for_prompt(prompt.id) == first
    store.rankings.retract(first.id)
    assert store.rankings.list() == []
    assert store.rankings.latest() is None
    assert len(store.rankings.list(include_retracted=True)) == 2
    with pytest.raises(NotFound):
        store.rankings.retract(99)


def test_tags_are_a_new_event_and_go_with_their_ranking(store: Store) -> None:
    prompt, (a, b) = ask(store, replies=2)
    made = store.rankings.add(prompt.id, [a.id, b.id], ((b.id,), (a.id,)), milliseconds=10, created=1e9)
    tagged = store.rankings.set_tags(made.id, ["brief"])
    assert tagged.created == made.created
    assert (tagged.tiers, tagged.tags, tagged.milliseconds) == (made.tiers, ("brief",), 10)
    assert tagged.id != made.id
    again = store.rankings.set_tags(tagged.id, ["kind"])
    assert store.rankings.list() == [again]
    store.rankings.retract(made.id)
    assert store.rankings.list() == []


@pytest.mark.parametrize("which", range(3))
def test_any_event_of_a_tagged_ranking_takes_all_of_it_back(store: Store, which: int) -> None:
    prompt, (a, b) = ask(store, replies=2)
    first = store.rankings.add(prompt.id, [a.id, b.id], ((a.id,), (b.id,)))
    events = [store.rankings.add(prompt.id, [a.id, b.id], ((b.id,), (a.id,))).id]
    for tag in ("brief", "kind"):
        events.append(store.rankings.set_tags(events[-1], [tag]).id)
    assert store.rankings.retract(events[which])
    assert store.rankings.list() == [first]
    assert store.rankings.retracted() == set(events)


def test_rankings_of_one_conversation(store: Store) -> None:
    made = []
    for _ in range(2):
        prompt, (a, b) = ask(store, replies=2)
        made.append((prompt.conversation, store.rankings.add(prompt.id, [a.id, b.id], ((a.id,), (b.id,)))))
    for conversation, ranking in made:
        assert store.rankings.list(conversation) == [ranking]
        assert store.rankings.latest(conversation) == ranking
    assert store.rankings.list() == [ranking for _, ranking in made]


def test_what_was_said_of_deleted_messages_is_not_in_force(store: Store) -> None:
    prompt, (a, b) = ask(store, replies=2)
    ranking = store.rankings.add(prompt.id, [a.id, b.id], ((a.id,), (b.id,)))
    thumb = store.rankings.thumb(a.id, 1)
    demonstration = store.rankings.demonstrate(prompt.id, a.id, [b.id])
    for hide, show in (
        (store.conversations.delete_message, store.conversations.restore_message),
        (store.conversations.delete, store.conversations.restore),
    ):
        id = prompt.id if hide == store.conversations.delete_message else prompt.conversation
        hide(id)
        assert (store.rankings.list(), store.rankings.thumbs(), store.rankings.demonstrations()) == (
            [],
            [],
            [],
        )
        show(id)
        assert store.rankings.list() == [ranking]
        assert store.rankings.thumbs() == [thumb]
        assert store.rankings.demonstrations() == [demonstration]


def test_the_last_thumb_counts(store: Store) -> None:
    _, (a, b) = ask(store, replies=2)
    store.rankings.thumb(a.id, 1)
    down = store.rankings.thumb(a.id, -1)
    up = store.rankings.thumb(b.id, 1)
    assert store.rankings.thumbs() == [down, up]
    assert [store.rankings.thumb_of(each.id) for each in (a, b)] == [-1, 1]
    store.rankings.thumb(a.id, 0)
    assert store.rankings.thumb_of(a.id) == 0
    assert store.rankings.thumbs() == [up]


def test_tags_do_not_bring_a_ranking_back(store: Store) -> None:
    prompt, (a, b) = ask(store, replies=2)
    first = store.rankings.add(prompt.id, [a.id, b.id], ((a.id,), (b.id,)))
    newer = store.rankings.add(prompt.id, [a.id, b.id], ((b.id,), (a.id,)))
    with pytest.raises(UsageError):
        store.rankings.set_tags(first.id, ["short"])
    assert store.rankings.list() == [newer]
    store.rankings.retract(newer.id)
    with pytest.raises(UsageError):
        store.rankings.set_tags(newer.id, ["short"])
    assert store.rankings.list() == [first]


def test_thumbs_and_demonstrations_of_one_conversation(store: Store) -> None:
    made = {}
    for _ in range(2):
        prompt, (a, b) = ask(store, replies=2)
        made[prompt.conversation] = (
            store.rankings.thumb(a.id, 1),
            store.rankings.demonstrate(prompt.id, a.id, [b.id]),
        )
    for conversation, (thumb, demonstration) in made.items():
        assert store.rankings.thumbs(conversation) == [thumb]
        assert store.rankings.demonstrations(conversation) == [demonstration]


def test_demonstrations_can_be_taken_back(store: Store) -> None:
    prompt, (a, b) = ask(store, replies=2)
    written = store.conversations.add(prompt.conversation, prompt.id, "assistant", "better", "edit")
    made = store.rankings.demonstrate(prompt.id, written.id, [b.id, a.id])
    assert made.replaces == (b.id, a.id)
    assert store.rankings.demonstrations() == [made]
    store.rankings.undemonstrate(made.id)
    assert store.rankings.demonstrations() == []
    assert store.conversations.message(written.id).text == "better"
    with pytest.raises(NotFound):
        store.rankings.undemonstrate(99)


@pytest.mark.parametrize("verb", ["UPDATE {} SET created = ''", "DELETE FROM {}"])
@pytest.mark.parametrize(
    "table",
    ["ranking_events", "ranking_retractions", "thumb_events", "demonstrations", "demonstration_retractions"],
)
def test_events_are_append_only(store: Store, table: str, verb: str) -> None:
    prompt, (a, b) = ask(store, replies=2)
    store.rankings.retract(store.rankings.add(prompt.id, [a.id, b.id], ((a.id,), (b.id,))).id)
    store.rankings.thumb(a.id, 1)
    store.rankings.undemonstrate(store.rankings.demonstrate(prompt.id, a.id, [b.id]).id)
    raw = sqlite3.connect(store.path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw.execute(verb.format(table))
    for members in ("ranking_event_replies", "demonstration_replaces"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw.execute(f"UPDATE {members} SET reply = {b.id}")
    raw.close()


def test_a_reply_of_another_branch_keeps_its_rank(store: Store) -> None:
    prompt, (a, b) = ask(store, replies=2)
    store.rankings.add(prompt.id, [a.id, b.id], ((b.id,), (a.id,)))
    answer(store, prompt, "late")
    assert store.rankings.ranks(1) == {a.id: 2, b.id: 1}
