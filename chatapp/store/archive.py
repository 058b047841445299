"""A whole conversation as one record of plain values: out of the database and into it, without loss.

A record holds every branch and what was said of its replies: rankings, thumbs and demonstrations in force.
Its ids are its own; in the database it gets new ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, get_args, get_type_hints

from chatapp.core.errors import FormatError
from chatapp.core.sanitize import one_line
from chatapp.core.types import Conversation, FinishReason, Message, Origin, Provenance, Role, Sampling
from chatapp.store import rows
from chatapp.store.connection import Connection, from_iso, now, storable, to_iso
from chatapp.store.conversations import Conversations
from chatapp.store.rankings import Rankings

_FORMAT = "chatapp-conversation"
_HELD = """
    SELECT each.created, above.created, each.role, each.text
    FROM messages AS each LEFT JOIN messages AS above ON above.id = each.parent WHERE each.conversation = ?1
    UNION ALL SELECT event.created, NULL, 'rankings', NULL
    FROM ranking_events AS event JOIN messages ON messages.id = prompt WHERE conversation = ?1
    UNION ALL SELECT event.created, NULL, 'thumbs', NULL
    FROM thumb_events AS event JOIN messages ON messages.id = reply WHERE conversation = ?1
    UNION ALL SELECT event.created, NULL, 'demonstrations', NULL
    FROM demonstrations AS event JOIN messages ON messages.id = reply WHERE conversation = ?1
"""
"""All messages and judgements of a conversation, also those that were deleted, replaced or taken back."""


class Archive:
    def __init__(self, connection: Connection, conversations: Conversations, rankings: Rankings) -> None:
        self._connection = connection
        self._conversations = conversations
        self._rankings = rankings

    def record(self, conversation: int) -> dict[str, Any]:
        """The conversation as values that JSON can hold, without unfinished replies that nothing follows, and
        of the deleted messages with those alone that a judgement in force refers to."""
        whole = self._conversations.get(conversation)
        rankings = self._rankings.list(conversation)
        demonstrations = self._rankings.demonstrations(conversation)
        judged = {reply for each in rankings for reply in each.shown}
        judged.update(reply for each in demonstrations for reply in each.replaces)
        found = [
            each
            for each in self._conversations.messages(conversation, deleted=True)
            if not each.deleted or each.id in judged
        ]
        followed = {each.parent for each in found}
        messages = [
            replace(each, finish_reason="interrupted") if _unfinished(each) else each
            for each in found
            if not _unfinished(each) or each.id in followed
        ]
        ids = {each.id for each in messages}
        return {
            "format": _FORMAT,
            "version": 1,
            "title": whole.title,
            "system": whole.system,
            "created": to_iso(whole.created),
            "messages": [_message(each) for each in messages],
            "rankings": [
                {
                    "prompt": each.prompt,
                    "shown": list(each.shown),
                    "tiers": [list(tier) for tier in each.tiers],
                    "all_bad": each.all_bad,
                    "tags": list(each.tags),
                    "milliseconds": each.milliseconds,
                    "source": each.source,
                    "created": to_iso(each.created),
                }
                for each in rankings
                if ids.issuperset(each.shown)
            ],
            "thumbs": [
                {"reply": each.reply, "value": each.value, "created": to_iso(each.created)}
                for each in self._rankings.thumbs(conversation)
                if each.reply in ids
            ],
            "demonstrations": [
                {
                    "prompt": each.prompt,
                    "reply": each.reply,
                    "replaces": list(each.replaces),
                    "created": to_iso(each.created),
                }
                for each in demonstrations
                if ids.issuperset((each.reply, *each.replaces))
            ],
        }

    def add(self, record: Any) -> Conversation:
        """Make a conversation of a record, all of it or nothing.

        Errors: `FormatError` for what is no record; `UsageError` for judgements that make no sense.
        """
        with self._reading(record):
            return self._add(record)

    def add_new(self, record: Any) -> Conversation | None:
        """As `add`; None for what is there already: a conversation of the same moment, not deleted, that has
        every message and judgement of the record, whatever became of it since."""
        with self._reading(record):
            return None if self._is_there(record) else self._add(record)

    @contextmanager
    def _reading(self, record: Any) -> Iterator[None]:
        """One transaction, for what is a record."""
        if not isinstance(record, dict) or record.get("format") != _FORMAT or record.get("version") != 1:
            raise FormatError(
                "it is no conversation that `history export` wrote", "give the jsonl file it wrote"
            )
        try:
            with self._connection.transaction():
                yield
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise FormatError(f"the conversation is damaged: {_in_words(error)}") from error

    def _is_there(self, record: dict[str, Any]) -> bool:
        found = self._connection.rows(
            "SELECT id FROM conversations WHERE created = ? AND deleted IS NULL",
            (_moment(record["created"]),),
        )
        return any(
            _held(record) <= Counter(tuple(row) for row in self._connection.rows(_HELD, (id,)))
            for (id,) in found
        )

    def _add(self, record: dict[str, Any]) -> Conversation:
        title, system = storable(record["title"]), storable(record["system"])
        created = _moment(record["created"])
        conversation = self._connection.insert(
            "INSERT INTO conversations (title, system, created, updated) VALUES (?, ?, ?, ?)",
            (title, system, created, created),
        )
        ids: dict[int, int] = {}
        for each in record["messages"]:
            ids[int(each["id"])] = self._add_message(conversation, each, ids)
        for each in record["rankings"]:
            self._rankings.add(
                ids[each["prompt"]],
                [ids[reply] for reply in each["shown"]],
                tuple(tuple(ids[reply] for reply in tier) for tier in each["tiers"]),
                all_bad=each["all_bad"] is True,
                tags=[str(tag) for tag in each["tags"]],
                milliseconds=None if each["milliseconds"] is None else int(each["milliseconds"]),
                source=str(each["source"]),
                created=_created(each),
            )
        for each in record["thumbs"]:
            self._rankings.thumb(ids[each["reply"]], each["value"], _created(each))
        for each in record["demonstrations"]:
            replaces = [ids[reply] for reply in each["replaces"]]
            self._rankings.demonstrate(ids[each["prompt"]], ids[each["reply"]], replaces, _created(each))
        for each in record["messages"]:
            if each.get("deleted") is True:
                self._connection.write(
                    f"UPDATE messages SET deleted = ? WHERE id IN ({rows.SUBTREE})", (now(), ids[each["id"]])
                )
        for each in record["messages"]:
            if each["active"] is True:
                self._make_active(ids[each["id"]])
        return self._conversations.get(conversation)

    def _add_message(self, conversation: int, each: dict[str, Any], ids: dict[int, int]) -> int:
        reason, system = each["finish_reason"], each.get("system")
        _require(each["role"], get_args(Role))
        _require(each["origin"], get_args(Origin))
        if reason is not None:
            _require(reason, get_args(FinishReason))
        id = self._connection.insert(
            "INSERT INTO messages"
            " (conversation, parent, role, text, origin, active, created, finish_reason, system)"
            " VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?)",
            (
                conversation,
                None if each["parent"] is None else ids[each["parent"]],
                each["role"],
                storable(each["text"]),
                each["origin"],
                _moment(each["created"]),
                reason,
                None if system is None else storable(system),
            ),
        )
        if each["provenance"] is not None:
            source = _provenance(each["provenance"])
            self._connection.insert(rows.INSERT_PROVENANCE, (id, *rows.provenance_values(source)))
        return id

    def _make_active(self, message: int) -> None:
        """The schema refuses a second active one among the same siblings."""
        self._connection.write("UPDATE messages SET active = 1 WHERE id = ?", (message,))


def _in_words(error: Exception) -> str:
    """What is wrong with a record that cannot be read."""
    match error:
        case KeyError(args=(str(name),)):
            return f"`{one_line(name, 80)}` is missing"
        case KeyError(args=(id,)):
            return f"message {id!r} is missing"
        case TypeError() | AttributeError():
            return "a value is of another type than expected"
        case OverflowError():
            return "a number is too large"
    return one_line(str(error))


def _held(record: dict[str, Any]) -> Counter[tuple[Any, ...]]:
    """What `_HELD` finds once the record is in the database; judgements without a moment are left out."""
    moments = {int(each["id"]): _moment(each["created"]) for each in record["messages"]}
    held = Counter[tuple[Any, ...]](
        (moments[int(each["id"])], moments.get(each["parent"]), each["role"], storable(each["text"]))
        for each in record["messages"]
    )
    for kind in ("rankings", "thumbs", "demonstrations"):
        held.update(
            (_moment(each["created"]), None, kind, None) for each in record[kind] if "created" in each
        )
    return held


def _unfinished(message: Message) -> bool:
    return message.origin == "model" and message.finish_reason is None


def _message(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "parent": message.parent,
        "role": message.role,
        "text": message.text,
        "origin": message.origin,
        "active": message.active,
        "deleted": message.deleted,
        "created": to_iso(message.created),
        "finish_reason": message.finish_reason,
        "system": message.system,
        "provenance": None if message.provenance is None else asdict(message.provenance),
    }


def _provenance(values: dict[str, Any]) -> Provenance:
    sampling = {**values["sampling"], "stop": tuple(str(each) for each in values["sampling"]["stop"])}
    made = Provenance(**{**values, "sampling": Sampling(**sampling)})
    _require_types(made.sampling, {"stop"})
    _require_types(made, {"sampling"})
    return made


def _require_types(made: Sampling | Provenance, besides: set[str]) -> None:
    """Errors: `ValueError` for a field, other than `besides`, that holds what it is not declared to."""
    for name, declared in get_type_hints(type(made)).items():
        value = getattr(made, name)
        if name in besides or (isinstance(value, int) and not isinstance(value, bool) and declared is float):
            continue
        if isinstance(value, bool) or not isinstance(value, declared):
            raise ValueError(f"{name} is {value!r}")


def _moment(text: str) -> str:
    """A time as the database writes it. Errors: `ValueError`."""
    return to_iso(datetime.fromisoformat(text).timestamp())


def _created(values: dict[str, Any]) -> float | None:
    """When a judgement was made; files of old do not say it of every one. Errors: `ValueError`."""
    return from_iso(values["created"]) if "created" in values else None


def _require(value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{value!r} is none of {', '.join(known)}")
