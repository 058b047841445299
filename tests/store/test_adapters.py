"""What trainings made: names, choices, rollback, deletion, wins."""

from __future__ import annotations

import random
import sqlite3
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chatapp.core.errors import NotFound, UsageError
from chatapp.core.types import Adapter, Provenance, Tiers, Wins
from chatapp.preferences.pairs import pairs
from chatapp.store.database import Store, open_store

BASE, OTHER = "a" * 64, "b" * 64


def made(name: str, parent: str | None = None, model: str = BASE) -> Adapter:
    return Adapter(
        name,
        "rloo",
        "guide",
        model,
        parent,
        1_700_000_000.5,
        True,
        "better than the base: wins 66%",
        "20261121-030000",
        "d" * 64,
        {"seed": 3, "rloo": {"lr": 3e-4}},
        {"wins": {"value": 0.66, "low": 0.6, "high": 0.71, "n": 80}},
    )


def three(store: Store) -> None:
    for name, parent in (("r1", None), ("r2", "r1"), ("r3", "r2")):
        store.adapters.add(made(name, parent))


def test_an_adapter_comes_back_as_it_was_made(store: Store) -> None:
    first = made("r1")
    assert store.adapters.add(first) == first
    second = replace(made("r2", "r1"), accepted=False, reason="no better\ud800")
    store.adapters.add(second)
    assert store.adapters.get("r1") == first
    assert store.adapters.list() == [first, replace(second, reason="no better\ufffd")]
    with open_store(store.path) as again:
        assert again.adapters.list() == store.adapters.list()


def test_names_are_counted_up_and_never_given_twice(store: Store) -> None:
    assert store.adapters.next_name() == "r1"
    for count in range(1, 11):
        store.adapters.add(made(store.adapters.next_name()))
        assert store.adapters.next_name() == f"r{count + 1}"
    store.adapters.delete("r10")
    assert store.adapters.next_name() == "r11"
    with pytest.raises(UsageError, match="already"):
        store.adapters.add(made("r10"))


@pytest.mark.parametrize(
    "name", ["", "r", "r0", "r01", "r1/..", "../r1", "base", "active", "R1", "r1\n", "r²"]
)
def test_other_names_are_refused(store: Store, name: str) -> None:
    with pytest.raises(UsageError, match="no name"):
        store.adapters.add(made(name))
    with pytest.raises(sqlite3.IntegrityError):
        store._connection.db.conn.execute(
            "INSERT INTO adapters VALUES (1, ?, '', '', '', NULL, '', 1, '', '', '', '{}', '{}')", (name,)
        )


def test_a_name_that_is_not_there_is_told_with_close_ones(store: Store) -> None:
    with pytest.raises(NotFound, match="'r7'") as error:
        store.adapters.get("r7")
    assert "chatapp train" in error.value.hint
    three(store)
    store.adapters.delete("r2")
    with pytest.raises(NotFound) as error:
        store.adapters.get("r31")
    assert error.value.hint == "there is r3, r1"


def test_adapters_of_one_model(store: Store) -> None:
    store.adapters.add(made("r1"))
    store.adapters.add(made("r2", model=OTHER))
    assert [each.name for each in store.adapters.list(OTHER)] == ["r2"]
    with pytest.raises(UsageError, match="another model"):
        store.adapters.add(made("r3", "r1", OTHER))
    with pytest.raises(NotFound):
        store.adapters.add(made("r3", "r9"))
    with pytest.raises(UsageError, match="another model"):
        store.adapters.choose(OTHER, "r1", "use")
    assert store.adapters.active(OTHER) is None


def test_the_last_choice_counts_for_each_model(store: Store) -> None:
    three(store)
    store.adapters.add(made("r4", model=OTHER))
    assert not store.adapters.any_chosen()
    assert store.adapters.active(BASE) is None
    store.adapters.choose(BASE, "r3", "train")
    store.adapters.choose(OTHER, "r4", "use")
    store.adapters.choose(BASE, "r1", "use")
    assert store.adapters.any_chosen()
    assert store.adapters.active(BASE) == store.adapters.get("r1")
    assert store.adapters.active(OTHER) == store.adapters.get("r4")
    store.adapters.choose(BASE, None, "off")
    assert store.adapters.active(BASE) is None
    with pytest.raises(NotFound):
        store.adapters.choose(BASE, "r9", "use")


def test_rolling_back_goes_along_the_parents_to_the_base(store: Store) -> None:
    three(store)
    store.adapters.add(made("r4", "r1"))
    store.adapters.choose(BASE, "r3", "train")
    store.adapters.choose(BASE, "r4", "use")
    before = store.adapters.rollback(BASE)
    assert before == store.adapters.get("r1")
    assert store.adapters.active(BASE) == before
    assert store.adapters.rollback(BASE) is None
    assert store.adapters.active(BASE) is None
    with pytest.raises(UsageError, match="no round to go back to"):
        store.adapters.rollback(BASE)


def test_rolling_back_steps_over_deleted_rounds(store: Store) -> None:
    three(store)
    store.adapters.choose(BASE, "r3", "train")
    store.adapters.delete("r2")
    assert store.adapters.rollback(BASE) == store.adapters.get("r1")


def test_a_deleted_adapter_is_hidden_switched_off_and_can_come_back(store: Store) -> None:
    three(store)
    store.adapters.choose(BASE, "r3", "train")
    store.adapters.delete("r3")
    store.adapters.delete("r3")
    assert store.adapters.active(BASE) is None
    choices = store._connection.rows("SELECT adapter, why FROM adapter_choices ORDER BY id")
    assert [tuple(each) for each in choices] == [("r3", "train"), (None, "delete")]
    assert [each.name for each in store.adapters.list()] == ["r1", "r2"]
    assert [each.name for each in store.adapters.list(deleted=True)] == ["r1", "r2", "r3"]
    assert store.adapters.get("r3").deleted
    with pytest.raises(UsageError, match="deleted") as error:
        store.adapters.choose(BASE, "r3", "use")
    assert "restore r3" in error.value.hint
    store.adapters.restore("r3")
    store.adapters.restore("r3")
    assert store.adapters.list()[-1] == made("r3", "r2")
    assert store.adapters.active(BASE) is None


def test_deleting_another_leaves_the_choice(store: Store) -> None:
    three(store)
    store.adapters.choose(BASE, "r3", "train")
    store.adapters.delete("r2")
    assert store.adapters.active(BASE) == store.adapters.get("r3")


@pytest.mark.parametrize("table", ["adapters", "adapter_choices", "adapter_deletions"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET id = id + 100", "DELETE FROM {}"])
def test_nothing_of_it_changes(store: Store, table: str, verb: str) -> None:
    three(store)
    store.adapters.choose(BASE, "r1", "use")
    store.adapters.delete("r2")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        store._connection.db.conn.execute(verb.format(table))


# Wins


def replies_of(store: Store, *adapters: str | None, model: str | None = BASE) -> tuple[int, list[int]]:
    """A prompt and one reply by each adapter."""
    conversation = store.conversations.create()
    prompt = store.conversations.add(conversation.id, None, "user", "Where?", "typed")
    ids = []
    for adapter in adapters:
        source = Provenance("guide", model, adapter)
        reply = store.conversations.begin_reply(conversation.id, prompt.id, source, activate=False)
        ids.append(store.conversations.finish(reply.id, f"{adapter} {reply.id}", "stop", source).id)
    return prompt.id, ids


def test_the_best_of_each_counts_once_a_ranking(store: Store) -> None:
    three(store)
    prompt, (a, b, c, d) = replies_of(store, "r2", "r1", "r2", "r1")
    store.rankings.add(prompt, [a, b, c, d], ((c,), (b, d), (a,)))
    assert store.adapters.wins("r2", "r1") == Wins(1, 0, 0)
    assert store.adapters.wins("r1", "r2") == Wins(0, 1, 0)
    prompt, (a, b, c) = replies_of(store, "r2", "r1", None)
    first = store.rankings.add(prompt, [a, b, c], ((a, b), (c,)))
    assert store.adapters.wins("r2", "r1") == Wins(1, 0, 1)
    assert store.adapters.wins("r2", None) == Wins(1, 0, 0)
    assert store.adapters.wins(None, "r1") == Wins(0, 1, 0)
    again = store.rankings.add(prompt, [a, b, c], ((b,), (a,), (c,)))
    assert store.adapters.wins("r2", "r1") == Wins(1, 1, 0)
    store.rankings.retract(again.id)
    store.rankings.retract(first.id)
    assert store.adapters.wins("r2", "r1") == Wins(1, 0, 0)
    assert store.adapters.wins("r2", "r1").rankings == 1


def test_what_says_nothing_of_the_two_is_not_counted(store: Store) -> None:
    three(store)
    prompt, (a, b) = replies_of(store, "r2", "r3")
    store.rankings.add(prompt, [a, b], ((a,), (b,)))
    prompt, (a, b) = replies_of(store, "r2", "r1")
    store.rankings.add(prompt, [a, b], (), all_bad=True)
    prompt, (a, b) = replies_of(store, "r2", "r1")
    store.rankings.add(prompt, [a, b], ((a,),))
    prompt, (a, b) = replies_of(store, "r2", None, model=OTHER)
    store.rankings.add(prompt, [a, b], ((a,), (b,)))
    prompt, (a, b) = replies_of(store, "r2", None, model=None)
    store.rankings.add(prompt, [a, b], ((a,), (b,)))
    assert store.adapters.wins("r2", "r1") == Wins(0, 0, 0)
    assert store.adapters.wins("r2", None) == Wins(0, 0, 0)


def test_wins_of_what_cannot_be_compared(store: Store) -> None:
    three(store)
    store.adapters.add(made("r4", model=OTHER))
    for a, b in (("r1", "r1"), ("r1", "r4")):
        with pytest.raises(UsageError):
            store.adapters.wins(a, b)
    with pytest.raises(UsageError):
        store.adapters.wins(None, None)
    with pytest.raises(NotFound):
        store.adapters.wins("r1", "r9")


def test_wins_agree_with_the_pairs_of_the_rankings(store: Store) -> None:
    """Another way round: a wins where no pair of the best of each has it as the rejected one."""
    three(store)
    source = random.Random(1)
    expected = {"a": 0, "b": 0, "ties": 0}
    for _ in range(40):
        writers = [source.choice(["r1", "r2", None]) for _ in range(4)]
        prompt, ids = replies_of(store, *writers)
        order = source.sample(ids, 4)
        cut = source.randint(1, 4)
        tiers: Tiers = tuple(tier for tier in (tuple(order[:cut]), tuple(order[cut:])) if tier)
        ranking = store.rankings.add(prompt, ids, tiers)
        own = {name: [id for id, by in zip(ids, writers, strict=True) if by == name] for name in ("r1", "r2")}
        if not all(own.values()):
            continue
        rejected = {low for high, low in pairs(ranking)}
        best_of = {name: all(id in rejected for id in own[name]) for name in own}
        key = "ties" if best_of["r1"] == best_of["r2"] else "b" if best_of["r1"] else "a"
        expected[key] += 1
    assert min(expected.values()) > 0
    assert store.adapters.wins("r1", "r2") == Wins(**expected)


def test_wins_are_counted_quickly(store: Store) -> None:
    three(store)
    with store._connection.transaction():
        for _ in range(120):
            prompt, ids = replies_of(store, "r2", "r1", "r2", "r1")
            store.rankings.add(prompt, ids, tuple((each,) for each in ids))
    begun = time.perf_counter()
    assert store.adapters.wins("r2", "r1") == Wins(120, 0, 0)
    assert time.perf_counter() - begun < 0.5


class Choosing(RuleBasedStateMachine):
    """Whatever is done, `active` is the last valid choice."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = open_store(Path(self.folder.name) / "chatapp.db")
        self.parents: dict[str, str | None] = {}
        self.deleted: set[str] = set()
        self.active: str | None = None

    def teardown(self) -> None:
        assert self.store.integrity() == "ok"
        self.store.close()
        self.folder.cleanup()

    def some(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.parents)))

    @rule(data=st.data())
    def add(self, data: st.DataObject) -> None:
        parent = data.draw(st.sampled_from([None, *self.parents]))
        name = self.store.adapters.next_name()
        assert name not in self.parents
        self.store.adapters.add(made(name, parent))
        self.parents[name] = parent

    @precondition(lambda self: self.parents)
    @rule(data=st.data())
    def choose(self, data: st.DataObject) -> None:
        name = self.some(data)
        try:
            self.store.adapters.choose(BASE, name, "use")
        except UsageError:
            assert name in self.deleted
        else:
            self.active = name

    @rule()
    def off(self) -> None:
        self.store.adapters.choose(BASE, None, "off")
        self.active = None

    @rule()
    def rollback(self) -> None:
        try:
            self.store.adapters.rollback(BASE)
        except UsageError:
            assert self.active is None
            return
        assert self.active is not None
        self.active = self.parents[self.active]
        while self.active in self.deleted:
            self.active = self.parents[self.active]

    @precondition(lambda self: self.parents)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name = self.some(data)
        self.store.adapters.delete(name)
        self.deleted.add(name)
        if self.active == name:
            self.active = None

    @precondition(lambda self: self.parents)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        name = self.some(data)
        self.store.adapters.restore(name)
        self.deleted.discard(name)

    @invariant()
    def active_is_the_last_valid_choice(self) -> None:
        active = self.store.adapters.active(BASE)
        assert (active.name if active else None) == self.active
        assert active is None or not active.deleted

    @invariant()
    def the_rest_is_there(self) -> None:
        shown = [each.name for each in self.store.adapters.list()]
        assert set(shown) == set(self.parents) - self.deleted
        assert len(self.store.adapters.list(deleted=True)) == len(self.parents)


TestChoosing = Choosing.TestCase
TestChoosing.settings = settings(max_examples=20, stateful_step_count=25)
