"""The verdict of a training in words: a number always says of how many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chatapp.session.round_result import RoundResult


def report(result: RoundResult) -> Iterator[str]:
    """The lines that `chatapp train` ends with."""
    yield f"{_capital(result.reason)}."
    yield _what_became(result)
    for name, why in result.tried:
        if name != result.method:
            yield f"tried before: {name}, refused: {why}"
    yield ""
    for label, text in figures(result):
        yield f"  {label:<22}{text}"
    yield ""
    yield from _next(result)


def figures(result: RoundResult) -> Iterator[tuple[str, str]]:
    """(what, how much of how many) for each figure that could be estimated."""
    evaluation = result.evaluation
    against = evaluation.get("against", "the base")
    if wins := evaluation.get("wins"):
        yield "wins", f"{_share(wins)} expected on {wins['n']} held-out prompts, over {against}"
    if judge := evaluation.get("judge"):
        yield (
            "judge of the wins",
            f"agrees with {_share(judge)} of your comparisons in {judge['n']} rankings it never saw",
        )
    if preference := evaluation.get("preference"):
        yield (
            "its own preference",
            f"{_share(preference)} of the comparisons in {preference['n']} held-out rankings",
        )
    accuracy = result.reward_accuracy
    crossed = evaluation.get("reward")
    if crossed and crossed != accuracy:
        yield (
            "reward models",
            f"{_share(crossed)} of the comparisons in {crossed['n']} rankings, cross-validated",
        )
    if accuracy:
        yield "reward model", f"{_share(accuracy)} of the comparisons in {accuracy['n']} held-out rankings"
    if perplexity := evaluation.get("perplexity"):
        value, low, high = (perplexity[name] for name in ("value", "low", "high"))
        yield (
            "perplexity",
            f"{value:.2f} [{low:.2f}, {high:.2f}] times the base's, of {perplexity['n']} dialogues",
        )
    tuned, base = evaluation.get("tuned"), evaluation.get("base")
    if tuned and base:
        yield "words a reply", f"{tuned['words']:.1f}, the base {base['words']:.1f}"
        yield "different word pairs", f"{tuned['distinct']:.0%}, the base {base['distinct']:.0%}"
        yield "repeated replies", f"{tuned['duplicates']:.0%}, the base {base['duplicates']:.0%}"
        yield "under 3 words", f"{tuned['short']:.0%}, the base {base['short']:.0%}"
        yield "without an end", f"{tuned['unfinished']:.0%}, the base {base['unfinished']:.0%}"
    yield (
        "work",
        f"{result.steps} steps, {result.seconds:.0f} s, {result.peak_memory_bytes / 2**30:.1f} GiB of memory",
    )


def _what_became(result: RoundResult) -> str:
    before = result.parent or "the base"
    if result.adapter is None:
        return f"Nothing changes in the chat; the reward model lies in run {result.run}."
    if result.accepted:
        return f"{result.adapter} ({result.method}) answers in the chat from now on, instead of {before}."
    return f"{result.adapter} ({result.method}) is kept and not in use; {before} answers as before."


def _next(result: RoundResult) -> Iterator[str]:
    if result.adapter is None:
        yield "next: chatapp train"
    elif result.accepted:
        yield f"next: chatapp, and rank what {result.adapter} says"
        yield "back to the round before: chatapp adapters rollback"
    else:
        yield "next: rank some more, then chatapp train"
        yield f"to try it all the same: chatapp -a {result.adapter}"


def _share(figure: Mapping[str, Any]) -> str:
    return f"{figure['value']:.0%} [{100 * figure['low']:.0f}, {100 * figure['high']:.0f}]"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
