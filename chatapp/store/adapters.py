"""What trainings made and which of it is in use: append-only, the later choice counts."""

from __future__ import annotations

import builtins
import difflib
import json
import re

from chatapp.core.errors import NotFound, UsageError
from chatapp.core.types import Adapter, Wins
from chatapp.store import rows
from chatapp.store.connection import Connection, now, storable, to_iso

_ADAPTER = (
    "SELECT *, coalesce("
    "(SELECT deleted FROM adapter_deletions WHERE adapter = name ORDER BY id DESC LIMIT 1), 0) AS deleted"
    " FROM adapters"
)


class Adapters:
    """Adapters by name, and for each model the one that answers. Their files are not the store's concern."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def next_name(self) -> str:
        """The name of the next adapter. Names of deleted ones are not given again."""
        row = self._connection.row("SELECT max(CAST(substr(name, 2) AS INTEGER)) AS last FROM adapters")
        return f"r{1 + ((row and row['last']) or 0)}"

    def add(self, adapter: Adapter) -> Adapter:
        """Register what a training made, as it is stored.

        Errors: `UsageError` where the name is taken or no name of a round, or the parent fits another model;
        `NotFound` for a parent that is not there.
        """
        name = adapter.name
        if not re.fullmatch("r[1-9][0-9]*", name):
            raise UsageError(f"{name!r} is no name of an adapter", "adapters are called r1, r2, …")
        with self._connection.transaction():
            if self._connection.row("SELECT 1 FROM adapters WHERE name = ?", (name,)):
                raise UsageError(
                    f"there is an adapter {name} already", f"the next name is {self.next_name()}"
                )
            if adapter.parent is not None:
                self._fitting(adapter.parent, adapter.model_sha256)
            self._connection.insert(
                "INSERT INTO adapters (name, method, model, model_sha256, parent, created, accepted, reason,"
                " run, data_sha256, settings, evaluation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    name,
                    storable(adapter.method),
                    storable(adapter.model),
                    adapter.model_sha256,
                    adapter.parent,
                    to_iso(adapter.created),
                    adapter.accepted,
                    storable(adapter.reason),
                    storable(adapter.run),
                    adapter.data_sha256,
                    json.dumps(dict(adapter.settings)),
                    json.dumps(dict(adapter.evaluation)),
                ),
            )
            return self.get(name)

    def get(self, name: str) -> Adapter:
        """Any adapter, also a deleted one. Errors: `NotFound`, with names that are close."""
        row = self._connection.row(f"{_ADAPTER} WHERE name = ?", (storable(name),))
        if row is None:
            there = [each.name for each in self.list()]
            close = difflib.get_close_matches(name, there, n=3, cutoff=0.5) or there[-3:]
            hint = f"there is {', '.join(close)}" if close else "`chatapp train` makes one from your rankings"
            raise NotFound(f"there is no adapter {name!r}", hint)
        return rows.adapter(row)

    def list(self, model_sha256: str | None = None, deleted: bool = False) -> builtins.list[Adapter]:
        """Oldest first, of one model or of all; `deleted`: the deleted ones as well."""
        return [
            rows.adapter(row)
            for row in self._connection.rows(
                f"SELECT * FROM ({_ADAPTER}) WHERE (?1 IS NULL OR model_sha256 = ?1) AND (?2 OR NOT deleted)"
                " ORDER BY id",
                (model_sha256, deleted),
            )
        ]

    # Which one answers

    def any_chosen(self) -> bool:
        """Whether an adapter was ever chosen, for any model: where none was, no file need be hashed."""
        return self._connection.row("SELECT 1 FROM adapter_choices LIMIT 1") is not None

    def active(self, model_sha256: str) -> Adapter | None:
        """The adapter that answers for this model; None is the base."""
        row = self._connection.row(
            "SELECT adapter FROM adapter_choices WHERE model_sha256 = ? ORDER BY id DESC LIMIT 1",
            (model_sha256,),
        )
        return None if row is None or row["adapter"] is None else self.get(row["adapter"])

    def choose(self, model_sha256: str, name: str | None, why: str) -> None:
        """Answer with this adapter from now on; None is the base. `why`: use, off, rollback, train, ...

        Errors: `NotFound`; `UsageError` for a deleted adapter or one of another model.
        """
        with self._connection.transaction():
            if name is not None:
                adapter = self._fitting(name, model_sha256)
                if adapter.deleted:
                    raise UsageError(
                        f"{name} was deleted", f"bring it back: `chatapp adapters restore {name}`"
                    )
            self._connection.insert(
                "INSERT INTO adapter_choices (model_sha256, adapter, why, created) VALUES (?, ?, ?, ?)",
                (model_sha256, name, storable(why), now()),
            )

    def rollback(self, model_sha256: str) -> Adapter | None:
        """Go back to the round before the one in use, deleted rounds left out, and return what is in use now.

        Errors: `UsageError` where the base is in use already.
        """
        with self._connection.transaction():
            current = self.active(model_sha256)
            if current is None:
                raise UsageError(
                    "no adapter is in use, so there is no round to go back to",
                    "choose one with `chatapp adapters use NAME`",
                )
            before = self.before(current)
            self.choose(model_sha256, None if before is None else before.name, "rollback")
            return before

    def before(self, adapter: Adapter) -> Adapter | None:
        """The nearest one from its parent down to the base that is not deleted; None is the base."""
        parent = None if adapter.parent is None else self.get(adapter.parent)
        while parent is not None and parent.deleted:
            parent = None if parent.parent is None else self.get(parent.parent)
        return parent

    # Taking away

    def delete(self, name: str) -> None:
        """Hide an adapter; where it is in use, the base answers from now on. Errors: `NotFound`."""
        with self._connection.transaction():
            adapter = self.get(name)
            if adapter.deleted:
                return
            if self.active(adapter.model_sha256) == adapter:
                self.choose(adapter.model_sha256, None, "delete")
            self._note_deleted(name, True)

    def restore(self, name: str) -> None:
        """Bring a deleted adapter back; it is in use only when it is chosen again. Errors: `NotFound`."""
        with self._connection.transaction():
            if self.get(name).deleted:
                self._note_deleted(name, False)

    def _note_deleted(self, name: str, deleted: bool) -> None:
        self._connection.insert(
            "INSERT INTO adapter_deletions (adapter, deleted, created) VALUES (?, ?, ?)",
            (name, deleted, now()),
        )

    def _fitting(self, name: str, model_sha256: str) -> Adapter:
        adapter = self.get(name)
        if adapter.model_sha256 != model_sha256:
            raise UsageError(
                f"{name} was trained on another model: {adapter.model}",
                f"name that model with -m {adapter.model}, or another adapter",
            )
        return adapter

    # What people said

    def wins(self, a: str | None, b: str | None) -> Wins:
        """How often the best reply of `a` stands above the best of `b`, over the rankings in force in which
        both have a place; None is the base.

        Errors: `NotFound`; `UsageError` where the two are one, or were trained on different models.
        """
        named = [self.get(name) for name in (a, b) if name is not None]
        if a == b:
            raise UsageError("two different adapters can be compared")
        sha256 = named[0].model_sha256
        if named[-1].model_sha256 != sha256:
            raise UsageError(
                f"{a} and {b} were trained on different models", "`chatapp adapters list --all` shows which"
            )
        row = self._connection.rows(
            "WITH placed AS ("
            " SELECT min(CASE WHEN adapter IS ?1 THEN tier END) AS a,"
            "  min(CASE WHEN adapter IS ?2 THEN tier END) AS b"
            " FROM rankings_in_force JOIN ranking_event_replies ON ranking = rankings_in_force.id"
            " JOIN replies ON message = reply WHERE model_sha256 = ?3 GROUP BY ranking)"
            " SELECT total(a < b) AS a, total(b < a) AS b, total(a = b) AS ties FROM placed",
            (a, b, sha256),
        )[0]
        return Wins(int(row["a"]), int(row["b"]), int(row["ties"]))
