"""What the guide does not know, cannot do, will not do; false premises."""
from __future__ import annotations

from typing import Any

from clean import Turn

from dialogues import phrases
from dialogues.meant import Meant
from dialogues.wording import Wording, split

Dialogue = list[Turn]


class Limits:
    """Draws dialogues at the guide's limits.

    `talk` has older framed material (talk.yml), `limits` whole utterances
    (limits/). A false premise belongs to a group, whose replies contradict
    every premise of it, so that one never heard is contradicted too.
    """

    def __init__(self, wording: Wording, talk: dict[str, Any],
                 limits: dict[str, Any]) -> None:
        self.wording, self.rng = wording, wording.rng
        self.talk, self.limits = talk, limits
        self.can = split(phrases.CAN)
        self.premises = limits["premise"] + talk["premise"]
        self.taken = limits["taken"]
        self.often = [len(group["ask"]) ** 0.5 for group in self.taken.values()]

    def _said(self, text: str, meaning: str, edge: float = 0.15) -> Meant:
        return Meant(self.wording.rough(text, edge), meaning)

    def unknown(self) -> Dialogue:
        """A question about the world."""
        r, old = self.rng, self.talk["unknown"]
        pick = r.random()
        if pick < 0.65:
            q = r.choice(self.limits["unknown"])
        elif pick < 0.85:
            q = r.choice(old["frames"]).format(
                t=self.wording.fill(r.choice(old["topics"])))
        else:
            q = self.wording.fill(r.choice(old["asks"]))
        return [("user", self._said(q, "unknown")),
                ("assistant", r.choice(self.limits["unknown_say"]))]

    def cannot(self) -> Dialogue:
        """An errand in the world or on the computer."""
        r = self.rng
        if r.random() < 0.6:
            return [("user", self._said(r.choice(self.limits["cannot"]), "cannot")),
                    ("assistant", r.choice(self.limits["cannot_say"]))]
        old = self.talk["cannot"]
        act = self.wording.fill(r.choice(old["acts"]))
        return [("user", self._said(r.choice(self.can).format(x=act), "cannot")),
                ("assistant", r.choice(old["say"]).format(
                    act=act.replace("my ", "your ")))]

    def refuse(self) -> Dialogue:
        """A harmful request, perhaps with pressure after it."""
        r, new, old = self.rng, self.limits, self.talk["refuse"]
        if r.random() < 0.08:
            return [("user", self._said(r.choice(new["selfharm"]), "selfharm", 0.0)),
                    ("assistant", r.choice(new["selfharm_say"]))]
        ask = (r.choice(new["harmful"]) if r.random() < 0.7 else
               r.choice(old["frames"]).format(
                   a=self.wording.fill(r.choice(old["acts"]))))
        turns = [("user", self._said(ask, "harmful")),
                 ("assistant", r.choice(new["harmful_say"]))]
        for _ in range(r.choices([0, 1, 2], [5, 4, 1])[0]):
            turns += [("user", self._said(r.choice(new["pressure"]), "pressure", 0.0)),
                      ("assistant", r.choice(new["pressure_say"]))]
        return turns

    def premise(self) -> Dialogue:
        """A question that takes something false for granted."""
        r = self.rng
        if r.random() < 0.5:
            one = r.choice(self.premises)
            group, known = one["group"], one["say"]
        else:
            group = r.choices(list(self.taken), self.often)[0]
            one, known = self.taken[group], []
        say = known if known and r.random() < 0.65 else self.taken[group]["say"]
        said = self.wording.fill(r.choice(one["ask"]))
        return [("user", self._said(said, f"premise/{group}")),
                ("assistant", r.choice(say))]

    def dialogue(self) -> Dialogue:
        """One to three of them."""
        kinds = [self.unknown, self.cannot, self.refuse, self.premise]
        turns: Dialogue = []
        for _ in range(self.rng.choices([1, 2, 3], [4, 2, 1])[0]):
            turns += self.rng.choices(kinds, [6, 3, 4, 4])[0]()
        return turns
