"""Comparisons that cost nobody anything: a reply that is known to be good against spoilt copies of it.

Each way of spoiling is a mistake that people mark down in any dialogue: it answers another turn, leaves out
what was asked for, adds or mixes in what nobody said, or breaks off. A language model's own samples are left
out on purpose: what it finds probable would then always look good.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Sequence

WORD = re.compile(r"\w+")
_SEPARATOR = re.compile(r"(, | \| | OR | or | and | with |\. )")


def normalised(text: str) -> tuple[str, ...]:
    """The words of `text` alone: texts that differ in case or punctuation only are the same."""
    return tuple(WORD.findall(text.casefold()))


class Corruptor:
    """`replies`: good replies to other turns of the same kind of dialogue."""

    def __init__(self, replies: Sequence[str], seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._alike: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        for reply in dict.fromkeys(replies):
            self._alike[normalised(reply)[:2]].append(reply)

    def corruptions(self, reply: str, context: str, own: Sequence[str], count: int) -> list[str]:
        """At most `count` spoilt copies of `reply`, none of which says the same as it or as another.

        `context`: all that was said before it. `own`: the good replies to the other turns of its dialogue.
        """
        ways: list[Callable[[str], str | None]] = [
            lambda good: self._pick(own),
            self._other,
            self._omit,
            self._omit,
            self._mix,
            self._mix,
            self._add,
            self._add,
            lambda good: self._swap(good, context),
            self._break_off,
        ]
        self._random.shuffle(ways)
        found: dict[tuple[str, ...], str] = {normalised(reply): reply}
        for way in ways:
            spoilt = way(reply)
            if spoilt is not None and (said := normalised(spoilt)):
                found.setdefault(said, spoilt)
            if len(found) > count:
                break
        return list(found.values())[1:]

    def _pick(self, texts: Sequence[str]) -> str | None:
        return self._random.choice(texts) if texts else None

    def _other(self, reply: str) -> str | None:
        """A reply that begins as this one does, from another dialogue."""
        return self._pick([each for each in self._alike.get(normalised(reply)[:2], ()) if each != reply])

    def _omit(self, reply: str) -> str | None:
        """One part of it is missing."""
        parts = _SEPARATOR.split(reply)
        if len(parts) < 3:
            return self._break_off(reply)
        gone = self._random.randrange(0, len(parts), 2)
        return "".join(parts[2:] if gone == 0 else parts[: gone - 1] + parts[gone + 1 :])

    def _mix(self, reply: str) -> str | None:
        """One part of it is that of another reply."""
        other = self._other(reply)
        if other is None:
            return None
        parts, foreign = _SEPARATOR.split(reply), _SEPARATOR.split(other)
        parts[self._random.randrange(0, len(parts), 2)] = self._random.choice(foreign[::2])
        return "".join(parts)

    def _add(self, reply: str) -> str | None:
        """It says something more, which belongs to another reply."""
        other = self._other(reply)
        if other is None:
            return None
        parts, foreign = _SEPARATOR.split(reply), _SEPARATOR.split(other)
        at = self._random.randrange(0, len(parts), 2)
        separator = parts[1] if len(parts) > 1 else " and "
        return "".join([*parts[: at + 1], separator, self._random.choice(foreign[::2]), *parts[at + 1 :]])

    def _swap(self, reply: str, context: str) -> str | None:
        """A word that it took from the context is another one of the context."""
        said = sorted(set(WORD.findall(context)))
        taken = [found for found in WORD.finditer(reply) if found[0] in said]
        if not taken or len(said) < 2:
            return None
        found = self._random.choice(taken)
        word = self._random.choice([each for each in said if each != found[0]])
        return reply[: found.start()] + word + reply[found.end() :]

    def _break_off(self, reply: str) -> str | None:
        words = reply.split()
        return " ".join(words[: self._random.randrange(len(words) // 3, len(words))]) if words else None
