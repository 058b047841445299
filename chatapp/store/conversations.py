"""Conversations and their message trees."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import replace

from chatapp.core.errors import NotFound, StoreError, UsageError
from chatapp.core.types import Conversation, FinishReason, Message, Origin, Provenance, Role, Turn
from chatapp.store import rows
from chatapp.store.connection import Connection, now, storable
from chatapp.store.writer import this_process

_CONVERSATION = """
    SELECT conversations.*,
        (SELECT count(*) FROM messages WHERE conversation = conversations.id AND deleted IS NULL) AS messages,
        (SELECT model FROM messages JOIN replies ON message = messages.id
         WHERE conversation = conversations.id AND deleted IS NULL ORDER BY messages.id DESC LIMIT 1) AS model
    FROM
"""


def refuse_deleted(connection: Connection, conversation: int) -> None:
    """Errors: `NotFound` with the way back."""
    if connection.row("SELECT id FROM conversations WHERE id = ? AND deleted IS NOT NULL", (conversation,)):
        raise NotFound(
            f"conversation {conversation} was deleted",
            f"bring it back: `chatapp history restore {conversation}`",
        )


def as_turns(path: Sequence[Message], system: str) -> tuple[Turn, ...]:
    """What a model is given at the end of `path`, which begins with a conversation's first message."""
    first = (Turn("system", system),) if system and path[0].role != "system" else ()
    return (*first, *(Turn(each.role, each.text) for each in path))


class Conversations:
    """Every method that changes something is one transaction. Missing ids raise `NotFound`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # Conversations

    def create(self, title: str = "", system: str = "") -> Conversation:
        """A new conversation; an empty title means untitled."""
        moment = now()
        id = self._connection.insert(
            "INSERT INTO conversations (title, system, created, updated) VALUES (?, ?, ?, ?)",
            (storable(title), storable(system), moment, moment),
        )
        return self.get(id)

    def get(self, id: int) -> Conversation:
        self._check_exists(id)
        return rows.conversation(
            self._connection.rows(f"{_CONVERSATION} conversations WHERE id = ?", (id,))[0]
        )

    def require_open(self, id: int) -> None:
        """Errors: `NotFound` also where it was deleted: nothing is added to what nobody sees."""
        self._check_exists(id)
        refuse_deleted(self._connection, id)

    def list(self, limit: int | None = None, deleted: bool = False) -> builtins.list[Conversation]:
        """Those that are there (or, with `deleted`, those that were deleted), last changed first."""
        found = self._connection.rows(
            f"{_CONVERSATION} (SELECT * FROM conversations WHERE deleted IS {'NOT' if deleted else ''} NULL"
            " ORDER BY updated DESC, id DESC LIMIT ?) AS conversations ORDER BY updated DESC, id DESC",
            (-1 if limit is None else limit,),
        )
        return [rows.conversation(row) for row in found]

    def latest(self) -> Conversation | None:
        found = self.list(limit=1)
        return found[0] if found else None

    def rename(self, id: int, title: str) -> None:
        """An empty or blank title means untitled."""
        self._set(id, "title = ?, updated = ?", (storable(title.strip()), now()))

    def set_system(self, id: int, system: str) -> None:
        """From here on; the replies that are there keep the one that they were written under."""
        with self._connection.transaction():
            old = self.get(id).system
            if storable(system) != old:
                self._connection.write(
                    "UPDATE messages SET system = ?"
                    " WHERE conversation = ? AND role = 'assistant' AND system IS NULL",
                    (old, id),
                )
            self._set(id, "system = ?, updated = ?", (storable(system), now()))

    def delete(self, id: int) -> None:
        """Hide a conversation; `restore` brings it back."""
        self._set(id, "deleted = coalesce(deleted, ?)", (now(),))

    def restore(self, id: int) -> None:
        self._set(id, "deleted = NULL", ())

    def _set(self, id: int, change: str, values: Sequence[str]) -> None:
        self._check_exists(id)
        self._connection.write(f"UPDATE conversations SET {change} WHERE id = ?", (*values, id))

    def _check_exists(self, id: int) -> None:
        if not self._connection.rows("SELECT id FROM conversations WHERE id = ?", (id,)):
            raise NotFound(f"there is no conversation {id}", "list them with `chatapp history list`")

    # Reading messages

    def message(self, id: int) -> Message:
        row = self._connection.row(f"{rows.MESSAGE} WHERE messages.id = ?", (id,))
        if row is None:
            raise NotFound(f"there is no message {id}", "see the ids with `chatapp history show ID --json`")
        return rows.message(row)

    def messages(self, conversation: int, deleted: bool = False) -> builtins.list[Message]:
        """Every branch, by id; with `deleted`, the deleted ones too."""
        self._check_exists(conversation)
        found = self._connection.rows(
            f"{rows.MESSAGE} WHERE conversation = ? {'' if deleted else 'AND deleted IS NULL'}"
            " ORDER BY messages.id",
            (conversation,),
        )
        return [rows.message(row) for row in found]

    def children(self, conversation: int, parent: int | None) -> builtins.list[Message]:
        """The messages that follow `parent` (None: the first messages), by id."""
        found = self._connection.rows(
            f"{rows.MESSAGE} WHERE conversation = ? AND parent IS ? AND deleted IS NULL ORDER BY messages.id",
            (conversation, parent),
        )
        return [rows.message(row) for row in found]

    def path(self, conversation: int) -> builtins.list[Message]:
        """What the reader sees: from the active first message on, always the active child."""
        self._check_exists(conversation)
        # The view active_paths says the same of all conversations, and would walk through all of them.
        found = self._connection.rows(
            "WITH RECURSIVE path (id, depth) AS ("
            " SELECT id, 0 FROM messages"
            " WHERE conversation = ?1 AND parent IS NULL AND active AND deleted IS NULL UNION ALL"
            " SELECT child.id, depth + 1 FROM path JOIN messages AS child"
            " ON child.conversation = ?1 AND child.parent = path.id"
            " AND child.active AND child.deleted IS NULL)"
            f" {rows.MESSAGE} JOIN path USING (id) ORDER BY depth",
            (conversation,),
        )
        return [rows.message(row) for row in found]

    def ancestors(self, message: int) -> builtins.list[Message]:
        """From the first message down to `message` itself: exactly what it was said in answer to."""
        self.message(message)
        found = self._connection.rows(
            "WITH RECURSIVE up (id, parent, height) AS ("
            " SELECT id, parent, 0 FROM messages WHERE id = ? UNION ALL"
            " SELECT messages.id, messages.parent, height + 1"
            " FROM messages JOIN up ON messages.id = up.parent)"
            f" {rows.MESSAGE} JOIN up USING (id) ORDER BY height DESC",
            (message,),
        )
        return [rows.message(row) for row in found]

    def turns(self, prompt: int, system: str | None = None) -> tuple[Turn, ...]:
        """What a model is given for a reply to `prompt`: `system` (by default the conversation's), then the
        way from the first message, which stands for `system` where it is a system prompt itself."""
        path = self.ancestors(prompt)
        if system is None:
            of = path[0].conversation  # `get` would count its messages
            system = self._connection.rows("SELECT system FROM conversations WHERE id = ?", (of,))[0][0]
        return as_turns(path, system)

    def goes_on(self, message: int) -> bool:
        """Whether a person wrote on below it."""
        return bool(
            self._connection.rows(
                f"SELECT 1 FROM messages WHERE id IN ({rows.SUBTREE}) AND id != ?"
                " AND origin = 'typed' AND deleted IS NULL LIMIT 1",
                (message, message),
            )
        )

    # Writing messages

    def add(
        self,
        conversation: int,
        parent: int | None,
        role: Role,
        text: str,
        origin: Origin,
        *,
        finish_reason: FinishReason | None = None,
        provenance: Provenance | None = None,
        activate: bool = True,
    ) -> Message:
        """A message whose text is final."""
        with self._connection.transaction():
            id = self._insert(conversation, parent, role, text, origin, activate, finish_reason)
            if provenance is not None:
                self._connection.insert(rows.INSERT_PROVENANCE, (id, *rows.provenance_values(provenance)))
            return self.message(id)

    def begin_reply(
        self, conversation: int, parent: int, provenance: Provenance, text: str = "", *, activate: bool = True
    ) -> Message:
        """A reply, `text` so far, that this process is going to write with `journal` and `finish`."""
        with self._connection.transaction():
            id = self._insert(conversation, parent, "assistant", text, "model", activate, None, writing=True)
            self._connection.insert(rows.INSERT_PROVENANCE, (id, *rows.provenance_values(provenance)))
            return self.message(id)

    def begin_replies(
        self, conversation: int, parent: int, provenances: Sequence[Provenance], *, activate: bool = False
    ) -> builtins.list[Message]:
        """One reply for each lane, all in one transaction; `activate` makes the first one active."""
        with self._connection.transaction():
            return [
                self.begin_reply(conversation, parent, each, activate=activate and lane == 0)
                for lane, each in enumerate(provenances)
            ]

    def journal(self, reply: int, text: str) -> None:
        """Put the text that came so far into the database, so that a crash cannot lose it."""
        if not self._connection.write(
            "UPDATE messages SET text = ? WHERE id = ? AND writer_pid IS NOT NULL", (storable(text), reply)
        ):
            self._refuse_final(reply)

    def finish(self, reply: int, text: str, finish_reason: FinishReason, provenance: Provenance) -> Message:
        """Seal a reply: from here on neither its text nor its provenance changes."""
        with self._connection.transaction():
            row = self._connection.row("SELECT writer_pid FROM messages WHERE id = ?", (reply,))
            if row is None or row["writer_pid"] is None:
                self._refuse_final(reply)
            self._connection.write(rows.UPDATE_PROVENANCE, (*rows.provenance_values(provenance), reply))
            self._connection.write(
                "UPDATE messages SET text = ?, finish_reason = ?, writer_pid = NULL, writer_start = NULL"
                " WHERE id = ?",
                (storable(text), finish_reason, reply),
            )
            message = self.message(reply)
            self._touch(message.conversation)
            return message

    def _refuse_final(self, reply: int) -> None:
        self.message(reply)
        raise StoreError(f"reply {reply} is finished and never changes", "ask for another reply instead")

    def _insert(
        self,
        conversation: int,
        parent: int | None,
        role: Role,
        text: str,
        origin: Origin,
        activate: bool,
        finish_reason: FinishReason | None,
        writing: bool = False,
    ) -> int:
        self._check_exists(conversation)
        if parent is not None:
            above = self.message(parent)
            if above.conversation != conversation:
                raise UsageError(f"message {parent} is not in conversation {conversation}")
            if above.deleted:
                raise UsageError(f"message {parent} was deleted", "restore it first")
        pid, start = this_process() if writing else (None, None)
        id = self._connection.insert(
            "INSERT INTO messages (conversation, parent, role, text, origin, active, created, finish_reason,"
            " writer_pid, writer_start) VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?)",
            (conversation, parent, role, storable(text), origin, now(), finish_reason, pid, start),
        )
        if activate:
            self.activate(id)
        self._touch(conversation)
        return id

    def _touch(self, conversation: int) -> None:
        self._connection.write("UPDATE conversations SET updated = ? WHERE id = ?", (now(), conversation))

    # Branches

    def activate(self, message: int) -> None:
        """Make `message`, and each one above it, the active one among its siblings."""
        with self._connection.transaction():
            for each in self.ancestors(message):
                if each.deleted:
                    raise UsageError(f"message {each.id} was deleted", "restore it first")
                if not each.active:
                    self._make_active(each)

    def _make_active(self, message: Message) -> None:
        self._connection.write(
            "UPDATE messages SET active = 0"
            " WHERE conversation = ? AND parent IS ? AND active AND deleted IS NULL",
            (message.conversation, message.parent),
        )
        self._connection.write("UPDATE messages SET active = 1 WHERE id = ?", (message.id,))

    def delete_message(self, id: int) -> None:
        """Hide a message and all below it. Where it was the active one, its newest sibling becomes that."""
        with self._connection.transaction():
            message = self.message(id)
            if message.deleted:
                return
            # One moment for the whole subtree: that is how `restore_message` knows what went together.
            self._connection.write(
                f"UPDATE messages SET deleted = ? WHERE id IN ({rows.SUBTREE}) AND deleted IS NULL",
                (now(), id),
            )
            if message.active and (siblings := self.children(message.conversation, message.parent)):
                self._make_active(siblings[-1])
            self._touch(message.conversation)

    def restore_message(self, id: int) -> None:
        """Undo `delete_message`: the same messages come back, and the one that was active is active again."""
        with self._connection.transaction():
            message = self.message(id)
            if not message.deleted:
                return
            if message.parent is not None and self.message(message.parent).deleted:
                raise UsageError(
                    f"message {id} follows a deleted one", f"restore message {message.parent} first"
                )
            if message.active:
                self._make_active(replace(message, active=False))
            self._connection.write(
                "UPDATE messages SET deleted = NULL"
                f" WHERE id IN ({rows.SUBTREE}) AND deleted = (SELECT deleted FROM messages WHERE id = ?)",
                (id, id),
            )
            self._touch(message.conversation)
