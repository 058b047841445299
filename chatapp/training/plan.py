"""What the data can carry, said in a few lines before anything is done."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

from chatapp.training.data import HELD_OUT, Data

Stage = Literal["sft", "reward", "dpo", "rloo", "ppo"]
FEW, SOME = 8, 16
"""Rankings below which no preference is learned, and below which the reward model stays out of it."""
_IN_ALL = ceil(FEW / (1 - HELD_OUT))
"""Rankings of which so many are learned from, on average."""
TELLING = 15
"""Held-out rankings below which only a large change can be told from chance."""


@dataclass(frozen=True, slots=True)
class Plan:
    stages: tuple[Stage, ...]
    """In this order; empty when there is too little of everything."""
    lines: tuple[str, ...]
    """For the user: what there is, what will be done, what to expect."""


def plan(data: Data, only: Stage | None = None) -> Plan:
    """`only`: the one stage that was asked for; `rloo` and `ppo` bring the reward model that they need."""
    lines = [_what_there_is(data), *_warnings(data)]
    stages: list[Stage] = []
    if only is not None:
        stages = ["reward", only] if only in ("rloo", "ppo") else [only]
        return Plan(tuple(stages), (*lines, f"asked for: {only}"))
    rankings = len(data.train.rankings)
    if data.train.demonstrations:
        stages.append("sft")
        lines.append(
            f"imitate {_count(len(data.train.demonstrations), 'edit')}, with other dialogue between them"
        )
    held = len(data.held_out.rankings)
    if rankings < FEW:
        others = f", {held} held out to judge by" if held else ""
        lines.append(
            f"{_count(rankings, 'ranking')} to learn from{others}: too few to learn a preference, "
            f"which takes about {_IN_ALL} in all; rank on"
        )
    elif rankings < SOME:
        stages.append("dpo")
        lines.append(
            f"learn from {rankings} rankings directly (DPO): expect a change that you may feel in plain "
            "matters like length, and that may not be told from chance in others"
        )
    else:
        stages += ["reward", "rloo"]
        lines.append(
            f"learn what you like from {rankings} rankings (reward model), then from its own replies (RLOO) "
            "if the reward model agrees clearly with rankings it has not seen; directly (DPO) if not"
        )
    if not stages:
        lines.append("nothing will be trained")
    else:
        lines.append(
            f"judged by {_count(held, 'ranking')} that {'is' if held == 1 else 'are'} never trained on; "
            "if it is no better than what it starts from, that stays"
        )
        if held < TELLING:
            lines.append(f"expect to be asked for more: {held} held out can show a large change alone")
    return Plan(tuple(stages), tuple(lines))


def _what_there_is(data: Data) -> str:
    sides = (data.train, data.held_out)
    edits, thumbs = (sum(len(getattr(side, what)) for side in sides) for what in ("demonstrations", "thumbs"))
    # An edit is better than what it stands for, a thumb up than a thumb down: they count like rankings.
    compared = "comparison" if edits or thumbs else "ranking"
    ordered = " with an order" if data.undecided else ""
    parts = [_count(data.rankings, compared) + ordered, _count(edits, "edit"), _count(thumbs, "thumb")]
    all_bad = f"; {_count(data.all_bad, 'time')} all replies were bad" if data.all_bad else ""
    return ("there is " if data.rankings == 1 else "there are ") + ", ".join(parts) + all_bad


def _warnings(data: Data) -> list[str]:
    asked = data.rankings + data.undecided
    found = []
    if data.undecided:
        hotter = "; sample hotter: alternatives_temperature = 1.3 in config.toml"
        found.append(
            f"{data.rankings} of your {_count(asked, 'ranking')} could tell the replies apart"
            + (hotter if data.undecided > asked / 3 else "")
        )
    if data.contradictions:
        found.append(f"{_count(data.contradictions, 'pair')} of replies stand both ways round")
    if data.duplicates:
        found.append(f"{_count(data.duplicates, 'judgement')} came twice and counted once")
    if data.too_long:
        found.append(f"{data.too_long} {_were(data.too_long)} longer than {data.limit} tokens and left out")
    if data.cut:
        replies = "reply was" if data.cut == 1 else "replies were"
        found.append(
            f"{data.cut} {replies} longer than {data.limit} tokens, the prompt with it, and left out"
        )
    if data.empty:
        found.append(f"{data.empty} held a reply without a word and {_were(data.empty)} left out")
    if data.rankings >= FEW and not data.held_out.rankings:
        found.append(
            "all rankings come from one side of the split, so nothing can be held out: chat about more"
        )
    return found


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _were(number: int) -> str:
    return "was" if number == 1 else "were"
