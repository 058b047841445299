"""The figures of a training in words, each with what it is of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def in_words(evaluation: Mapping[str, Any]) -> str:
    """`wins 63% [55, 70] on 200 held-out prompts, same length, perplexity +0.6%`.

    `evaluation` is `training.gate.Evidence` as JSON; what is unknown in it is left out.
    """
    wins, preference = evaluation.get("wins"), evaluation.get("preference")
    parts = [
        _share("wins", wins, "on", "held-out prompts"),
        "" if _known(wins) else _share("agrees with", preference, "of", "held-out rankings"),
        _length(evaluation.get("tuned"), evaluation.get("base")),
        _perplexity(evaluation.get("perplexity")),
    ]
    return ", ".join(part for part in parts if part)


def in_short(evaluation: Mapping[str, Any]) -> str:
    """The figure that decided alone: `wins 63% on 200`."""
    for name, words, by in (("wins", "wins", "on"), ("preference", "agrees with", "of")):
        figure = evaluation.get(name)
        if figure is not None and _known(figure):
            return f"{words} {figure['value']:.0%} {by} {figure['n']}"
    return ""


def _share(words: str, figure: Any, by: str, what: str) -> str:
    if not _known(figure):
        return ""
    low, high = (f"{100 * figure[side]:.0f}" for side in ("low", "high"))
    return f"{words} {figure['value']:.0%} [{low}, {high}] {by} {figure['n']} {what}"


def _perplexity(figure: Any) -> str:
    if not _known(figure):
        return ""
    change = figure["value"] - 1
    return "same perplexity" if abs(change) < 0.0005 else f"perplexity {change:+.1%}"


def _length(tuned: Any, base: Any) -> str:
    before, after = (_number(each, "words") for each in (base, tuned))
    if before is None or after is None or before <= 0:
        return ""
    change = after / before - 1
    return (
        "same length" if abs(change) < 0.05 else f"{abs(change):.0%} {'longer' if change > 0 else 'shorter'}"
    )


def _known(figure: Any) -> bool:
    found = [_number(figure, name) for name in ("value", "low", "high", "n")]
    return None not in found and bool(found[-1])


def _number(values: Any, name: str) -> float | None:
    value = values.get(name) if isinstance(values, Mapping) else None
    return value if isinstance(value, int | float) and math.isfinite(value) else None
