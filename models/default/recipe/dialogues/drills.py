"""Drills of copying: echoes, look-ups, places in a list, changed values.

Small models learn to carry a word over a turn only from much practice with
words that cannot be learnt by heart, so most of them are made up or drawn
from open text.
"""
from __future__ import annotations

import random
from collections.abc import Sequence

from clean import Turn

from dialogues import phrases
from dialogues.meant import Copied
from dialogues.wording import split

Dialogue = list[Turn]

class Drills:
    """Draws drills; `names` and `words` are open lists, `lines` sentences."""

    def __init__(self, rng: random.Random, names: Sequence[str],
                 words: Sequence[str], lines: Sequence[str]) -> None:
        self.rng, self.names, self.words = rng, names, words
        self.lines = lines
        self.onsets = [*phrases.ONSETS.split(), *[""] * 4]
        self.vowels = phrases.VOWELS.split()
        self.ends = [*phrases.ENDS.split(), *[""] * 4]
        self.say, self.tell = split(phrases.SAY), split(phrases.TELL)
        self.ask, self.took = split(phrases.ASK), split(phrases.TOOK)

    def coin(self) -> str:
        """A made-up name."""
        r = self.rng
        text = "".join(r.choice(self.onsets) + r.choice(self.vowels) + (
            r.choice(self.ends) if last or r.random() < 0.25 else "")
            for last in [False] * r.choice([0, 1, 1, 1, 2]) + [True])
        return text.capitalize() if len(text) > 2 else self.coin()

    def number(self) -> str:
        """A number of one to five figures, now and then a time or a sum."""
        r = self.rng
        kind = r.random()
        if kind < 0.1:
            return f"{r.randint(1, 23)}:{r.randint(0, 59):02d}"
        if kind < 0.15:
            return f"{r.randint(1, 99)}.{r.randint(0, 99)}"
        return str(r.randint(1, 10 ** r.randint(1, 5)))

    def value(self) -> str:
        """Something short that can be carried over a turn."""
        r = self.rng
        kind = r.random()
        if kind < 0.3:
            return self.coin()
        if kind < 0.5:
            return r.choice(self.names)
        if kind < 0.65:
            return self.number()
        if kind < 0.9:
            return r.choice(self.words)
        return f"{r.choice(self.words)} {r.choice(self.words)}"

    def values(self, count: int) -> list[str]:
        """Different values, most often of one kind."""
        r = self.rng
        make = r.choice([self.value, self.coin, self.number,
                         lambda: r.choice(self.names),
                         lambda: r.choice(self.words)])
        found: list[str] = []
        while len(found) < count:
            new = make()
            if new not in found:
                found.append(new)
        return found

    def drill(self) -> Dialogue:
        """One dialogue of one or two drills."""
        r = self.rng
        kinds = [self.echo, self.look_up, self.told_one_by_one, self.place,
                 self.listing]
        turns: Dialogue = []
        for _ in range(r.choice([1, 1, 2])):
            turns += r.choices(kinds, [4, 4, 4, 1, 1])[0]()
        return turns

    def echo(self) -> Dialogue:
        """Say again what was said."""
        r = self.rng
        turns: Dialogue = []
        for _ in range(r.randint(1, 4)):
            text = (r.choice(self.lines) if r.random() < 0.4 else
                    r.choice([", ", " ", " and "]).join(
                        self.values(r.randint(1, 6))))
            turns += [("user", self._case(r.choice(self.say)).format(w=text)),
                      ("assistant", Copied(text, text))]
        return turns

    def look_up(self) -> Dialogue:
        """Pairs in one message, asked for one by one in any order."""
        r = self.rng
        n = r.randint(2, 6)
        keys, values = self.values(n), self.values(n)
        how = r.choice(self.tell)
        said = r.choice([". ", ", ", "; ", "\n"]).join(
            how.format(k=k, v=v) for k, v in zip(keys, values, strict=True))
        turns = [("user", said), ("assistant", r.choice(self.took))]
        pairs = list(zip(keys, values, strict=True))
        r.shuffle(pairs)
        frame = r.choice(self.ask)
        for k, v in pairs[:r.randint(2, 5)]:
            frame = r.choice(self.ask) if r.random() < 0.4 else frame
            turns += [("user", self._case(frame.format(k=k))),
                      ("assistant", self._told(v))]
        return turns

    def told_one_by_one(self) -> Dialogue:
        """One pair a message, one of them changed perhaps, then asked for."""
        r = self.rng
        n = r.randint(1, 4)
        pairs = dict(zip(self.values(n), self.values(n), strict=True))
        turns: Dialogue = []
        for k, v in pairs.items():
            turns += [("user", self._case(r.choice(self.tell).format(k=k, v=v))),
                      ("assistant", Copied(r.choice([*self.took, f"{v}, noted.",
                                                     f"{k}: {v}.", f"OK, {v}."]), v))]
        if r.random() < 0.35:
            k = r.choice(list(pairs))
            old, new = pairs[k], self.value()
            said = r.choice(["no, {k} is {n}", "wrong, {k}: {n}, not {o}",
                             "I meant {n} for {k}", "change {k} to {n}",
                             "actually {k} is {n}", "sorry, {n} for {k}"])
            turns += [("user", self._case(said.format(k=k, n=new, o=old))),
                      ("assistant", Copied(r.choice([f"{new}, then.",
                                                     f"Sorry: {new}.",
                                                     f"My mistake: {new}."]), new))]
            pairs[k] = new
        if r.random() < 0.4:
            text = r.choice(self.lines)
            turns += [("user", r.choice(self.say).format(w=text)),
                      ("assistant", Copied(text, text))]
        keys = list(pairs)
        r.shuffle(keys)
        for k in keys:
            turns += [("user", self._case(r.choice(self.ask).format(k=k))),
                      ("assistant", self._told(pairs[k]))]
        return turns

    def place(self) -> Dialogue:
        """The first, second or last of a list; what follows what."""
        r = self.rng
        words = self.values(r.randint(2, 5))
        said = ", ".join(words)
        turns: Dialogue = [("user", r.choice(["{w}", "a list: {w}", "here: {w}",
                            "my list is {w}"]).format(w=said)),
                           ("assistant", r.choice(self.took))]
        for _ in range(r.randint(1, 3)):
            at = r.randrange(len(words))
            place = ("last" if at == len(words) - 1 and r.random() < 0.6 else
                     ["first", "second", "third", "fourth", "fifth"][at])
            turns += [("user", r.choice(["which is the {p}?", "the {p} one?",
                                         "what is {p}?", "give me the {p}"]
                                        ).format(p=place)),
                      ("assistant", self._told(words[at]))]
        return turns

    def listing(self) -> Dialogue:
        """A list told back line by line, or counted."""
        r = self.rng
        words = self.values(r.randint(2, 5))
        said = ", ".join(words[:-1]) + r.choice([" and ", ", "]) + words[-1]
        if r.random() < 0.5:
            return [("user", r.choice(["make a list of ", "list these: ",
                                       "one line each: "]) + said),
                    ("assistant", "\n".join("- " + w for w in words))]
        return [("user", r.choice(["how many are these: ", "count: "]) + said),
                ("assistant", f"{len(words)}: " + ", ".join(words) + ".")]

    def _told(self, value: str) -> str:
        return Copied(self.rng.choice(["It is {v}.", "It's {v}.", "You said {v}.",
                                       "That is {v}."]).format(v=value), value)

    def _case(self, text: str) -> str:
        return text[:1].upper() + text[1:] if self.rng.random() < 0.4 else text
