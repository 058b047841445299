"""Things told in passing, and asked for in other words."""
from __future__ import annotations

from typing import Any

from clean import Turn

from dialogues.meant import Copied
from dialogues.recall import Recall, tidied

Dialogue = list[Turn]
Item = dict[str, Any]


class Passing:
    """Draws dialogues over the items of passing/: ways to tell the values of
    some slots, what to react, for each slot questions and answers, and
    perhaps how it changes later.
    `recall` gives values, corrections, and what stands between."""

    def __init__(self, recall: Recall, items: list[Item]) -> None:
        self.recall, self.rng, self.items = recall, recall.rng, items

    def value(self, kind: str) -> str:
        """A value of a kind that an item names."""
        if kind == "small":
            return str(self.rng.randint(2, 20))
        if kind == "price":
            return str(self.rng.randint(1, 40) * self.rng.choice([1, 1, 5, 10]))
        return self.recall.value({"id": "", "kind": kind})

    def told(self, item: Item) -> tuple[Dialogue, dict[str, str]]:
        """An exchange that tells the values of an item, corrected now and
        then, and the values."""
        r = self.rng
        values = {slot: self.value(kind) for slot, kind in item["slots"].items()}
        said = r.choice(item["tell"])
        if r.random() < 0.15:  # who never presses Shift
            values = {slot: value.lower() for slot, value in values.items()}
            said = said.lower()
        turns = [("user", self._filled(said, values)),
                 ("assistant", self._reply(r.choice(item["react"]), values))]
        if len(values) == 1 and r.random() < (0.4 if "change" in item else 0.2):
            (slot, old), = values.items()
            values[slot] = new = self.value(item["slots"][slot])
            said, reply = (self._filled(r.choice(ways), {"n": new, "o": old})
                           for ways in self.changes(item))
            turns += [("user", said), ("assistant", Copied(reply, new))]
        return turns, values

    def changes(self, item: Item) -> tuple[list[str], list[str]]:
        """Ways to take back what an item told, and replies: its own where it
        has some, now and then those that suit anything."""
        if "change" in item and self.rng.random() < 0.8:
            return item["change"], item["changed"]
        return self.recall.material["correct"], self.recall.material["correct_say"]

    def asked(self, item: Item, slot: str, values: dict[str, str]) -> Dialogue:
        """A question for one of the values, and the answer."""
        r = self.rng
        said = self.recall.wording.rough(r.choice(item["ask"][slot]), 0.1)
        return [("user", said),
                ("assistant", self._reply(r.choice(item["say"][slot]), values))]

    def dialogue(self) -> Dialogue:
        """One to three items told, each asked for at once or later."""
        r = self.rng
        turns: Dialogue = []
        later: list[Dialogue] = []
        for item in r.sample(self.items, r.choices([1, 2, 3], [5, 3, 1])[0]):
            told, values = self.told(item)
            turns += told
            slots = list(item["slots"])
            r.shuffle(slots)
            for slot in slots:
                asked = self.asked(item, slot, values)
                if r.random() < 0.4:
                    turns += asked
                else:
                    later.append(asked)
        for _ in range(r.choices([0, 1, 2, 3], [4, 2, 2, 1])[0]):
            turns += self.recall.between_turns()
        r.shuffle(later)
        for asked in later:
            turns += asked
        return turns

    def _filled(self, text: str, values: dict[str, str]) -> str:
        for slot, value in values.items():
            if value[0].lower() in "aeiou":
                text = text.replace(f" a {{{slot}}}", f" an {{{slot}}}")
        return tidied(text.format(**values))

    def _reply(self, text: str, values: dict[str, str]) -> Copied:
        copied = next((v for slot, v in values.items() if f"{{{slot}}}" in text), "")
        return Copied(self._filled(text, values), copied)
