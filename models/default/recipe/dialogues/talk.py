"""Small talk: who the guide is, and open subjects with unlike replies."""
from __future__ import annotations

from typing import Any

from clean import Turn

from dialogues.meant import Meant
from dialogues.wording import Wording

Dialogue = list[Turn]


class Talk:
    """Draws small talk from `pairs` (persona) and `items` (open/)."""

    def __init__(self, wording: Wording, pairs: list[dict[str, Any]],
                 items: list[dict[str, Any]]) -> None:
        self.wording, self.rng = wording, wording.rng
        self.pairs, self.items = pairs, items
        # what is said in many ways is said more often
        self.often = [len(item["ask"]) ** 0.5 for item in items]

    def pair(self) -> Dialogue:
        """One exchange on the guide itself."""
        number = self.rng.randrange(len(self.pairs))
        p = self.pairs[number]
        said = self.wording.rough(self.wording.fill(self.rng.choice(p["ask"])), 0.1)
        return [("user", Meant(said, f"self/{number}")),
                ("assistant", self.rng.choice(p["say"]))]

    def open(self, most: int = 2) -> Dialogue:
        """An open subject and, perhaps, how it went on."""
        r = self.rng
        number = r.choices(range(len(self.items)), self.often)[0]
        item = self.items[number]
        said = self.wording.rough(r.choice(item["ask"]), 0.05)
        turns = [("user", Meant(said, f"talk/{number}")),
                 ("assistant", r.choice(item["say"]))]
        if most > 1 and item.get("then") and r.random() < 0.5:
            said, reply = r.choice(item["then"])
            turns += [("user", self.wording.rough(said, 0.0)),
                      ("assistant", reply)]
        return turns

    def dialogue(self) -> Dialogue:
        """One to four exchanges."""
        turns: Dialogue = []
        for _ in range(self.rng.choices([1, 2, 3], [3, 3, 1])[0]):
            turns += self.rng.choices([self.open, self.pair], [3, 2])[0]()
        return turns
