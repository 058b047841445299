"""Open-Assistant message trees: sibling replies of the assistant carry a `rank`, 0 for the best."""

from __future__ import annotations

from typing import Any

from chatapp.core.types import Group, GroupReply, Role, Turn
from chatapp.preferences.formats.fields import BadRow, array, record, text

_ROLES: dict[str, Role] = {"prompter": "user", "assistant": "assistant"}


def groups(row: dict[str, Any]) -> list[Group]:
    """A ranking for each message whose replies hold two or more that are ranked.

    Equal ranks are ties; a reply without a rank was shown and not ranked. Deleted messages are left out.
    """
    found: list[Group] = []
    waiting: list[tuple[tuple[Turn, ...], dict[str, Any]]] = [((), record(row.get("prompt"), "prompt"))]
    while waiting:
        above, node = waiting.pop()
        path = (*above, _turn(node))
        below = [record(each, "a reply") for each in array(node.get("replies", []), "replies")]
        below = [each for each in below if not each.get("deleted")]
        if group := _ranking(path, [each for each in below if each.get("role") == "assistant"]):
            found.append(group)
        waiting += [(path, each) for each in reversed(below)]
    return found


def _ranking(prompt: tuple[Turn, ...], replies: list[dict[str, Any]]) -> Group | None:
    tiers: dict[int, list[int]] = {}
    for place, reply in enumerate(replies):
        if (rank := reply.get("rank")) is not None:
            if not isinstance(rank, int):
                raise BadRow("a rank is not a whole number")
            tiers.setdefault(rank, []).append(place)
    if sum(map(len, tiers.values())) < 2:
        return None
    return Group(
        prompt,
        tuple(GroupReply(_turn(reply).text) for reply in replies),
        tuple(tuple(tiers[rank]) for rank in sorted(tiers)),
    )


def _turn(node: dict[str, Any]) -> Turn:
    role = node.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise BadRow(f"a message of role {str(role)[:40]!r}")
    return Turn(_ROLES[role], text(node.get("text"), "the text of a message"))
