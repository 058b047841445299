"""Writing, comparing, correcting and taking back, on a real database."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from chatapp.core.errors import EngineDied, EngineError, NotFound, StoreError, UsageError
from chatapp.core.types import Message, Sampling, Turn
from chatapp.engine.base import AdapterSpec
from chatapp.engine.scripted import ScriptedEngine
from chatapp.session.alternatives import ROUNDS
from chatapp.session.session import Session
from chatapp.session.updates import Began, Finished, Removed, Replaced, Text
from chatapp.store.conversations import Conversations
from chatapp.store.database import Store
from tests.session.conftest import SPEC, Build


def answer(session: Session, text: str) -> tuple[Message, Message]:
    """Send `text`; (prompt, reply)."""
    prompt = session.begin(text)
    *_, last = session.stream(prompt.id)
    assert isinstance(last, Finished)
    return prompt, last.reply


def test_the_prompt_is_stored_before_the_engine_is_asked(build: Build, store: Store) -> None:
    session = build(["fine"])
    prompt = session.begin("How are you?")
    assert store.conversations.message(prompt.id).text == "How are you?"
    assert session.conversation is not None
    assert session.conversation.title == "How are you?"
    list(session.stream(prompt.id))
    assert [each.text for each in session.path()] == ["How are you?", "fine"]


def test_a_title_ends_with_a_word(build: Build) -> None:
    for prompt, title in (
        (
            "Please tell me where in the old town one gets a really decent cortado",
            "Please tell me where in the old town one gets a really…",
        ),
        ("w" * 80, "w" * 59 + "…"),
        ("six " + "w" * 80, "six " + "w" * 55 + "…"),
        ("word " * 11 + "ends.", "word " * 11 + "ends."),
    ):
        session = build(["fine"])
        session.begin(prompt)
        assert session.conversation is not None and session.conversation.title == title


def test_a_new_session_stores_no_empty_conversation(build: Build, store: Store) -> None:
    session = build()
    session.new()
    assert session.conversation is None
    assert session.path() == []
    assert store.conversations.list() == []


def test_an_empty_prompt_is_refused_and_stores_nothing(build: Build, store: Store) -> None:
    session = build()
    with pytest.raises(UsageError):
        session.begin("  \n ")
    assert store.conversations.list() == []


def test_nothing_is_written_into_a_conversation_that_was_deleted_meanwhile(
    build: Build, store: Store
) -> None:
    session = build()
    answer(session, "one")
    store.conversations.delete(1)
    for write in (
        lambda: session.begin("two"),
        lambda: session.stream(1),
        lambda: session.alternatives(1, 2),
        lambda: session.edit(1, "another"),
        lambda: session.edit(2, "better"),
        lambda: session.demonstrate(1, "better"),
    ):
        with pytest.raises(NotFound, match="conversation 1 was deleted"):
            write()
    store.conversations.restore(1)
    assert [each.role for each in session.path()] == ["user", "assistant"]


def test_updates_come_in_order_and_say_what_is_stored(build: Build) -> None:
    session = build(["one two three"])
    prompt = session.begin("Count")
    updates = list(session.stream(prompt.id))
    assert isinstance(updates[0], Began)
    assert isinstance(updates[-1], Finished)
    deltas = [each.delta for each in updates[1:-1] if isinstance(each, Text)]
    assert "".join(deltas) == "one two three"
    assert len(deltas) == len(updates) - 2


def test_provenance_is_complete(build: Build) -> None:
    engine = ScriptedEngine(["hello there"], pace=0)
    session = build(engine)
    session.use(SPEC, AdapterSpec("r3", SPEC.path))
    prompt = session.begin("Hi")
    sampling = Sampling(seed=11, temperature=0.3)
    *_, last = session.stream(prompt.id, sampling=sampling)
    assert isinstance(last, Finished)
    source = last.reply.provenance
    assert source is not None
    assert source.sampling == sampling
    assert (source.model, source.adapter, source.completion_tokens) == ("scripted", "r3", 2)
    assert source.prompt_tokens > 0
    assert engine.info is not None
    assert source.model_sha256 == engine.info.sha256
    assert source.template_sha256 == engine.info.template_sha256
    assert source.seconds is not None and source.first_token_seconds is not None


def test_the_model_is_given_the_active_path_alone(build: Build) -> None:
    engine = ScriptedEngine(lambda request, lane, seed: f"reply {seed}", pace=0)
    session = build(engine, system="Be brief.")
    first, _ = answer(session, "one")
    list(session.alternatives(first.id, 3))
    chosen = session.messages()[-1]
    session.activate(chosen.id)
    answer(session, "two")
    assert list(engine.requests[-1].turns) == [
        Turn("system", "Be brief."),
        Turn("user", "one"),
        Turn("assistant", chosen.text),
        Turn("user", "two"),
    ]


def test_a_dying_engine_leaves_the_partial_text_sealed(build: Build, store: Store) -> None:
    engine = ScriptedEngine(["one two three four"], pace=0)
    session = build(engine)
    prompt = session.begin("Count")
    engine.fail_after(2)
    with pytest.raises(EngineDied):
        list(session.stream(prompt.id))
    reply = store.conversations.children(prompt.conversation, prompt.id)[0]
    assert (reply.text, reply.finish_reason) == ("one two ", "error")
    _, again = answer(session, "Go on")
    assert again.finish_reason == "stop"


def test_an_engine_that_fails_before_it_starts_leaves_the_prompt(build: Build) -> None:
    engine = ScriptedEngine(["one"], pace=0)
    session = build(engine)
    prompt = session.begin("Count")
    engine.fail_after(0, EngineError("no"))
    with pytest.raises(EngineError):
        list(session.stream(prompt.id))
    assert session.path()[0].id == prompt.id


def test_closing_the_iterator_early_seals_as_cancelled(build: Build, store: Store) -> None:
    session = build(["one two three"])
    prompt = session.begin("Count")
    with closing(session.stream(prompt.id)) as updates:  # type: ignore[type-var]
        next(update for update in updates if isinstance(update, Text))
    reply = store.conversations.children(prompt.conversation, prompt.id)[0]
    assert (reply.text, reply.finish_reason) == ("one ", "cancelled")


def test_cancel_keeps_what_came(build: Build) -> None:
    session = build(["one two three"])
    prompt = session.begin("Count")
    finished = None
    for update in session.stream(prompt.id):
        if isinstance(update, Text) and update.delta == "two ":
            session.cancel()
        if isinstance(update, Finished):
            finished = update.reply
    assert finished is not None
    assert (finished.text, finished.finish_reason) == ("one two ", "cancelled")


def test_a_cancel_before_the_engine_has_begun_is_not_lost(build: Build) -> None:
    session = build(["one two three"])
    prompt = session.begin("Count")
    updates = session.stream(prompt.id)
    session.cancel()
    assert list(updates) == []
    assert answer(session, "Again")[1].finish_reason == "stop"


def test_a_reply_that_was_cut_is_gone_on_with_as_another_version(build: Build, store: Store) -> None:
    engine = ScriptedEngine(["one two three four"], pace=0)
    session = build(engine, sampling=Sampling(max_tokens=1))
    prompt, cut = answer(session, "Count")
    assert (cut.text, cut.finish_reason) == ("one ", "length")
    session.use(SPEC, AdapterSpec("r3", SPEC.path))
    updates = list(session.write_on(cut.id, sampling=Sampling(seed=4, max_tokens=2)))
    began, more, done = updates[0], updates[1:-1], updates[-1]
    assert isinstance(began, Began) and began.reply.text == "one "
    assert [each.delta for each in more if isinstance(each, Text)] == ["two ", "three "]
    assert isinstance(done, Finished)
    again = done.reply
    assert (again.text, again.finish_reason, again.active) == ("one two three ", "length", True)
    assert engine.requests[-1].begun == "one " and engine.requests[-1].turns == [Turn("user", "Count")]
    source = again.provenance
    assert source is not None
    assert (source.adapter, source.completion_tokens, source.sampling.seed) == ("r3", 2, 4)
    *_, last = session.write_on(again.id, sampling=Sampling(max_tokens=2))
    assert isinstance(last, Finished)
    assert (last.reply.text, last.reply.finish_reason) == ("one two three four", "stop")
    versions = store.conversations.children(prompt.conversation, prompt.id)
    assert [each.text for each in versions] == ["one ", "one two three ", "one two three four"]
    assert versions[0] == replace(cut, active=False)
    assert [each.id for each in session.path()] == [prompt.id, last.reply.id]
    # Trainings read it as one reply with the end that it has now.
    session.rank(prompt.id, [each.id for each in versions], ((versions[2].id,), (versions[0].id,)))
    [group] = store.groups.list()
    assert [(each.text, each.finished) for each in group.replies] == [
        ("one ", False),
        ("one two three ", False),
        ("one two three four", True),
    ]


def test_a_reply_that_is_whole_is_not_gone_on_with(build: Build, store: Store) -> None:
    session = build(["one two"])
    prompt, whole = answer(session, "Count")
    with pytest.raises(UsageError, match="ended by itself") as error:
        session.write_on(whole.id)
    assert error.value.hint == "ask for another one with Ctrl+R"
    with pytest.raises(UsageError, match="answers nothing"):
        session.write_on(prompt.id)
    typed = store.conversations.add(prompt.conversation, prompt.id, "assistant", "one", "import")
    with pytest.raises(UsageError, match="not written here"):
        session.write_on(typed.id)
    with closing(session.stream(prompt.id)) as updates:  # type: ignore[type-var]
        began = next(iter(updates))
        assert isinstance(began, Began)
        with pytest.raises(UsageError, match="still being written"):
            session.write_on(began.reply.id)
    edited = session.edit(whole.id, "one two three")
    *_, last = session.write_on(edited.id)
    assert isinstance(last, Finished) and last.reply.text == "one two threeone two"
    assert (last.reply.origin, last.reply.finish_reason) == ("model", "stop")


def test_nothing_is_kept_of_a_reply_that_was_not_gone_on_with(build: Build, store: Store) -> None:
    engine = ScriptedEngine(["one two three", "four"], pace=0)
    session = build(engine, sampling=Sampling(max_tokens=1, seed=0))
    prompt, cut = answer(session, "Count")
    list(session.alternatives(prompt.id, 1, sampling=Sampling(seed=1)))
    for stopped in range(3):
        updates = session.write_on(cut.id)
        if stopped == 0:
            session.cancel()
            assert list(updates) == []
        elif stopped == 1:
            assert isinstance(next(updates), Began)
            session.cancel()
            assert not any(isinstance(each, Text) for each in updates)
        else:
            engine.fail_after(0)
            with pytest.raises(EngineDied):
                list(updates)
        family = store.conversations.children(prompt.conversation, prompt.id)
        assert [(each.text, each.active) for each in family] == [("one ", True), ("four", False)]
    engine.fail_after(1)
    with pytest.raises(EngineDied):
        list(session.write_on(cut.id, sampling=Sampling(seed=0)))
    assert (session.path()[-1].text, session.path()[-1].finish_reason) == ("one two ", "error")


def test_alternatives_differ_and_the_same_seed_repeats_them(build: Build, store: Store) -> None:
    # Lanes 0 and 1 say the same but for case and spaces, lane 2 says nothing.
    script = ["Yes.", " yes. ", "", "No.", "Perhaps.", "Later."]
    session = build(script)
    prompt = session.begin("Well?")

    def ask() -> list[str]:
        lanes: dict[int, str] = {}
        for update in session.alternatives(prompt.id, 4, sampling=Sampling(seed=0)):
            if isinstance(update, Finished):
                lanes[update.lane] = update.reply.text
            if isinstance(update, Replaced | Removed):
                del lanes[update.lane]
        return [lanes[lane] for lane in sorted(lanes)]

    first = ask()
    assert first == ["Yes.", "Perhaps.", "Later.", "No."]
    shown = [each.text for each in store.conversations.children(prompt.conversation, prompt.id)]
    assert sorted(shown) == sorted(first)
    # Nothing is thrown away: what was replaced is still in the database.
    everything = store.conversations.messages(prompt.conversation, deleted=True)
    assert " yes. " in [each.text for each in everything if each.deleted]
    for each in store.conversations.children(prompt.conversation, prompt.id):
        store.conversations.delete_message(each.id)
    assert ask() == first


def test_alternatives_repeat_no_reply_that_is_there(build: Build) -> None:
    session = build(["Yes.", "No.", "Perhaps."])
    prompt = session.begin("Well?")
    list(session.stream(prompt.id, sampling=Sampling(seed=0)))
    updates = list(session.alternatives(prompt.id, 2, sampling=Sampling(seed=0)))
    assert [each.lane for each in updates if isinstance(each, Replaced)] == [0]
    assert sorted(each.text for each in session.messages()[1:]) == ["No.", "Perhaps.", "Yes."]


def test_a_model_that_knows_one_sentence_gives_one(build: Build) -> None:
    engine = ScriptedEngine(["Yes."], pace=0)
    session = build(engine)
    prompt = session.begin("Well?")
    updates = list(session.alternatives(prompt.id, 3))
    assert len(engine.requests) == 1 + ROUNDS
    assert {each.lane for each in updates if isinstance(each, Removed)} == {1, 2}
    assert [each.text for each in session.messages()] == ["Well?", "Yes."]


def test_alternatives_are_hotter_than_a_first_reply(build: Build) -> None:
    engine = ScriptedEngine(pace=0)
    session = build(engine, alternatives_temperature=1.3)
    prompt = session.begin("Well?")
    list(session.alternatives(prompt.id, 2))
    assert engine.requests[0].sampling.temperature == 1.3


def test_alternatives_leave_the_shown_reply_alone(build: Build) -> None:
    session = build()
    prompt, reply = answer(session, "Well?")
    list(session.alternatives(prompt.id, 3))
    assert session.path()[-1].id == reply.id


def test_ranking_shows_the_winner_and_undo_takes_both_back(build: Build, store: Store) -> None:
    session = build()
    prompt, reply = answer(session, "Well?")
    list(session.alternatives(prompt.id, 2))
    a, b, c = (each.id for each in session.messages()[1:])
    session.rank(prompt.id, (a, b, c), ((b,), (a, c)), milliseconds=900)
    assert session.path()[-1].id == b
    assert session.undo() == "the ranking"
    assert session.path()[-1].id == reply.id
    assert store.rankings.list() == []
    assert session.undo() is None


def test_the_shown_reply_wins_a_tie(build: Build) -> None:
    session = build()
    prompt, reply = answer(session, "Well?")
    list(session.alternatives(prompt.id, 1))
    other = session.messages()[-1].id
    session.rank(prompt.id, (reply.id, other), ((other, reply.id),))
    assert session.path()[-1].id == reply.id


def test_all_bad_shows_the_same_reply(build: Build) -> None:
    session = build()
    prompt, reply = answer(session, "Well?")
    list(session.alternatives(prompt.id, 1))
    session.rank(prompt.id, [each.id for each in session.messages()[1:]], (), all_bad=True)
    assert session.path()[-1].id == reply.id


def test_tags_go_with_their_ranking(build: Build, store: Store) -> None:
    session = build()
    prompt, reply = answer(session, "Well?")
    ranking = session.rank(prompt.id, (reply.id,), ((reply.id,),))
    session.tag(ranking.id, ["kind"])
    assert [each.tags for each in store.rankings.list()] == [("kind",)]
    session.undo()
    assert store.rankings.list() == []


def test_editing_a_prompt_makes_a_branch(build: Build) -> None:
    session = build()
    prompt, reply = answer(session, "one")
    edited = session.edit(prompt.id, "two")
    assert [each.text for each in session.path()] == ["two"]
    assert (edited.parent, edited.origin) == (prompt.parent, "typed")
    assert session.undo() == "the edit"
    assert [each.id for each in session.path()] == [prompt.id, reply.id]


def test_editing_a_reply_is_a_demonstration(build: Build, store: Store) -> None:
    session = build()
    prompt, reply = answer(session, "one")
    edited = session.edit(reply.id, "What it should have said")
    assert [each.id for each in session.path()] == [prompt.id, edited.id]
    (made,) = store.rankings.demonstrations()
    assert (made.prompt, made.reply, made.replaces) == (prompt.id, edited.id, (reply.id,))
    session.undo()
    assert store.rankings.demonstrations() == []
    assert [each.id for each in session.path()] == [prompt.id, reply.id]


def test_what_was_written_since_an_edit_stays_when_it_is_undone(build: Build, store: Store) -> None:
    session = build()
    _, reply = answer(session, "one")
    better = session.edit(reply.id, "a better answer")
    answer(session, "two")
    shown = [each.id for each in session.path()]
    assert session.undo() == "the edit"
    assert [each.id for each in session.path()] == [*shown[:1], reply.id]
    assert store.rankings.demonstrations() == []
    session.activate(better.id)
    assert [each.id for each in session.path()] == shown


def test_an_undo_that_the_database_refused_can_be_tried_again(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = build()
    _, reply = answer(session, "one")
    session.delete(reply.id)
    with monkeypatch.context() as patch:
        patch.setattr(Conversations, "restore_message", refused)
        with pytest.raises(StoreError):
            session.undo()
    assert session.undo() == "the deletion"
    assert session.path()[-1].id == reply.id


def test_a_reply_that_cannot_be_sealed_does_not_keep_the_others_open(
    build: Build, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = build(["fine", EngineDied("the engine was killed")])
    prompt, _ = answer(session, "one")
    finish, tried = Conversations.finish, 0

    def refuse_the_first(*given: Any) -> Message:
        nonlocal tried
        tried += 1
        return refused() if tried == 1 else finish(*given)

    monkeypatch.setattr(Conversations, "finish", refuse_the_first)
    with pytest.raises(StoreError):
        list(session.alternatives(prompt.id, 3))
    replies = store.conversations.messages(1, deleted=True)[2:]
    assert len(replies) == tried == 3
    assert sum(each.finish_reason is None for each in replies) == 1


def refused(*_: object) -> NoReturn:
    raise StoreError("database: database is locked")


def test_a_demonstration_is_stored_as_a_whole_or_not_at_all(build: Build, store: Store) -> None:
    session = build()
    prompt, reply = answer(session, "one")
    store.conversations.delete_message(reply.id)
    with pytest.raises(UsageError):
        session.demonstrate(prompt.id, "What it should have said", (reply.id,))
    assert [each.id for each in session.path()] == [prompt.id]


def test_an_alternative_that_is_kept_is_not_taken_out(build: Build, store: Store) -> None:
    session = build(["always the same"])
    prompt, reply = answer(session, "one")
    first = None
    for update in session.alternatives(prompt.id, 1, keep=[reply.id]):
        if isinstance(update, Finished) and first is None:
            first = update.reply.id
            session.keep(first)
    assert [each.id for each in store.conversations.children(prompt.conversation, prompt.id)] == [
        reply.id,
        first,
    ]


def test_an_edit_that_changes_nothing_stores_nothing(build: Build) -> None:
    session = build()
    _, reply = answer(session, "one")
    assert session.edit(reply.id, reply.text).id == reply.id
    assert session.undo() is None


def test_thumbs_and_deletions_are_taken_back_in_turn(build: Build, store: Store) -> None:
    session = build()
    prompt, reply = answer(session, "one")
    session.thumb(reply.id, 1)
    session.thumb(reply.id, -1)
    session.delete(reply.id)
    assert [each.id for each in session.path()] == [prompt.id]
    assert session.undo() == "the deletion"
    assert [each.id for each in session.path()] == [prompt.id, reply.id]
    assert store.rankings.thumb_of(reply.id) == -1
    assert session.undo() == "the thumb"
    assert store.rankings.thumb_of(reply.id) == 1
    session.undo()
    assert store.rankings.thumb_of(reply.id) == 0


def test_a_reply_to_a_reply_is_refused(build: Build) -> None:
    session = build()
    _, reply = answer(session, "one")
    with pytest.raises(UsageError):
        session.stream(reply.id)


def test_another_model_is_loaded_with_the_next_reply(build: Build) -> None:
    engine = ScriptedEngine(pace=0)
    session = build(engine)
    answer(session, "one")
    session.use(type(SPEC)(SPEC.path, "other"))
    _, reply = answer(session, "two")
    assert reply.provenance is not None
    assert reply.provenance.model == "other"
