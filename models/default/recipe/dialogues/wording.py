"""How people write: slots filled, frames, prefixes, case, slips."""
from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from dialogues import phrases

_DOUBLE = {"stop", "get", "submit", "quit", "put", "cut", "begin", "let",
           "shut", "set", "run", "log", "swap", "tag", "skip", "commit", "go",
           "end", "up", "flip", "plug", "vote"} - {"go", "end", "up", "vote"}


def gerund(text: str) -> str:
    """An infinitive phrase with its verb in -ing."""
    verb, space, rest = text.partition(" ")
    if verb in ("see", "be", "flee"):
        verb += "ing"
    elif verb == "tie":
        verb = "tying"
    elif verb in _DOUBLE:
        verb += verb[-1] + "ing"
    elif verb.endswith("e"):
        verb = verb[:-1] + "ing"
    else:
        verb += "ing"
    return verb + space + rest


def split(text: str) -> list[str]:
    """The phrases of a block, one a line or between bars."""
    return [p for line in text.split("\n") for p in line.split("|") if p]


class Wording:
    """Words and manners, drawn from one random source.

    `pools` gives the words of each slot.
    """

    def __init__(self, rng: random.Random,
                 pools: Mapping[str, Sequence[str]]) -> None:
        self.rng, self.pools = rng, pools
        self.frames = {"do": split(phrases.DO), "get": split(phrases.GET),
                       "key": split(phrases.KEY), "ing": split(phrases.ING)}
        self.before = split(phrases.BEFORE)
        self.after = split(phrases.AFTER)
        self.context = split(phrases.CONTEXT)

    def fill(self, text: str) -> str:
        """Replace each {slot} by a random word of its kind."""
        def word(match: re.Match) -> str:
            slot = match[1]
            if slot in ("number", "number2"):
                return str(self.rng.randint(2, 999))
            if slot == "year":
                return str(self.rng.randint(1900, 2024))
            return self.rng.choice(self.pools.get(slot, [slot]))
        return re.sub(r"\{(\w+)\}", word, text)

    def rough(self, text: str, edge: float = 0.3) -> str:
        """Write a question as people do: prefixes, case, typos."""
        r = self.rng
        if r.random() < edge:
            lead = r.choice(self.before)
            if r.random() < 0.3:
                lead = self.fill(r.choice(self.context))
            text = lead.rstrip() + " " + text
        if (r.random() < edge / 3 and text[-1:].isalnum()) or (
                text.endswith("?") and r.random() < edge / 3):
            mark = "?" if text.endswith("?") else ""
            text = text.rstrip("?") + r.choice(self.after) + mark
        style = r.random()
        if style < 0.45:
            text = text[:1].upper() + text[1:]
        elif style < 0.7:
            text = text.lower()
        if r.random() < 0.25:
            text = text.rstrip("?.!")
        elif r.random() < 0.1 and text[-1:].isalpha():
            text += r.choice([".", "!", "?"])
        if r.random() < 0.15:
            text = self.typo(text)
            if r.random() < 0.3:
                text = self.typo(text)
        return text.strip()

    def typo(self, text: str) -> str:
        """One slip of the finger in a longer word."""
        spots = list(re.finditer(r"[a-z]{5,}", text))
        if not spots:
            return text
        m = self.rng.choice(spots)
        i = self.rng.randrange(m.start() + 1, m.end() - 1)
        kind = self.rng.randrange(3)
        if kind == 0:
            return text[:i] + text[i + 1:]
        if kind == 1:
            return text[:i] + text[i + 1] + text[i] + text[i + 2:]
        return text[:i] + text[i] + text[i:]

    def noisy(self, text: str, others: Sequence[str]) -> str:
        """A question with words lost, put in from `others`, or swapped:
        what it asks has to be seen from any of its words."""
        r = self.rng
        lost = r.uniform(0, 0.35)
        words = [w for w in text.split() if r.random() > lost] or text.split()
        words = [r.choice(r.choice(others).split()) if r.random() < 0.07 else w
                 for w in words]
        if len(words) > 2 and r.random() < 0.3:
            i = r.randrange(len(words) - 1)
            words[i], words[i + 1] = words[i + 1], words[i]
        if r.random() < 0.15:
            words += r.choice(others).split()[:r.randint(1, 4)]
        return " ".join(words)

    def framed(self, kind: str, text: str) -> str:
        """A want ("do", "get", "key") as a question or a remark."""
        if kind == "do" and self.rng.random() < 0.15:
            kind, text = "ing", gerund(text)
        return self.rng.choice(self.frames[kind]).format(x=text)
