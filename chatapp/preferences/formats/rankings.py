"""This program's own format: one group a line with everything that is known of it, read back without loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, get_args

from chatapp.core.types import Group, GroupReply, Origin
from chatapp.preferences.formats.fields import BadRow, array, messages, record, text, turns

_MOST = 2**63 - 1
"""What the database can hold."""


def rows(groups: Iterable[Group]) -> Iterator[dict[str, Any]]:
    for group in groups:
        yield {
            "prompt": messages(group.prompt),
            "replies": [
                {
                    "text": reply.text,
                    "origin": reply.origin,
                    "model": reply.model,
                    "thumb": reply.thumb,
                    "adapter": reply.adapter,
                    "finished": reply.finished,
                }
                for reply in group.replies
            ],
            "tiers": [list(tier) for tier in group.tiers],
            "all_bad": group.all_bad,
            "demonstration": group.demonstration,
            "tags": list(group.tags),
            "milliseconds": group.milliseconds,
            "created": group.created,
            "source": group.source,
        }


def group(row: dict[str, Any]) -> list[Group]:
    prompt = turns(row.get("prompt"), "prompt")
    replies = tuple(_reply(each) for each in array(row.get("replies"), "replies"))
    if not prompt or not replies:
        raise BadRow("the prompt or the list of replies is empty")
    tiers = tuple(
        tuple(_place(place, len(replies)) for place in array(tier, "a tier"))
        for tier in array(row.get("tiers", []), "tiers")
    )
    placed = [place for tier in tiers for place in tier]
    if not all(tiers) or len(set(placed)) < len(placed):
        raise BadRow("a tier is empty or a reply stands in two")
    all_bad = row.get("all_bad", False)
    if not isinstance(all_bad, bool) or (all_bad and tiers):
        raise BadRow("all_bad is not true or false, or contradicts tiers")
    demonstration = row.get("demonstration")
    milliseconds = _number(row.get("milliseconds"), "milliseconds", int)
    if milliseconds is not None and not 0 <= milliseconds <= _MOST:
        raise BadRow("milliseconds is negative or too large")
    return [
        Group(
            prompt,
            replies,
            tiers,
            all_bad,
            None if demonstration is None else _place(demonstration, len(replies)),
            tuple(text(tag, "a tag") for tag in array(row.get("tags", []), "tags")),
            milliseconds,
            _number(row.get("created"), "created", int, float),
            text(row.get("source", "chat"), "source"),
        )
    ]


def _reply(value: Any) -> GroupReply:
    reply = record(value, "a reply")
    origin, thumb = reply.get("origin", "import"), reply.get("thumb", 0)
    model, adapter = reply.get("model"), reply.get("adapter")
    finished = reply.get("finished", True)
    if origin not in get_args(Origin):
        raise BadRow(f"a reply of origin {str(origin)[:40]!r}")
    if isinstance(thumb, bool) or thumb not in (-1, 0, 1):
        raise BadRow("a thumb is not -1, 0 or 1")
    if not isinstance(finished, bool):
        raise BadRow("finished is not true or false")
    return GroupReply(
        text(reply.get("text"), "the text of a reply"),
        origin,
        None if model is None else text(model, "the model of a reply"),
        thumb,
        None if adapter is None else text(adapter, "the adapter of a reply"),
        finished,
    )


def _place(value: Any, count: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise BadRow("a place that no reply has")
    return value


def _number(value: Any, name: str, *types: type) -> Any:
    if value is not None and (isinstance(value, bool) or not isinstance(value, types)):
        raise BadRow(f"{name} is not a number")
    return value
