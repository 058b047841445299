"""Things the user tells, corrects, and asks for later."""
from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clean import Turn

from dialogues import phrases
from dialogues.drills import Drills
from dialogues.meant import Copied, Meant
from dialogues.wording import Wording

Dialogue = list[Turn]


@dataclass
class Told:
    """One thing that was told."""

    name: str
    ask: list[str]
    say: list[str]
    value: str


class Recall:
    """Draws dialogues over the attributes of recall.yml; `between` makes
    exchanges that stand between telling and asking."""

    def __init__(self, wording: Wording, material: dict[str, Any],
                 drills: Drills,
                 between: list[Callable[[], Dialogue]]) -> None:
        self.wording, self.rng = wording, wording.rng
        self.material, self.drills, self.between = material, drills, between

    def value(self, attribute: dict[str, Any]) -> str:
        """A value that suits the attribute; names and places are often
        made up, and now and then it is any word, so that it must be read."""
        r, m = self.rng, self.material
        kind = attribute.get("pool", attribute["kind"])
        if "values" in attribute and r.random() < 0.7:
            return r.choice(attribute["values"])
        if kind in ("name", "person"):
            text = (self.drills.coin() if r.random() < 0.35 else
                    r.choice(m["names"]))
            if r.random() < 0.08:
                text += " " + r.choice(m["surnames"])
            return text
        if kind == "surnames":
            return r.choice(m["surnames"])
        if kind == "place":
            return (self.drills.coin() if r.random() < 0.25 else
                    r.choice(m["towns"]))
        if kind == "number":
            return str(r.randint(1, 10 ** r.randint(1, 4)))
        if kind == "code":
            return r.choice([str(r.randint(100, 99999)),
                             "".join(r.choices("ABCDEFGHKLMNPRSTUVWXYZ", k=2))
                             + str(r.randint(1, 99)), r.choice(m["words"])])
        if kind == "year":
            return str(r.randint(1930, 2031))
        if kind == "time":
            hour, minute = r.randint(1, 12), 5 * r.randint(1, 11)
            past = r.choice(["half past", "quarter to", "ten past"])
            return r.choice([f"{hour}:{minute:02d}",
                             f"{past} {r.choice(phrases.HOURS.split())}",
                             f"{hour} {r.choice(['am', 'pm'])}"])
        if kind == "day":
            if r.random() < 0.7:
                return r.choice(phrases.DAYS.split())
            return f"{r.choice(phrases.MONTHS.split())} {r.randint(1, 28)}"
        if kind == "list":
            pool = m["foods"] if attribute["id"] == "shopping_list" else r.choice(
                [m["foods"], m["things"], m["words"], m["names"]])
            words = r.sample(pool, r.randint(2, 4))
            return ", ".join(words[:-1]) + r.choice([" and ", ", "]) + words[-1]
        if kind == "title":
            return "The " + " ".join(w.capitalize() for w in r.sample(m["words"], 2))
        pool = {"color": "colors", "animal": "animals", "job": "jobs",
                "food": "foods", "thing": "things"}.get(kind, "words")
        return r.choice(m[pool])

    def tell(self, attribute: dict[str, Any]) -> tuple[Dialogue, Told]:
        """An exchange that tells an attribute, corrected now and then."""
        r = self.rng
        value = self.value(attribute)
        small = r.random() < 0.15  # who never presses Shift
        if small:
            value = value.lower()
        said = tidied(r.choice(attribute["tell"]).replace("{v}", value))
        said = said.lower() if small else self._said(said, value)
        turns = [("user", Meant(said, f"told/{attribute['id']}")),
                 ("assistant", self._reaction(attribute, value))]
        if r.random() < 0.3:
            old, value = value, self.value(attribute)
            said = r.choice(self.material["correct"])
            said = self._said(said.replace("{n}", value).replace("{o}", old), value)
            turns += [("user", Meant(said, "corrected")),
                      ("assistant", Copied(r.choice(self.material["correct_say"])
                       .replace("{n}", value).replace("{o}", old), value))]
        return turns, Told(attribute["id"], attribute["ask"], attribute["say"], value)

    def _reaction(self, attribute: dict[str, Any], value: str) -> str:
        r = self.rng
        said = (r.choice(self.material["react"]) if r.random() < 0.15 else
                r.choice(attribute["react"]))
        return Copied(tidied(said.replace("{v}", value)), value if "{v}" in said else "")

    def _said(self, text: str, value: str) -> str:
        # slips and case would change a name that is to be told back
        r = self.rng
        if r.random() < 0.5:
            text = text[:1].upper() + text[1:]
        elif r.random() < 0.1 and text.startswith(("I ", "My ")):
            text = text[:1].lower() + text[1:]
        if r.random() < 0.3 and not text.endswith(("?", "!", value)):
            text = text.rstrip(".")
        elif text[-1:].isalnum() and r.random() < 0.5:
            text += "."
        return text

    def dialogue(self) -> Dialogue:
        """One to four things told, then asked for, with turns between."""
        r = self.rng
        attributes = r.sample(self.material["attributes"],
                              r.choices([1, 2, 3, 4], [5, 4, 2, 1])[0])
        turns: Dialogue = []
        told: list[Told] = []
        for attribute in attributes:
            if told and r.random() < 0.2:
                turns += self.between_turns()
            new, one = self.tell(attribute)
            turns += new
            told.append(one)
            if r.random() < 0.15:
                turns += self.asked(one)
        for _ in range(r.choices([0, 1, 2, 3], [4, 3, 2, 2])[0]):
            turns += self.between_turns()
        r.shuffle(told)
        for one in told:
            turns += self.asked(one)
            if r.random() < 0.1:
                turns += self.between_turns()
        return turns

    def asked(self, told: Told) -> Dialogue:
        """A question for what was told, and the answer."""
        r = self.rng
        text = self.wording.rough(r.choice(told.ask), 0.1)
        if r.random() < 0.1:
            text = r.choice(self.material["switch"]) + " " + text
        # a value at the beginning is other tokens than after a space
        say = r.choice([s for s in told.say if not s.startswith("{v}")] or told.say)
        return [("user", Meant(text, f"asked/{told.name}")),
                ("assistant", Copied(tidied(say.replace("{v}", told.value)), told.value))]

    def between_turns(self) -> Dialogue:
        """An exchange on something else."""
        r = self.rng
        if r.random() < 0.4:
            said, reply = r.choice(self.material["fillers"])
            return [("user", self.wording.rough(said, 0.0)),
                    ("assistant", reply)]
        return r.choice(self.between)()


def tidied(text: str) -> str:
    """Without a second article before a title."""
    return re.sub(r"\b[Tt]he The ", "The ", text)
