"""Whatever a person does in whatever order: no text is lost, and the model is given the active path alone."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chatapp.core.errors import EngineDied
from chatapp.core.settings import Settings
from chatapp.core.types import Message, Turn
from chatapp.engine.base import Request
from chatapp.engine.scripted import ScriptedEngine
from chatapp.session import tree
from chatapp.session.alternatives import same_text
from chatapp.session.session import Session
from chatapp.session.updates import Began, Finished, Text
from chatapp.store.database import open_store
from tests.session.conftest import SPEC

CHOICE = st.integers(0, 10**6)
WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.strip)


class Walk(RuleBasedStateMachine):
    """`said` and `parents` are the test's own book of what was written where."""

    @initialize(system=st.sampled_from(["", "Be brief."]))
    def start(self, system: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = open_store(Path(self.folder.name) / "chatapp.db")
        self.engine = ScriptedEngine(self._reply, pace=0)
        self.session = Session(self.store, self.engine, Settings(system=system), SPEC)
        self.system = system
        self.said: dict[int, str] = {}
        self.parents: dict[int, int | None] = {}
        self.replies = 0
        self._note(self.session.begin("first"))

    def _reply(self, request: Request, lane: int, seed: int) -> str:
        """Now and then nothing, or what another lane says; else a text that no other message has."""
        self.replies += 1
        return {0: "", 1: "the same", 2: " The  same "}.get(self.replies % 7, f"reply number {self.replies}")

    def _note(self, message: Message) -> None:
        self.said[message.id] = message.text
        self.parents[message.id] = message.parent

    def _pick(self, choice: int, *roles: str) -> Message | None:
        found = [each for each in self.session.messages() if not roles or each.role in roles]
        return found[choice % len(found)] if found else None

    def _children(self, prompt: Message) -> list[Message]:
        return [each for each in self.session.messages() if each.parent == prompt.id]

    def _run(self, updates: Any, prompt: int, texts: int = 10**6) -> None:
        """Read updates until so many texts came; what was shown is what must be stored."""
        with closing(updates):
            for update in updates:
                match update:
                    case Began(reply):
                        self._note(reply)
                    case Text(id, _, delta):
                        self.said[id] += delta
                        texts -= 1
                    case Finished(reply):
                        assert self.said[reply.id] == reply.text
                if texts <= 0:
                    break
        self._check_request(prompt)

    def _check_request(self, prompt: int) -> None:
        way: list[int] = []
        at: int | None = prompt
        while at is not None:
            way.insert(0, at)
            at = self.parents[at]
        roles = {each.id: each.role for each in self.session.messages()}
        turns = [Turn(roles[each], self.said[each]) for each in way]
        if self.system:
            turns.insert(0, Turn("system", self.system))
        assert list(self.engine.requests[-1].turns) == turns

    @rule(text=WORDS)
    def send(self, text: str) -> None:
        prompt = self.session.begin(text)
        self._note(prompt)
        assert prompt.text == text
        self._run(self.session.stream(prompt.id), prompt.id)
        assert [each.id for each in self.session.path()][-2] == prompt.id

    @rule(choice=CHOICE, n=st.integers(1, 4))
    def regenerate(self, choice: int, n: int) -> None:
        prompt = self._pick(choice, "user")
        if prompt is None:
            return
        before = {each.id for each in self.session.messages()}
        shown = self.session.path()
        self._run(self.session.alternatives(prompt.id, n), prompt.id)
        assert self.session.path() == shown
        family = self._children(prompt)
        fresh = [same_text(each.text) for each in family if each.id not in before]
        old = {same_text(each.text) for each in family if each.id in before}
        assert len(set(fresh)) == len(fresh)
        assert not old & set(fresh)
        assert "" not in fresh

    @rule(choice=CHOICE)
    def stop_in_the_middle(self, choice: int) -> None:
        prompt = self._pick(choice, "user")
        if prompt is None:
            return
        self._run(self.session.stream(prompt.id), prompt.id, texts=1)

    @rule(choice=CHOICE, deltas=st.integers(0, 3), n=st.integers(1, 3))
    def the_engine_dies(self, choice: int, deltas: int, n: int) -> None:
        prompt = self._pick(choice, "user")
        if prompt is None:
            return
        self.engine.fail_after(deltas)
        try:
            self._run(self.session.alternatives(prompt.id, n), prompt.id)
        except EngineDied:
            self._check_request(prompt.id)

    @rule(choice=CHOICE, text=WORDS)
    def edit(self, choice: int, text: str) -> None:
        message = self._pick(choice)
        if message is None:
            return
        edited = self.session.edit(message.id, text)
        self._note(edited)
        if edited.id != message.id:
            assert (edited.parent, edited.text) == (message.parent, text)
            assert edited.id in [each.id for each in self.session.path()]

    @rule(choice=CHOICE, order=st.randoms(use_true_random=False), bad=st.booleans())
    def rank(self, choice: int, order: Any, bad: bool) -> None:
        prompt = self._pick(choice, "user")
        family = [] if prompt is None else self._children(prompt)
        ids = [each.id for each in family if each.role == "assistant"]
        if prompt is None or not ids:
            return
        order.shuffle(ids)
        cut = order.randint(1, len(ids))
        tiers = () if bad else tuple(tier for tier in (tuple(ids[:cut]), tuple(ids[cut:])) if tier)
        self.session.rank(prompt.id, ids, tiers, all_bad=bad)
        if tiers:
            winner = next(each for each in self._children(prompt) if each.active)
            assert winner.id in tiers[0]

    @rule(choice=CHOICE, value=st.sampled_from([-1, 0, 1]))
    def thumb(self, choice: int, value: Any) -> None:
        reply = self._pick(choice, "assistant")
        if reply is not None:
            self.session.thumb(reply.id, value)
            assert self.store.rankings.thumb_of(reply.id) == value

    @rule(choice=CHOICE)
    def delete(self, choice: int) -> None:
        message = self._pick(choice)
        if message is not None:
            self.session.delete(message.id)
            assert message.id not in [each.id for each in self.session.messages()]

    @rule(choice=CHOICE)
    def delete_and_take_back(self, choice: int) -> None:
        message = self._pick(choice)
        if message is not None:
            before = (self.session.messages(), self.session.path())
            self.session.delete(message.id)
            assert self.session.undo() == "the deletion"
            assert (self.session.messages(), self.session.path()) == before

    @rule()
    def undo(self) -> None:
        self.session.undo()

    @rule(choice=CHOICE)
    def walk(self, choice: int) -> None:
        message = self._pick(choice)
        if message is not None:
            self.session.activate(message.id)
            assert message.id in [each.id for each in self.session.path()]

    @precondition(lambda self: self.session.conversation is not None)
    @rule()
    def open_again(self) -> None:
        conversation = self.session.conversation
        assert conversation is not None
        self.session.open(conversation.id)

    @invariant()
    def no_text_disappears(self) -> None:
        stored = {each.id: each.text for each in self.store.conversations.messages(1, deleted=True)}
        assert self.said.items() <= stored.items()

    @invariant()
    def nothing_is_left_unsealed(self) -> None:
        for each in self.store.conversations.messages(1, deleted=True):
            assert each.origin != "model" or each.finish_reason is not None

    @invariant()
    def the_active_path_is_a_path(self) -> None:
        path = self.session.path()
        assert [each.parent for each in path] == [None, *(each.id for each in path)][: len(path)]
        assert all(each.active and not each.deleted for each in path)
        assert path == tree.active_path(self.store.conversations.messages(1, deleted=True))

    @invariant()
    def one_of_each_family_is_shown(self) -> None:
        shown = [each.parent for each in self.session.messages() if each.active]
        assert len(shown) == len(set(shown))

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


Walk.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, suppress_health_check=list(HealthCheck)
)
TestWalk = Walk.TestCase
