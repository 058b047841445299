"""Random work on trees: no text disappears, one active child at most, the path is a path, undo undoes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from chatapp.core.errors import UsageError
from chatapp.core.types import Message, Provenance
from chatapp.store.database import open_store

TEXT = st.text(max_size=8)
PROVENANCE = Provenance("guide")


class Tree(RuleBasedStateMachine):
    messages = Bundle("messages")
    streaming = Bundle("streaming")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = open_store(Path(self.folder.name) / "chatapp.db")
        self.conversation = self.store.conversations.create().id
        self.texts: dict[int, str] = {}
        self.events = 0

    def teardown(self) -> None:
        assert self.store.integrity() == "ok"
        self.store.close()
        self.folder.cleanup()

    def remember(self, message: Message) -> int:
        self.texts[message.id] = message.text
        return message.id

    def is_deleted(self, id: int | None) -> bool:
        return id is not None and self.store.conversations.message(id).deleted

    def seen(self) -> tuple[list[int], list[int]]:
        conversations = self.store.conversations
        return (
            [each.id for each in conversations.messages(self.conversation)],
            [each.id for each in conversations.path(self.conversation)],
        )

    @rule(target=messages, text=TEXT)
    def new_root(self, text: str) -> int:
        return self.remember(self.store.conversations.add(self.conversation, None, "user", text, "typed"))

    @rule(target=messages, above=messages, text=TEXT, activate=st.booleans())
    def follow(self, above: int, text: str, activate: bool) -> int:
        conversations = self.store.conversations
        role = "user" if conversations.message(above).role == "assistant" else "assistant"
        try:
            made = conversations.add(self.conversation, above, role, text, "typed", activate=activate)
        except UsageError:
            assert self.is_deleted(above)
            return above
        if activate:
            assert conversations.path(self.conversation)[-1].id == made.id
        return self.remember(made)

    @rule(target=streaming, above=messages, activate=st.booleans())
    def begin(self, above: int, activate: bool) -> int:
        conversations = self.store.conversations
        if self.is_deleted(above):
            return self.remember(conversations.begin_reply(self.conversation, self.root(), PROVENANCE))
        return self.remember(
            conversations.begin_reply(self.conversation, above, PROVENANCE, activate=activate)
        )

    def root(self) -> int:
        return self.new_root("root")

    @rule(reply=streaming, more=TEXT)
    def journal(self, reply: int, more: str) -> None:
        self.texts[reply] += more
        self.store.conversations.journal(reply, self.texts[reply])

    @rule(
        target=messages, reply=consumes(streaming), more=TEXT, reason=st.sampled_from(["stop", "cancelled"])
    )
    def finish(self, reply: int, more: str, reason: str) -> int:
        text = self.texts[reply] + more
        return self.remember(self.store.conversations.finish(reply, text, reason, PROVENANCE))  # type: ignore[arg-type]

    @rule(message=messages)
    def activate(self, message: int) -> None:
        try:
            self.store.conversations.activate(message)
        except UsageError:
            assert self.is_deleted(message)
        else:
            assert message in self.seen()[1]

    @rule(message=messages)
    def delete(self, message: int) -> None:
        self.store.conversations.delete_message(message)
        assert message not in self.seen()[0]

    @rule(message=messages)
    def restore(self, message: int) -> None:
        try:
            self.store.conversations.restore_message(message)
        except UsageError:
            assert self.is_deleted(self.store.conversations.message(message).parent)
        else:
            assert message in self.seen()[0]

    @rule(message=messages)
    def delete_and_undo(self, message: int) -> None:
        before = self.seen()
        if not self.is_deleted(message):
            self.store.conversations.delete_message(message)
            self.store.conversations.restore_message(message)
        assert self.seen() == before

    @rule(prompt=messages, data=st.data())
    def rank(self, prompt: int, data: st.DataObject) -> None:
        conversations, rankings = self.store.conversations, self.store.rankings
        replies = [
            each.id
            for each in conversations.children(self.conversation, prompt)
            if each.role == "assistant" and (each.finish_reason or each.provenance is None)
        ]
        if not replies:
            return
        shown = data.draw(st.permutations(replies))
        cut = data.draw(st.integers(0, len(shown)))
        tiers = tuple(tuple(part) for part in (shown[:cut], shown[cut:]) if part)
        ranking = rankings.add(prompt, shown, tiers)
        self.events += 1
        assert rankings.for_prompt(prompt) == ranking
        if data.draw(st.booleans()):
            rankings.retract(ranking.id)
            assert ranking not in rankings.list()

    @invariant()
    def no_text_disappears(self) -> None:
        kept = self.store.conversations.messages(self.conversation, deleted=True)
        assert {each.id: each.text for each in kept} == self.texts

    @invariant()
    def one_active_child_at_most(self) -> None:
        active = [each.parent for each in self.store.conversations.messages(self.conversation) if each.active]
        assert len(active) == len(set(active))

    @invariant()
    def the_path_is_a_path(self) -> None:
        conversations = self.store.conversations
        parent = None
        for message in conversations.path(self.conversation):
            assert message.parent == parent
            assert message.active and not message.deleted
            parent = message.id
        assert not any(each.active for each in conversations.children(self.conversation, parent))

    @invariant()
    def what_is_shown_hangs_together(self) -> None:
        shown = {each.id: each.parent for each in self.store.conversations.messages(self.conversation)}
        assert all(parent is None or parent in shown for parent in shown.values())

    @precondition(lambda self: self.events)
    @invariant()
    def rankings_are_never_lost(self) -> None:
        assert len(self.store.rankings.list(include_retracted=True)) == self.events


TestTree = Tree.TestCase
TestTree.settings = settings(max_examples=40, stateful_step_count=25)
