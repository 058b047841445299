"""Between database rows and the types of core.types."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from chatapp.core.types import (
    Adapter,
    Conversation,
    Demonstration,
    Message,
    Provenance,
    Ranking,
    Sampling,
    Thumb,
)
from chatapp.store.connection import Row, from_iso, storable

_SAMPLING = [field.name for field in fields(Sampling)]
_PROVENANCE = [field.name for field in fields(Provenance) if field.name != "sampling"]
_COLUMNS = [*_PROVENANCE, *_SAMPLING]

MESSAGE = f"SELECT messages.*, {', '.join(_COLUMNS)} FROM messages LEFT JOIN replies ON message = messages.id"
INSERT_PROVENANCE = f"INSERT INTO replies (message, {', '.join(_COLUMNS)}) VALUES (?{', ?' * len(_COLUMNS)})"
UPDATE_PROVENANCE = f"UPDATE replies SET {', '.join(f'{name} = ?' for name in _COLUMNS)} WHERE message = ?"
SUBTREE = (
    "WITH RECURSIVE below (id) AS (SELECT ? UNION ALL"
    " SELECT messages.id FROM messages JOIN below ON parent = below.id"
    " AND conversation = (SELECT conversation FROM messages AS top WHERE top.id = below.id))"
    " SELECT id FROM below"
)


def conversation(row: Row) -> Conversation:
    return Conversation(
        row["id"],
        row["title"],
        row["system"],
        from_iso(row["created"]),
        from_iso(row["updated"]),
        row["messages"],
        row["model"],
    )


def message(row: Row) -> Message:
    return Message(
        row["id"],
        row["conversation"],
        row["parent"],
        row["role"],
        row["text"],
        row["origin"],
        bool(row["active"]),
        from_iso(row["created"]),
        row["finish_reason"],
        None if row["model"] is None else _provenance(row),
        row["deleted"] is not None,
        row["system"],
    )


def _provenance(row: Row) -> Provenance:
    sampling = {name: row[name] for name in _SAMPLING} | {"stop": tuple(json.loads(row["stop"]))}
    return Provenance(sampling=Sampling(**sampling), **{name: row[name] for name in _PROVENANCE})


def provenance_values(provenance: Provenance) -> list[Any]:
    """In the order of the columns of `INSERT_PROVENANCE`."""
    values = [getattr(provenance, name) for name in _PROVENANCE]
    values += [getattr(provenance.sampling, name) for name in _SAMPLING]
    return [json.dumps(each) if isinstance(each, tuple) else _text(each) for each in values]


def _text(value: Any) -> Any:
    return storable(value) if isinstance(value, str) else value


def ranking(row: Row, replies: list[Row]) -> Ranking:
    """`replies`: rows of ranking_event_replies in the order of `position`."""
    tiers: dict[int, list[tuple[int, int]]] = {}
    for each in replies:
        if each["tier"] is not None:
            tiers.setdefault(each["tier"], []).append((each["place"], each["reply"]))
    return Ranking(
        row["id"],
        row["prompt"],
        tuple(each["reply"] for each in replies),
        tuple(tuple(reply for _, reply in sorted(tiers[tier])) for tier in sorted(tiers)),
        bool(row["all_bad"]),
        tuple(json.loads(row["tags"])),
        row["milliseconds"],
        from_iso(row["created"]),
        row["source"],
    )


def thumb(row: Row) -> Thumb:
    return Thumb(row["id"], row["reply"], row["value"], from_iso(row["created"]))


def demonstration(row: Row, replaces: list[Row]) -> Demonstration:
    return Demonstration(
        row["id"],
        row["prompt"],
        row["reply"],
        tuple(each["reply"] for each in replaces),
        from_iso(row["created"]),
    )


def adapter(row: Row) -> Adapter:
    return Adapter(
        row["name"],
        row["method"],
        row["model"],
        row["model_sha256"],
        row["parent"],
        from_iso(row["created"]),
        bool(row["accepted"]),
        row["reason"],
        row["run"],
        row["data_sha256"],
        json.loads(row["settings"]),
        json.loads(row["evaluation"]),
        bool(row["deleted"]),
    )
