"""Ranking events, thumbs and demonstrations: append-only, the later event counts."""

from __future__ import annotations

import builtins
import json
from collections.abc import Sequence
from typing import Literal

from chatapp.core.errors import NotFound, UsageError
from chatapp.core.types import Demonstration, Ranking, Thumb, Tiers
from chatapp.store import rows
from chatapp.store.connection import Connection, Row, now, said_at, storable
from chatapp.store.conversations import refuse_deleted

_IDS = "see the ids with `chatapp history show ID --json`"


class Rankings:
    """What a person said of replies. What was said of deleted messages is kept.

    Not in force are rankings of a deleted prompt, demonstrations and thumbs that are deleted themselves. A
    reply that was beside others in a ranking or a demonstration still counts in it when it is deleted.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # Rankings

    def add(
        self,
        prompt: int,
        shown: Sequence[int],
        tiers: Tiers,
        *,
        all_bad: bool = False,
        tags: Sequence[str] = (),
        milliseconds: int | None = None,
        source: str = "chat",
        created: float | None = None,
    ) -> Ranking:
        """Append one ranking of finished replies to `prompt`; `created`: when it was made, where that is not
        now.

        Errors: `UsageError` where a reply does not answer `prompt`, is unfinished or deleted, stands twice,
        is ranked and was not shown, or where `all_bad` and `tiers` contradict each other; `NotFound` where
        the conversation was deleted.
        """
        with self._connection.transaction():
            self._check(prompt, shown, tiers, all_bad)
            return self._append(prompt, shown, tiers, all_bad, tags, milliseconds, source, None, created)

    def set_tags(self, id: int, tags: Sequence[str]) -> Ranking:
        """The same order again with these tags: a new event of the same moment, which replaces `id`.

        Errors: `UsageError` where `id` was taken back or replaced meanwhile, `NotFound`.
        """
        with self._connection.transaction():
            old = self.get(id)
            if not self._connection.rows("SELECT 1 FROM rankings_in_force WHERE id = ?", (id,)):
                raise UsageError(f"ranking {id} was taken back or replaced", "rank the replies again")
            return self._append(
                old.prompt,
                old.shown,
                old.tiers,
                old.all_bad,
                tags,
                old.milliseconds,
                old.source,
                id,
                old.created,
            )

    def get(self, id: int) -> Ranking:
        """Any ranking event, in force or not."""
        row = self._connection.row("SELECT * FROM ranking_events WHERE id = ?", (id,))
        if row is None:
            raise NotFound(f"there is no ranking {id}", "list them with `chatapp rankings list`")
        return self._rankings([row])[0]

    def list(
        self, conversation: int | None = None, include_retracted: bool = False
    ) -> builtins.list[Ranking]:
        """The rankings in force, oldest first.

        A later ranking of the same prompt that shows all replies of an earlier one replaces it.
        `include_retracted`: every event instead, also the replaced and the retracted ones.
        """
        source = "rankings_in_force"
        if include_retracted:
            source = (
                "(SELECT e.*, m.conversation FROM ranking_events AS e JOIN messages AS m ON m.id = e.prompt)"
            )
        where, values = ("", ()) if conversation is None else ("WHERE conversation = ?", (conversation,))
        return self._rankings(self._connection.rows(f"SELECT * FROM {source} {where} ORDER BY id", values))

    def latest(self, conversation: int | None = None) -> Ranking | None:
        """The newest ranking in force."""
        return self._newest("?1 IS NULL OR conversation = ?1 ORDER BY id", conversation)

    def for_prompt(self, prompt: int) -> Ranking | None:
        """The newest ranking in force of the replies to `prompt`."""
        return self._newest("prompt = ?1 ORDER BY +id", prompt)  # + has it take the index of prompts

    def ranks(self, conversation: int) -> dict[int, int | None]:
        """The tier of each reply of a conversation in the newest ranking in force that showed it: 1 is best,
        ties share it, None where all were bad or it stood in no tier."""
        found = self._connection.rows(
            "SELECT reply, tier FROM rankings_in_force JOIN ranking_event_replies ON ranking = id"
            " WHERE conversation = ? ORDER BY id",
            (conversation,),
        )
        return {row["reply"]: row["tier"] for row in found}

    def retracted(self) -> set[int]:
        """Ids of all that were taken back."""
        return {row["ranking"] for row in self._connection.rows("SELECT ranking FROM ranking_retractions")}

    def retract(self, id: int) -> bool:
        """Take a ranking back, along with all events that only changed its tags, whichever of them `id` is;
        whether anything was left to take back.

        What it had replaced is in force again.
        """
        with self._connection.transaction():
            self.get(id)
            changed = self._connection.write(
                "INSERT OR IGNORE INTO ranking_retractions (ranking, created)"
                " WITH RECURSIVE above (id) AS (SELECT ? UNION ALL"
                " SELECT revises FROM ranking_events JOIN above USING (id) WHERE revises IS NOT NULL),"
                " family (id) AS (SELECT min(id) FROM above UNION ALL"
                " SELECT ranking_events.id FROM ranking_events JOIN family ON revises = family.id)"
                " SELECT id, ? FROM family",
                (id, now()),
            )
            return changed > 0

    def _newest(self, where_and_order: str, value: int | None) -> Ranking | None:
        row = self._connection.row(
            f"SELECT * FROM rankings_in_force WHERE {where_and_order} DESC LIMIT 1", (value,)
        )
        return None if row is None else self._rankings([row])[0]

    def _rankings(self, found: builtins.list[Row]) -> builtins.list[Ranking]:
        members: dict[int, list[Row]] = {row["id"]: [] for row in found}
        for row in self._connection.rows(
            "SELECT * FROM ranking_event_replies WHERE ranking IN (SELECT value FROM json_each(?))"
            " ORDER BY ranking, position",
            (json.dumps(builtins.list(members)),),
        ):
            members[row["ranking"]].append(row)
        return [rows.ranking(row, members[row["id"]]) for row in found]

    def _append(
        self,
        prompt: int,
        shown: Sequence[int],
        tiers: Tiers,
        all_bad: bool,
        tags: Sequence[str],
        milliseconds: int | None,
        source: str,
        revises: int | None,
        created: float | None = None,
    ) -> Ranking:
        id = self._connection.insert(
            "INSERT INTO ranking_events (prompt, all_bad, tags, milliseconds, source, revises, created)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                prompt,
                all_bad,
                json.dumps(builtins.list(tags)),
                milliseconds,
                storable(source),
                revises,
                said_at(created),
            ),
        )
        places = {
            reply: (tier, place)
            for tier, replies in enumerate(tiers, start=1)
            for place, reply in enumerate(replies, start=1)
        }
        self._connection.write_many(
            "INSERT INTO ranking_event_replies (ranking, position, reply, tier, place)"
            " VALUES (?, ?, ?, ?, ?)",
            [
                (id, position, reply, *places.get(reply, (None, None)))
                for position, reply in enumerate(shown, start=1)
            ],
        )
        return self.get(id)

    def _check(self, prompt: int, shown: Sequence[int], tiers: Tiers, all_bad: bool) -> None:
        ranked = [reply for tier in tiers for reply in tier]
        if not shown:
            raise UsageError("a ranking needs at least one reply")
        if all_bad == bool(tiers):
            raise UsageError("a ranking has either an order or all bad, and one of them")
        if not all(tiers):
            raise UsageError("a tier without a reply")
        for what, ids in (("shown", shown), ("ranked", ranked)):
            if twice := [each for each in ids if ids.count(each) > 1]:
                raise UsageError(f"reply {twice[0]} is {what} twice")
        if unseen := set(ranked) - set(shown):
            raise UsageError(f"reply {min(unseen)} is ranked and was not shown")
        for reply in shown:
            self._answer(reply, prompt)
        refuse_deleted(self._connection, self._message(prompt)["conversation"])

    def _answer(self, reply: int, prompt: int) -> Row:
        """The row of a finished reply to `prompt`."""
        row = self._message(reply)
        if row["parent"] != prompt:
            raise UsageError(f"message {reply} is not a reply to message {prompt}", _IDS)
        self._check_reply(row)
        return row

    def _message(self, id: int) -> Row:
        row = self._connection.row("SELECT * FROM messages WHERE id = ?", (id,))
        if row is None:
            raise NotFound(f"there is no message {id}", _IDS)
        return row

    def _check_reply(self, row: Row) -> None:
        if row["role"] != "assistant":
            raise UsageError(f"message {row['id']} is not a reply", _IDS)
        if row["deleted"] is not None:
            raise UsageError(f"reply {row['id']} was deleted", "restore it first")
        if row["writer_pid"] is not None:
            raise UsageError(f"reply {row['id']} is still being written", "wait for its end, or stop it")

    # Thumbs

    def thumb(self, reply: int, value: Literal[-1, 0, 1], created: float | None = None) -> Thumb:
        """Append a thumb up (1), down (-1), or take the last one back (0). `created` as in `add`."""
        if value not in (-1, 0, 1):
            raise UsageError(f"a thumb is -1, 0 or 1, not {value}")
        with self._connection.transaction():
            self._check_reply(self._message(reply))
            id = self._connection.insert(
                "INSERT INTO thumb_events (reply, value, created) VALUES (?, ?, ?)",
                (reply, value, said_at(created)),
            )
            return rows.thumb(self._connection.rows("SELECT * FROM thumb_events WHERE id = ?", (id,))[0])

    def thumbs(self, conversation: int | None = None) -> builtins.list[Thumb]:
        """The thumbs in force, oldest first."""
        where, values = _within("reply", conversation)
        found = self._connection.rows(f"SELECT * FROM thumbs_in_force {where} ORDER BY id", values)
        return [rows.thumb(row) for row in found]

    def thumb_of(self, reply: int) -> Literal[-1, 0, 1]:
        row = self._connection.row("SELECT * FROM thumbs_in_force WHERE reply = ?", (reply,))
        return 0 if row is None else rows.thumb(row).value

    # Demonstrations

    def demonstrate(
        self, prompt: int, reply: int, replaces: Sequence[int], created: float | None = None
    ) -> Demonstration:
        """Note that a person wrote `reply`, and that it is better than each of `replaces`. `created` as in
        `add`."""
        with self._connection.transaction():
            for each in (reply, *replaces):
                self._answer(each, prompt)
            if reply in replaces or len(set(replaces)) < len(replaces):
                raise UsageError("a demonstration replaces other replies, each of them once")
            id = self._connection.insert(
                "INSERT INTO demonstrations (prompt, reply, created) VALUES (?, ?, ?)",
                (prompt, reply, said_at(created)),
            )
            self._connection.write_many(
                "INSERT INTO demonstration_replaces (demonstration, position, reply) VALUES (?, ?, ?)",
                [(id, position, each) for position, each in enumerate(replaces, start=1)],
            )
            return self._demonstrations("demonstrations WHERE id = ?", (id,))[0]

    def demonstrations(self, conversation: int | None = None) -> builtins.list[Demonstration]:
        """The demonstrations in force, oldest first."""
        where, values = _within("prompt", conversation)
        return self._demonstrations(f"demonstrations_in_force {where}", values)

    def undemonstrate(self, id: int) -> None:
        """Take a demonstration back; its text stays in the conversation."""
        if not self._demonstrations("demonstrations WHERE id = ?", (id,)):
            raise NotFound(f"there is no demonstration {id}", "list them with `chatapp rankings list`")
        self._connection.write(
            "INSERT OR IGNORE INTO demonstration_retractions (demonstration, created) VALUES (?, ?)",
            (id, now()),
        )

    def _demonstrations(self, source: str, values: Sequence[int]) -> builtins.list[Demonstration]:
        return [
            rows.demonstration(
                row,
                self._connection.rows(
                    "SELECT reply FROM demonstration_replaces WHERE demonstration = ? ORDER BY position",
                    (row["id"],),
                ),
            )
            for row in self._connection.rows(f"SELECT * FROM {source} ORDER BY id", values)
        ]


def _within(message: str, conversation: int | None) -> tuple[str, tuple[int, ...]]:
    """The condition that the column `message` is one of `conversation`, or none."""
    if conversation is None:
        return "", ()
    return f"WHERE {message} IN (SELECT id FROM messages WHERE conversation = ?)", (conversation,)
