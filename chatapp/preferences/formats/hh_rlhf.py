"""HH-RLHF: `chosen` and `rejected` are whole transcripts that differ in the last reply."""

from __future__ import annotations

import re
from typing import Any

from chatapp.core.types import Group, GroupReply, Role, Turn
from chatapp.preferences.formats.fields import BadRow, text

_SPEAKER = re.compile(r"\n\n(Human|Assistant):")
_ROLES: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}


def is_transcript(value: Any) -> bool:
    return isinstance(value, str) and _SPEAKER.match(value) is not None


def transcript(value: str, name: str) -> tuple[Turn, ...]:
    """The turns of a transcript; two turns in a row of one speaker become one."""
    before, *pieces = _SPEAKER.split(value)
    if before.strip() or not pieces:
        raise BadRow(f"{name} does not begin with a Human or Assistant line")
    found: list[Turn] = []
    for speaker, said in zip(pieces[::2], pieces[1::2], strict=True):
        role, said = _ROLES[speaker], said.strip()
        if found and found[-1].role == role:
            found[-1] = Turn(role, f"{found[-1].text}\n\n{said}".strip())
        else:
            found.append(Turn(role, said))
    return tuple(found)


def group(row: dict[str, Any]) -> list[Group]:
    chosen, rejected = (transcript(text(row.get(name), name), name) for name in ("chosen", "rejected"))
    for name, found in (("chosen", chosen), ("rejected", rejected)):
        if found[-1].role != "assistant":
            raise BadRow(f"{name} does not end with a reply of the assistant")
    if chosen[:-1] != rejected[:-1]:
        raise BadRow("chosen and rejected part before the last reply")
    if not any(turn.text for turn in chosen[:-1]):
        raise BadRow("the prompt is empty")
    if chosen[-1] == rejected[-1]:
        raise BadRow("chosen and rejected are the same")
    return [Group(chosen[:-1], (GroupReply(chosen[-1].text), GroupReply(rejected[-1].text)), ((0,), (1,)))]
