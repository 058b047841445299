"""Lanes that repeat another reply, or nearly do, are sampled in another way, not just again."""

import pytest

from chatapp.core.errors import EngineDied
from chatapp.core.types import Message, Sampling
from chatapp.engine.scripted import ScriptedEngine
from chatapp.session.alternatives import ALIKE_ROUNDS, LONG, ROUNDS, distance, hotter
from chatapp.session.session import Session
from chatapp.session.updates import Finished, Removed, Replaced, Text, Update
from tests.session.conftest import Build


def test_each_round_lets_less_likely_tokens_in() -> None:
    asked = Sampling(seed=3, temperature=1.0)
    rounds = [hotter(asked, number) for number in range(ROUNDS + 1)]
    assert rounds[0] == asked
    thresholds = [each.xtc_threshold for each in rounds[1:]]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] > thresholds[ALIKE_ROUNDS - 1] > 0.005 > thresholds[-1]
    for each in rounds[1:]:
        assert each.xtc_probability > 0
        # What XTC would choose must not have been filtered out before.
        assert each.top_p == 1.0
        assert each.min_p <= each.xtc_threshold
        assert (each.seed, each.temperature) == (asked.seed, asked.temperature)


@pytest.mark.parametrize("number", range(ROUNDS + 1))
def test_greedy_stays_greedy(number: int) -> None:
    assert hotter(Sampling(temperature=0.0), number) == Sampling(temperature=0.0)


def test_distance_counts_words_and_question_marks() -> None:
    assert distance("Yes, I can.", "yes i CAN") == 0.0
    assert distance("Yes.", "No.") == 1.0
    assert distance("You can go.", "You can go?") == 0.25
    assert distance("", "...") == 0.0
    assert distance("one two", "two three") == distance("two three", "one two") == pytest.approx(2 / 3)


def asked(build: Build, script: list[str], n: int = 1) -> tuple[Session, Message, list[Update]]:
    """A first reply, `script[0]`, then alternatives beside it."""
    session = build(ScriptedEngine(script, pace=0))
    prompt = session.begin("Well?")
    list(session.stream(prompt.id, sampling=Sampling(seed=0)))
    keep = [session.path()[-1].id]
    updates = session.alternatives(prompt.id, n, keep=keep, sampling=Sampling(seed=1))
    return session, prompt, list(updates)


def shown(updates: list[Update]) -> dict[int, str]:
    """What stands in each lane, as a screen fills them."""
    lanes: dict[int, str] = {}
    for update in updates:
        match update:
            case Finished(reply, lane):
                lanes[lane] = reply.text
            case Replaced(lane=lane) | Removed(lane=lane):
                lanes.pop(lane, None)
    return lanes


def stored(session: Session, prompt: Message) -> list[str]:
    return [each.text for each in session.store.conversations.children(prompt.conversation, prompt.id)]


def test_a_reply_that_says_nearly_the_same_is_written_again(build: Build) -> None:
    script = ["It opens at nine today.", "It opens at ten today.", "Which shop do you mean?"]
    session, prompt, updates = asked(build, script)
    assert shown(updates) == {0: "Which shop do you mean?"}
    assert stored(session, prompt) == [script[0], script[2]]
    everything = session.store.conversations.messages(prompt.conversation, deleted=True)
    assert script[1] in [each.text for each in everything if each.deleted]


def test_what_a_person_keeps_may_be_alike(build: Build) -> None:
    script = ["It opens at nine today.", "It opens at ten today.", "Which shop do you mean?"]
    session = build(ScriptedEngine(script, pace=0))
    prompt = session.begin("Well?")
    list(session.stream(prompt.id, sampling=Sampling(seed=0)))
    updates: list[Update] = []
    keep = [session.path()[-1].id]
    for update in session.alternatives(prompt.id, 1, keep=keep, sampling=Sampling(seed=1)):
        updates.append(update)
        if isinstance(update, Finished):
            session.keep(update.reply.id)
    assert shown(updates) == {0: script[1]}
    assert stored(session, prompt) == script[:2]


def test_the_least_alike_is_brought_back_where_nothing_else_comes(build: Build) -> None:
    script = ["a b c d e f", "a b c d e x", "a b c d y x", "a b c d e q", "a b c d e z"]
    session, prompt, updates = asked(build, script)
    engine = session.engine
    assert isinstance(engine, ScriptedEngine)
    assert len(engine.requests) == 1 + 1 + ALIKE_ROUNDS
    assert shown(updates) == {0: "a b c d y x"}
    assert stored(session, prompt) == [script[0], "a b c d y x"]


def test_one_that_is_alike_is_better_than_none(build: Build) -> None:
    # All but the second repeat the first.
    script = ["a b c d e f", "a b c d e x", "A b c d e f", "a B c d e f", "a b C d e f"]
    session, prompt, updates = asked(build, script)
    assert shown(updates) == {0: "a b c d e x"}
    assert stored(session, prompt) == ["a b c d e f", "a b c d e x"]


def test_two_lanes_never_bring_back_the_same_text(build: Build) -> None:
    script = ["a b c d e f", "a b c d e x", "A b c d e f", "a b c d e x"]
    session, prompt, updates = asked(build, script, n=3)
    assert list(shown(updates).values()) == ["a b c d e x"]
    assert sorted(stored(session, prompt)) == ["a b c d e f", "a b c d e x"]


def test_a_long_reply_is_not_written_again(build: Build) -> None:
    long = " ".join(f"word{n}" for n in range(LONG))
    _, _, updates = asked(build, [long, f"{long} and"])
    assert shown(updates) == {0: f"{long} and"}
    assert not any(isinstance(each, Replaced) for each in updates)


@pytest.mark.parametrize("ends", ["stop", "crash"])
def test_what_was_whole_stays_when_the_rewriting_does_not_end(build: Build, ends: str) -> None:
    script = ["It opens at nine today.", "It opens at ten today.", "Which shop do you mean by that?"]
    engine = ScriptedEngine(script, pace=0)
    session = build(engine)
    prompt = session.begin("Well?")
    list(session.stream(prompt.id, sampling=Sampling(seed=0)))
    updates: list[Update] = []
    keep = [session.path()[-1].id]
    try:
        for update in session.alternatives(prompt.id, 1, keep=keep, sampling=Sampling(seed=1)):
            updates.append(update)
            if isinstance(update, Replaced) and ends == "crash":
                engine.fail_after(2)
            if isinstance(update, Text) and update.delta.startswith("Which") and ends == "stop":
                session.cancel()
    except EngineDied:
        assert ends == "crash"
    assert script[1] in stored(session, prompt)
    if ends == "stop":
        assert shown(updates) == {0: script[1]}
        assert len(stored(session, prompt)) == 2
