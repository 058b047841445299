"""The reward model at work, on the embedded model through llama.cpp."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chatapp.cli.app import app
from chatapp.core.errors import ModelError, PromptTooLong
from chatapp.core.paths import Paths
from chatapp.core.settings import Settings
from chatapp.core.types import Sampling, Turn
from chatapp.engine.tuning import TuningClient
from chatapp.preferences.next import doubt
from chatapp.session import adapters
from chatapp.session.rank_queue import RankRequest, prompts_to_rank
from chatapp.session.round_data import longest
from chatapp.session.scoring import Scoring
from chatapp.session.session import Session
from chatapp.session.updates import Scored
from chatapp.session.wiring import House

from .guide_adapters import register
from .guide_rewards import write_reward

SHORT = Sampling(seed=3, temperature=1.0, max_tokens=24)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    paths = Paths(tmp_path / "config", tmp_path / "data", tmp_path / "state", tmp_path / "cache")
    with House(paths, Settings(threads=1, sampling=SHORT)) as made:
        register(made, "r1")
        write_reward(paths.adapters / "r1" / "reward.gguf")
        yield made


@pytest.fixture
def session(house: House) -> Session:
    made = house.session()
    adapters.switch(house, made, "r1")
    return made


def answered(session: Session, text: str, *replies: str) -> tuple[int, list[int]]:
    prompt = session.begin(text)
    chats = session.store.conversations
    return prompt.id, [
        chats.add(prompt.conversation, prompt.id, "assistant", each, "model", finish_reason="stop").id
        for each in replies
    ]


def test_it_agrees_with_rankings_or_not(house: House, session: Session) -> None:
    scoring = Scoring(session, house.paths.adapters)
    prompt, (one, two, three) = answered(
        session, "Hello?", "Yes.", "Yes, of course I do.", "Yes, of course I do, and I always did so."
    )
    scores = scoring.score(
        prompt, ["Yes.", "Yes, of course I do.", "Yes, of course I do, and I always did so."]
    )
    assert scores == sorted(scores) and scores[0] < scores[1] < scores[2]
    longest_first = session.rank(prompt, (one, two, three), ((three,), (two,), (one,)))
    assert scoring.agreement(longest_first) == (3, 3)
    mixed = session.rank(prompt, (one, two, three), ((two,), (three,), (one,)))
    assert scoring.agreement(mixed) == (2, 3)
    tied = session.rank(prompt, (one, two, three), ((one, two), (three,)))
    assert scoring.agreement(tied) == (0, 2)
    assert scoring.agreement(session.rank(prompt, (one, two), (), all_bad=True)) is None
    adapters.switch(house, session, None)
    assert scoring.agreement(longest_first) is None


def test_a_long_conversation_is_read_as_far_as_was_learned_from(
    house: House, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[tuple[int, ...]] = []
    logprobs = TuningClient.logprobs

    def recorded(engine: TuningClient, asked: Sequence[tuple[int, ...]]) -> Any:
        rows.extend(asked)
        return logprobs(engine, asked)

    monkeypatch.setattr(TuningClient, "logprobs", recorded)
    scoring = Scoring(session, house.paths.adapters)
    session.prepare()
    engine = house.engine()
    assert isinstance(engine, TuningClient)
    most = longest(engine)
    for _ in range(6):
        answered(session, "Tell me more of it. " * (most // 50), "There is a lot to tell. " * (most // 50))
    prompt, replies = answered(session, "And now?", *("Well, yes, now. " * n for n in range(1, 4)))
    ranking = session.rank(prompt, replies, tuple((each,) for each in reversed(replies)))
    assert scoring.agreement(ranking) == (3, 3)
    # As many of the newest turns as fit beside the longest reply.
    turns, longest_reply = session.turns(prompt), Turn("assistant", "Well, yes, now. " * 3)
    at = next(
        at for at in range(0, len(turns), 2) if len(engine.encode([*turns[at:], longest_reply]).ids) <= most
    )
    ids = engine.encode(turns[at:]).ids
    assert 0 < at < len(turns) - 1
    assert len(rows) == 3 and all(row[: len(ids)] == ids and len(row) <= most for row in rows)
    # What would take too long is left undone where nobody asked for it.
    rows.clear()
    prompt, replies = answered(session, "Go on.", *(f"{n}. " + "It is so. " * 100 for n in range(9)))
    assert scoring.agreement(session.rank(prompt, replies, tuple((each,) for each in replies))) is None
    assert not rows


def test_the_best_of_none_where_the_message_is_too_long_to_be_scored(house: House, session: Session) -> None:
    session.prepare()
    scoring, text = Scoring(session, house.paths.adapters), "Please tell me all of it. "
    text *= longest(session.engine) // 5
    with pytest.raises(PromptTooLong, match="reward model"):
        scoring.require_fit(text)
    assert session.conversation is None
    prompt = session.begin(text)
    with pytest.raises(PromptTooLong, match="reward model"):
        list(scoring.best_of(prompt.id, 2))
    assert not session.store.conversations.children(prompt.conversation, prompt.id)


def test_the_best_of_several_is_shown_and_the_others_are_kept(house: House, session: Session) -> None:
    prompt = session.begin("What can you do?")
    updates = list(Scoring(session, house.paths.adapters).best_of(prompt.id, 4))
    scored = updates[-1]
    assert isinstance(scored, Scored)
    assert list(scored.scores) == sorted(scored.scores, reverse=True)
    kept = session.store.conversations.children(prompt.conversation, prompt.id)
    assert {each.id for each in kept} == {each.id for each in scored.replies} and len(kept) > 1
    assert [each.id for each in kept if each.active] == [scored.replies[0].id]
    assert scored.in_words.startswith(f"best of {len(kept)} by the reward model of r1: ")
    # The adapter of the chat is on again.
    assert session.store.conversations.message(scored.replies[0].id).provenance is not None
    engine = house.engine()
    before = engine.logprobs([(5, 6, 7)])  # type: ignore[attr-defined]
    engine.set_adapter(session.adapter)
    assert engine.logprobs([(5, 6, 7)]) == before  # type: ignore[attr-defined]
    adapters.switch(house, session, None)
    with pytest.raises(
        ModelError, match=r"^no adapter is in use, and the base has no reward model"
    ) as raised:
        next(iter(Scoring(session, house.paths.adapters).best_of(prompt.id, 2)))
    assert "train" in raised.value.hint and "`chatapp adapters use r1`" in raised.value.hint
    # Only one that has a reward model helps, and only one that was not deleted.
    register(house, "r2")
    with pytest.raises(ModelError) as raised:
        Scoring(session, house.paths.adapters).require()
    assert "`chatapp adapters use r1`" in raised.value.hint
    session.store.adapters.delete("r1")
    with pytest.raises(ModelError) as raised:
        Scoring(session, house.paths.adapters).require()
    assert raised.value.hint.startswith("train first: ")


def test_what_it_is_least_sure_of_is_asked_first(house: House, session: Session) -> None:
    alike, _ = answered(session, "One?", "Red and blue.", "Old and cold.")
    session.new()
    apart, _ = answered(session, "Two?", "No.", "No, that is not what I meant, and you know that it is not.")
    session.new()
    answered(session, "Three?", "The only one.")
    session.new()
    ranked, replies = answered(session, "Four?", "Up up.", "Go go.")
    session.rank(ranked, replies, ((replies[0],), (replies[1],)))
    scoring = Scoring(session, house.paths.adapters)
    request = RankRequest(pick="uncertain")
    asked = list(prompts_to_rank(session.store, request, 0, score=scoring.doubt))
    assert asked[:2] == [alike, apart] and ranked not in asked
    # Without it, by their words alone: these two have nothing in common, those share one.
    assert doubt([0.0, 0.0]) == 1.0 and doubt([0.0, 1e9]) == pytest.approx(0.0) and doubt([1.0]) == 0.0


def test_ask_gives_the_best_one(house: House, session: Session) -> None:
    said = CliRunner().invoke(
        app, ["ask", "What can you do?", "--best", "3", "--json", "--seed", "1"], obj=house
    )
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    assert found["scores"] == sorted(found["scores"], reverse=True) and len(found["scores"]) > 1
    assert session.store.conversations.message(found["replies"][0]["id"]).active
    before = len(session.store.conversations.list())
    none = CliRunner().invoke(app, ["ask", "x", "--best", "3", "-a", "base"], obj=house)
    assert none.exit_code == 1 and "no reward model" in none.stderr
    assert len(session.store.conversations.list()) == before
    both = CliRunner().invoke(app, ["ask", "x", "--best", "3", "-n", "2"], obj=house)
    assert both.exit_code == 2 and "do not go together" in both.stderr
