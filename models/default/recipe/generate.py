"""Composes the guide's own training dialogues from the files beside it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import yaml
from clean import Turn
from dialogues.app import App
from dialogues.drills import Drills
from dialogues.errand import Errand
from dialogues.limits import Limits
from dialogues.passing import Passing
from dialogues.recall import Recall
from dialogues.talk import Talk
from dialogues.wording import Wording

Dialogue = list[Turn]
HERE = Path(__file__).parent


def read(name: str, here: Path = HERE) -> Any:
    """One of the YAML files of the recipe."""
    # the loader in C where there is one: ten times as fast
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((here / name).read_text(), loader)


def gathered(folder: str, here: Path = HERE) -> Any:
    """What the YAML files of a folder hold together: lists are joined."""
    return reduce(_joined, (read(f"{folder}/{path.name}", here)
                            for path in sorted((here / folder).glob("*.yml"))))


def _joined(one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        return {key: _joined(one[key], other[key]) if key in one and key in other
                else one.get(key, other.get(key)) for key in one | other}
    return one + other


def facts(here: Path = HERE) -> list[dict[str, Any]]:
    """The facts with all the questions written for them; `leans` are short
    ones that lean on the answer to a neighbouring fact, `doubted` is what
    people say who do not believe the answer."""
    found = read("facts.yml", here)
    more = read("situations.yml", here)
    asked, leans, doubted = (gathered(name, here) for name in ("asked", "follow", "doubted"))
    for fact in found:
        one = asked.get(fact["id"], {})
        fact["ask"] = fact.get("ask", []) + more.get(fact["id"], [])
        fact["asked"], fact["then"] = one.get("ask", []), one.get("then", [])
        fact["leans"], fact["doubted"] = leans.get(fact["id"], []), doubted.get(fact["id"], [])
    return found


class Generator:
    """Draws dialogues; everything comes from one seeded random source.

    `lines` are sentences of open dialogue for the drills of copying.
    """

    def __init__(self, seed: int, lines: Sequence[str] = (), here: Path = HERE) -> None:
        self.rng = r = random.Random(seed)
        talk, limits = read("talk.yml", here), gathered("limits", here)
        material = read("recall.yml", here)
        pools = {
            **read("words.yml", here),
            "name": material["names"],
            "last": material["surnames"],
            "city": material["towns"],
            "city2": material["towns"],
            "place": talk["places"],
            "food": material["foods"],
            "thing": material["things"],
            "word": talk["words"],
            "lang": talk["langs"],
            "title": talk["titles"],
            "hour": talk["hours"],
            "day": talk["days"],
            "color": material["colors"],
            "animal": material["animals"],
            "job": material["jobs"],
        }
        wording = Wording(r, pools)
        self.app = App(
            wording,
            facts(here),
            {"ask": limits["admitting"] + talk["correct"], "say": limits["admitting_say"]},
        )
        self.limits = Limits(wording, talk, limits)
        self.talk = Talk(wording, talk["pairs"], gathered("open", here))
        self.errand = Errand(wording, talk)
        self.drills = Drills(
            r,
            material["names"] + material["towns"] + material["surnames"],
            material["words"] + material["things"] + material["foods"],
            list(lines) or [p["say"][0] for p in talk["pairs"]],
        )
        self.recall = Recall(
            wording,
            material,
            self.drills,
            [self.app.one, self.talk.pair, self.talk.open, self.limits.unknown, self.limits.cannot],
        )
        self.passing = Passing(self.recall, gathered("passing", here))
        self.systems: list[str] = talk["systems"]
        self.kinds: dict[str, Callable[[], Dialogue]] = {
            "app": self.app.dialogue,
            "noisy": self.app.noisy,
            "contrast": self.app.contrast,
            "talk": self.talk.dialogue,
            "limits": self.limits.dialogue,
            "errand": self.errand.dialogue,
            "drills": self.drills.drill,
            "recall": self.recall.dialogue,
            "passing": self.passing.dialogue,
            "mixed": self.mixed,
        }

    def mixed(self) -> Dialogue:
        """A long conversation over several subjects."""
        kinds = [
            self.app.dialogue,
            self.limits.dialogue,
            self.talk.dialogue,
            self.recall.dialogue,
            self.passing.dialogue,
            self.errand.dialogue,
        ]
        turns: Dialogue = []
        for _ in range(self.rng.randint(3, 7)):
            turns += self.rng.choices(kinds, [6, 4, 4, 2, 2, 1])[0]()
        return turns

    def dialogue(self, kind: str) -> Dialogue:
        """One dialogue of a kind, sometimes under a system turn."""
        turns = self.kinds[kind]()
        if self.rng.random() < 0.25:
            turns = [("system", self.rng.choice(self.systems)), *turns]
        return turns
