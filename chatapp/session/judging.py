"""What a person says of messages: order, thumbs, corrections, deletions, and taking each of them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from chatapp.core.errors import UsageError
from chatapp.core.types import Message, Ranking, Thumb, Tiers
from chatapp.session.stores import Stores
from chatapp.session.undo import UndoStack
from chatapp.store.database import Store


def rank_and_show(
    store: Store,
    prompt: int,
    shown: Sequence[int],
    tiers: Tiers,
    all_bad: bool = False,
    tags: Sequence[str] = (),
    milliseconds: int | None = None,
    source: str = "chat",
) -> Ranking:
    """Append the ranking. Its winner becomes the reply that the conversation goes on from: the first of its
    first tier is made active; one that is active already wins a tie.

    Errors: `UsageError` and `NotFound` as `Rankings.add` has them.
    """
    ranking = store.rankings.add(
        prompt, shown, tiers, all_bad=all_bad, tags=tags, milliseconds=milliseconds, source=source
    )
    if tiers and not any(store.conversations.message(each).active for each in tiers[0]):
        store.conversations.activate(tiers[0][0])
    return ranking


def require_words(text: str) -> None:
    if not text.strip():
        raise UsageError("there is nothing in the message", "write something")


class Judging:
    """Keeps nothing but what can be taken back, newest first. Used by one thread at a time, any thread."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._undo = UndoStack()
        self._kept: set[int] = set()
        """Alternatives that are not taken out."""

    @property
    def store(self) -> Store:
        """The store of the calling thread."""
        return self._stores.here()

    def rank(
        self,
        prompt: int,
        shown: Sequence[int],
        tiers: Tiers,
        all_bad: bool = False,
        tags: Sequence[str] = (),
        milliseconds: int | None = None,
        source: str = "chat",
    ) -> Ranking:
        """Store an order of the replies and make its winner the active one; the active one wins a tie."""
        store = self.store
        message = store.conversations.message(prompt)
        before = self._active_child(message.conversation, prompt)
        ranking = rank_and_show(store, prompt, shown, tiers, all_bad, tags, milliseconds, source)

        def back() -> None:
            self.store.rankings.retract(ranking.id)
            self._show_again(before)

        self._undo.push("the ranking", back)
        return ranking

    def tag(self, ranking: int, tags: Sequence[str]) -> Ranking:
        """Say why: the same order with these tags. Taking the ranking back takes them back too."""
        return self.store.rankings.set_tags(ranking, tags)

    def thumb(self, reply: int, value: Literal[-1, 0, 1]) -> Thumb:
        """1 is up, -1 is down, 0 takes it back."""
        before = self.store.rankings.thumb_of(reply)
        thumb = self.store.rankings.thumb(reply, value)

        def back() -> None:
            self.store.rankings.thumb(reply, before)

        self._undo.push("the thumb", back)
        return thumb

    def edit(self, message: int, text: str) -> Message:
        """Another version of a message: of a person's a new branch, of a reply a demonstration.

        Text that says the same makes no new version. Errors: `UsageError` when it is empty, `NotFound`, also
        where the conversation was deleted meanwhile.
        """
        require_words(text)
        store = self.store
        old = store.conversations.message(message)
        if text == old.text:
            return old
        if old.role == "assistant":
            if old.parent is None:
                raise UsageError("a reply that answers nothing cannot be corrected", "edit one that answers")
            return self.demonstrate(old.parent, text, (message,))
        store.conversations.require_open(old.conversation)
        before = self._active_child(old.conversation, old.parent)
        new = store.conversations.add(old.conversation, old.parent, old.role, text, "typed")
        self._undo.push("the edit", lambda: self._swap(new, before))
        return new

    def demonstrate(self, prompt: int, text: str, replaces: Sequence[int] = ()) -> Message:
        """Store what a reply should have said, better than each of `replaces`, and make it the active one.

        Errors: `UsageError` when it is empty, `NotFound` where the conversation was deleted meanwhile.
        """
        require_words(text)
        store = self.store
        question = self._prompt(prompt)
        before = self._active_child(question.conversation, prompt)
        with store.transaction():
            new = store.conversations.add(question.conversation, prompt, "assistant", text, "edit")
            demonstration = store.rankings.demonstrate(prompt, new.id, tuple(replaces))

        def back() -> None:
            self.store.rankings.undemonstrate(demonstration.id)
            self._swap(new, before)

        self._undo.push("the edit", back)
        return new

    def keep(self, reply: int) -> None:
        """A finished alternative stays, or comes back, whatever the sampling makes of it."""
        self._kept.add(reply)
        self.store.conversations.restore_message(reply)

    def delete(self, message: int) -> None:
        """Hide a message and all that follows it. It stays in the database; `undo` brings it back."""
        self.store.conversations.delete_message(message)
        self._undo.push("the deletion", lambda: self.store.conversations.restore_message(message))

    def undo(self) -> str | None:
        """Take back the newest ranking, thumb, edit or deletion of this session and say which it was."""
        return self._undo.pop()

    def activate(self, message: int) -> None:
        """Show this version of a message, and the way to it."""
        self.store.conversations.activate(message)

    # Inside

    def _prompt(self, prompt: int) -> Message:
        message = self.store.conversations.message(prompt)
        if message.role == "assistant":
            raise UsageError(f"message {prompt} is a reply", "name the message that it answers")
        self.store.conversations.require_open(message.conversation)
        return message

    def _take_out(self, reply: int) -> None:
        if reply not in self._kept:
            self.store.conversations.delete_message(reply)

    def _active_child(self, conversation: int, parent: int | None) -> Message | None:
        family = self.store.conversations.children(conversation, parent)
        return next((each for each in family if each.active), None)

    def _swap(self, new: Message, old: Message | None) -> None:
        """Take `new` out again and put `old` back in its place. Where a person wrote on below `new`, it stays
        beside `old`, and with it what was written."""
        if not self.store.conversations.goes_on(new.id):
            self.store.conversations.delete_message(new.id)
        self._show_again(old)

    def _show_again(self, message: Message | None) -> None:
        """Make it the active one again, unless it was deleted since."""
        if message is not None and not self.store.conversations.message(message.id).deleted:
            self.store.conversations.activate(message.id)
