"""Preference groups: out of the database with their texts, and into it."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from chatapp.core.errors import UsageError
from chatapp.core.types import FinishReason, Group, GroupReply, Provenance, Turn
from chatapp.preferences.formats.load import load
from chatapp.store.database import Store
from tests.store.conftest import answer, ask

Q = Turn("user", "q")


def test_everything_in_force_with_its_texts(store: Store) -> None:
    conversation = store.conversations.create(system="Be brief.")
    first = store.conversations.add(conversation.id, None, "user", "Hi", "typed")
    other, hello = answer(store, first, "Other branch"), answer(store, first, "Hello")
    prompt = store.conversations.add(conversation.id, hello.id, "user", "Sky?", "typed")
    a, b = answer(store, prompt, "Blue."), answer(store, prompt, "Green.")
    written = store.conversations.add(conversation.id, prompt.id, "assistant", "Azure.", "edit")
    store.rankings.add(prompt.id, [b.id, a.id], ((a.id,), (b.id,)), tags=["true"], milliseconds=7)
    store.rankings.demonstrate(prompt.id, written.id, [b.id])
    store.rankings.thumb(other.id, -1)
    ranking, demonstration, thumb = store.groups.list()
    talk = (Turn("system", "Be brief."), Turn("user", "Hi"))
    assert ranking.prompt == demonstration.prompt == (*talk, Turn("assistant", "Hello"), Turn("user", "Sky?"))
    assert ranking.replies == (GroupReply("Green.", "model", "guide"), GroupReply("Blue.", "model", "guide"))
    assert (ranking.tiers, ranking.tags, ranking.milliseconds) == (((1,), (0,)), ("true",), 7)
    assert demonstration.replies == (GroupReply("Azure.", "edit"), GroupReply("Green.", "model", "guide"))
    assert demonstration.demonstration == 0
    assert thumb.prompt == talk
    assert thumb.replies == (GroupReply("Other branch", "model", "guide", -1),)


def test_another_system_prompt_leaves_what_was_judged_as_it_was(store: Store) -> None:
    conversation = store.conversations.create(system="Answer in English.")
    prompt = store.conversations.add(conversation.id, None, "user", "Hi", "typed")
    hello, hey = answer(store, prompt, "Hello"), answer(store, prompt, "Hey")
    store.rankings.add(prompt.id, [hello.id, hey.id], ((hello.id,), (hey.id,)))
    store.rankings.thumb(hey.id, -1)
    before = store.groups.list()
    store.conversations.set_system(conversation.id, "Answer in French.")
    salut = answer(store, prompt, "Salut")
    store.conversations.set_system(conversation.id, "")
    assert store.groups.list() == before
    copied = store.archive.add(store.archive.record(conversation.id))
    assert [group.prompt for group in store.groups.list()[1:4:2]] == [before[0].prompt] * 2
    assert [each.system for each in store.conversations.messages(copied.id)] == [
        None,
        "Answer in English.",
        "Answer in English.",
        "Answer in French.",
    ]
    written = store.conversations.add(conversation.id, prompt.id, "assistant", "Coucou", "edit")
    store.rankings.demonstrate(prompt.id, written.id, [salut.id])
    (demonstration,) = (each for each in store.groups.list() if each.demonstration == 0)
    assert demonstration.prompt[0] == Turn("system", "Answer in French.")


def test_added_groups_become_one_readable_conversation(store: Store) -> None:
    follow_up = (Q, Turn("assistant", "good"), Turn("user", "more"))
    groups = [
        Group((Q,), (GroupReply("bad"), GroupReply("good")), ((1,), (0,))),
        Group(follow_up, (GroupReply("x", "model", "guide"), GroupReply("y")), all_bad=True),
        Group((Q,), (GroupReply("up", thumb=1),)),
        Group((Turn("user", "other"),), (GroupReply("worse"), GroupReply("mine", "edit")), demonstration=1),
    ]
    assert store.groups.add(groups, "From a file", "import:file.jsonl") == 4
    (conversation,) = store.conversations.list()
    assert conversation.title == "From a file"
    assert [each.text for each in store.conversations.path(conversation.id)] == ["q", "good"]
    messages = store.conversations.messages(conversation.id)
    assert [each.text for each in messages].count("good") == 1  # the tree grew where it was
    assert all(each.origin == "import" for each in messages if each.text in ("q", "bad", "good", "more"))
    assert [each.source for each in store.rankings.list()] == ["import:file.jsonl"] * 2
    out = store.groups.list()
    assert [(each.prompt, each.tiers, each.all_bad) for each in out[:2]] == [
        (each.prompt, each.tiers, each.all_bad) for each in groups[:2]
    ]
    assert out[2].replies == (GroupReply("mine", "edit"), GroupReply("worse"))
    assert out[3].replies == groups[2].replies


def test_what_was_cut_off_is_no_finished_reply(store: Store) -> None:
    prompt, (whole,) = ask(store)
    made = Provenance("guide")
    reasons: tuple[FinishReason, ...] = ("length", "cancelled", "interrupted")
    cut_off = [
        store.conversations.finish(
            store.conversations.begin_reply(prompt.conversation, prompt.id, made).id, reason, reason, made
        )
        for reason in reasons
    ]
    edit = store.conversations.add(prompt.conversation, prompt.id, "assistant", "mine", "edit")
    shown = [each.id for each in (whole, *cut_off, edit)]
    store.rankings.add(prompt.id, shown, ((shown[0],), tuple(shown[1:])))
    (group,) = store.groups.list()
    assert [each.finished for each in group.replies] == [True, False, False, False, True]
    typed = GroupReply("from a file", finished=False)
    store.groups.add([replace(group, replies=(*group.replies, typed))], "Again", "import:x")
    assert [each.finished for each in store.groups.list()[1].replies] == [
        True,
        False,
        False,
        False,
        True,
        False,
    ]


def test_all_or_nothing(store: Store) -> None:
    fine = Group((Q,), (GroupReply("a"),), ((0,),))
    with pytest.raises(UsageError):
        store.groups.add([fine, Group((), (GroupReply("b"),))], "x", "import:x")
    assert store.conversations.list() == []
    assert store.groups.list() == []


def test_rankings_of_two_groups_on_one_prompt_are_both_in_force(store: Store) -> None:
    ways = [Group((Q,), (GroupReply("a"), GroupReply("b")), order) for order in (((0,), (1,)), ((1,), (0,)))]
    store.groups.add(ways, "Two people", "import:x")
    assert [group.tiers for group in store.groups.list()] == [((0,), (1,)), ((1,), (0,))]


def test_a_reply_to_another_prompt_never_shows_in_a_group(store: Store) -> None:
    prompt, (first,) = ask(store)
    store.conversations.begin_replies(prompt.conversation, prompt.id, [Provenance("guide")] * 2)
    store.rankings.thumb(first.id, 1)
    (group,) = store.groups.list()
    assert [reply.text for reply in group.replies] == [first.text]


def test_open_assistant_trees_keep_their_rankings(store: Store) -> None:
    folder = os.environ.get("CHATAPP_TEST_DATA")
    if not folder:
        pytest.skip("CHATAPP_TEST_DATA names no folder with the public files")
    loaded = load(Path(folder) / "oasst" / "en_trees_a.jsonl.gz")
    assert store.groups.add(loaded.groups, "Open-Assistant", "import:en_trees_a.jsonl.gz") == 97
    out = store.groups.list()
    assert [(each.prompt, each.tiers) for each in out] == [
        (each.prompt, each.tiers) for each in loaded.groups
    ]
    assert [[reply.text for reply in each.replies] for each in out] == [
        [reply.text for reply in each.replies] for each in loaded.groups
    ]
    (conversation,) = store.conversations.list()
    assert len(store.conversations.children(conversation.id, None)) == 50
    assert store.integrity() == "ok"


def test_judgements_keep_their_moments_where_they_can_be(store: Store) -> None:
    replies = (GroupReply("a"), GroupReply("b"))
    moments = (1_700_000_000.5, None, float("nan"), 1e30, -5.0)
    groups = [Group((Q,), replies, ((0,), (1,)), created=each) for each in moments]
    groups += [Group((Q,), (GroupReply("c", "edit"),), demonstration=0, created=moments[0])]
    groups += [Group((Q,), (GroupReply("d", thumb=1),), created=moments[0])]
    begun = time.time() - 1
    store.groups.add(groups, "From a file", "import:x")
    first, *others, demonstration, thumb = [each.created or 0.0 for each in store.groups.list()]
    assert first == demonstration == thumb == moments[0]
    assert len(others) == 4 and all(begun < each < time.time() + 1 for each in others)
