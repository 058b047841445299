"""Taskmaster-4 ratings: a dialogue, one next turn of the agent, and whether a person found it right."""

from __future__ import annotations

import json
from typing import Any

from chatapp.core.types import Group, GroupReply, Role, Turn
from chatapp.preferences.formats.fields import BadRow, array, record, text

_ROLES: dict[str, Role] = {"agent": "assistant", "user": "user", "api": "user"}


def group(row: dict[str, Any]) -> list[Group]:
    """A thumb up for reward 1, a thumb down for 0.

    A call of an API is a turn of the assistant, its response a turn of the user, each as compact JSON. Turns
    in a row of one speaker become one.
    """
    prompt: list[Turn] = []
    for each in array(_parsed(row.get("context"), "context"), "context"):
        turn = _turn(each, "context")
        if prompt and prompt[-1].role == turn.role:
            prompt[-1] = Turn(turn.role, f"{prompt[-1].text}\n{turn.text}")
        else:
            prompt.append(turn)
    if not prompt:
        raise BadRow("the context is empty")
    reply = _turn(_parsed(row.get("generation"), "generation"), "generation")
    if reply.role != "assistant":
        raise BadRow("the generation is not a turn of the agent")
    reward = row.get("reward")
    if reward not in (0, 1):
        raise BadRow("the reward is neither 0 nor 1")
    return [Group(tuple(prompt), (GroupReply(reply.text, thumb=1 if reward else -1),))]


def _parsed(value: Any, name: str) -> Any:
    """`value` itself, or what it says where it is JSON inside of JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise BadRow(f"{name} is not JSON") from error


def _turn(value: Any, name: str) -> Turn:
    each = record(value, f"a turn of {name}")
    role = each.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise BadRow(f"{name} has a turn of role {str(role)[:40]!r}")
    said = [each[key] for key in ("text", "api", "response") if key in each]
    if not said:
        raise BadRow(f"{name} has a turn that says nothing")
    return Turn(_ROLES[role], "\n".join(text(_compact(part), name) for part in said))


def _compact(part: Any) -> str:
    return part if isinstance(part, str) else json.dumps(part, ensure_ascii=False, separators=(",", ":"))
