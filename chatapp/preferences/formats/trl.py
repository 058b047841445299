"""TRL's dataset types: preference, unpaired preference, prompt-completion; written in conversational form.

Rows hold exactly the columns that TRL's trainers ask for. Its standard form is read as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from chatapp.core.types import Group, GroupReply, Turn
from chatapp.preferences.formats.fields import BadRow, messages, text, turns
from chatapp.preferences.pairs import group_pairs

Row = dict[str, Any]


def preference_rows(groups: Iterable[Group]) -> Iterator[Row]:
    """One row for each pair: `prompt`, `chosen`, `rejected`."""
    for group in groups:
        for chosen, rejected in group_pairs(group):
            yield {
                "prompt": messages(group.prompt),
                "chosen": _completion(group.replies[chosen]),
                "rejected": _completion(group.replies[rejected]),
            }


def unpaired_rows(groups: Iterable[Group]) -> Iterator[Row]:
    """`prompt`, `completion`, `label`: one for each thumb, and a false one for each reply of an "all bad"."""
    for group in groups:
        for reply in group.replies:
            if reply.thumb or group.all_bad:
                yield {
                    "prompt": messages(group.prompt),
                    "completion": _completion(reply),
                    "label": reply.thumb > 0,
                }


def sft_rows(groups: Iterable[Group]) -> Iterator[Row]:
    """`prompt`, `completion`: what people wrote, ranked best, or gave a thumb up; each once."""
    seen: set[tuple[tuple[Turn, ...], str]] = set()
    for group in groups:
        good = set(group.tiers[0]) if group.tiers else set()
        if group.demonstration is not None:
            good.add(group.demonstration)
        good |= {place for place, reply in enumerate(group.replies) if reply.thumb > 0}
        for place in sorted(good):
            reply = group.replies[place]
            if (group.prompt, reply.text) not in seen:
                seen.add((group.prompt, reply.text))
                yield {"prompt": messages(group.prompt), "completion": _completion(reply)}


def _completion(reply: GroupReply) -> list[dict[str, str]]:
    return messages((Turn("assistant", reply.text),))


def preference_group(row: Row) -> list[Group]:
    """A row with `chosen` and `rejected`; without `prompt`, what both begin with is the prompt."""
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if isinstance(chosen, list):
        good, bad = turns(chosen, "chosen"), turns(rejected, "rejected")
        if row.get("prompt") is None:
            shared = _shared(good, bad)
            prompt, good, bad = good[:shared], good[shared:], bad[shared:]
        else:
            prompt = _prompt(row["prompt"])
        replies = (_reply(good, "chosen"), _reply(bad, "rejected"))
    else:
        better, worse = text(chosen, "chosen"), text(rejected, "rejected")
        if row.get("prompt") is None:
            shared = _shared(better, worse)
            if shared and better[shared - 1] == " ":  # the space belongs to what follows, as in TRL
                shared -= 1
            prompt = _prompt(better[:shared])
            better, worse = better[shared:], worse[shared:]
        else:
            prompt = _prompt(row["prompt"])
        replies = (GroupReply(better), GroupReply(worse))
    if replies[0].text == replies[1].text:
        raise BadRow("chosen and rejected are the same")
    return [Group(prompt, replies, ((0,), (1,)))]


def unpaired_group(row: Row) -> list[Group]:
    """A row with `prompt`, `completion` and a `label` that is true or false: a thumb."""
    label = row.get("label")
    if label not in (True, False):
        raise BadRow("label is neither true nor false")
    reply = GroupReply(_completion_text(row.get("completion")), thumb=1 if label else -1)
    return [Group(_prompt(row.get("prompt")), (reply,))]


def sft_group(row: Row) -> list[Group]:
    """A row with `prompt` and `completion`: a demonstration."""
    reply = GroupReply(_completion_text(row.get("completion")))
    return [Group(_prompt(row.get("prompt")), (reply,), demonstration=0)]


def _prompt(value: Any) -> tuple[Turn, ...]:
    prompt = (Turn("user", text(value, "prompt")),) if isinstance(value, str) else turns(value, "prompt")
    if not any(turn.text.strip() for turn in prompt):
        raise BadRow("the prompt is empty")
    return prompt


def _completion_text(value: Any) -> str:
    if isinstance(value, str):
        return text(value, "completion")
    return _reply(turns(value, "completion"), "completion").text


def _reply(found: tuple[Turn, ...], name: str) -> GroupReply:
    if len(found) != 1:
        raise BadRow(f"{name} has {len(found)} turns after the prompt, not one")
    if found[0].role != "assistant":
        raise BadRow(f"{name} ends with a turn of the {found[0].role}, not of the assistant")
    return GroupReply(found[0].text)


def _shared(a: str | tuple[Turn, ...], b: str | tuple[Turn, ...]) -> int:
    """Length of the common beginning of two sequences."""
    for index, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return index
    return min(len(a), len(b))
