"""A scripted judge with a hidden taste, and dialogues to judge replies in.

The judge orders replies by one of three tastes. A quarter of its comparisons come out the wrong way round:
each tier of equally good replies gets normal noise on its place, wide enough that 25% of the pairs of
different tiers swap. Replies that are equally good to it are tied, whatever the noise.
"""

from __future__ import annotations

import gzip
import json
import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chatapp.core.types import Tiers, Turn

FLIPS = 0.25
LEAST_WORDS = 3

_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty hundred"
)
_TIMES = (
    "monday tuesday wednesday thursday friday saturday sunday january february march april june july august "
    "september october november december today tomorrow yesterday tonight noon midnight morning afternoon "
    "evening"
)
_CONCRETE = re.compile(rf"\d|\b(?:{'|'.join((_NUMBERS + ' ' + _TIMES).split())})\b", re.IGNORECASE)
_NAME = re.compile(r"(?<![.!?:])(?<!^)\s(?!I\b|I'|OK\b|TV\b)[A-Z][a-z]+")


def words(text: str) -> int:
    return len(re.findall(r"[\w']+", text))


def question(text: str) -> float:
    """Asks something back."""
    return float("?" in text)


def concise(text: str) -> float:
    """The fewer words the better, down to three; less is worst of all."""
    count = words(text)
    return -float(count) if count >= LEAST_WORDS else -math.inf


def concrete(text: str) -> float:
    """Names a number, a time, or something with a capital letter in the middle of a sentence."""
    return float(bool(_CONCRETE.search(text) or _NAME.search(text)))


TASTES: dict[str, Callable[[str], float]] = {"question": question, "concise": concise, "concrete": concrete}


@dataclass(frozen=True, slots=True)
class Judge:
    taste: str
    noise: random.Random
    flips: float = FLIPS

    def order(self, replies: Sequence[str]) -> Tiers:
        """Places in `replies`, best tier first."""
        scores = [TASTES[self.taste](text) for text in replies]
        levels = sorted(set(scores), reverse=True)
        places = list(range(len(levels)))
        if len(levels) > 1 and self.flips:
            spread = noise_for(len(levels), self.flips)
            noisy = [place + self.noise.gauss(0.0, spread) for place in places]
            places.sort(key=noisy.__getitem__)
        return tuple(tuple(i for i, score in enumerate(scores) if score == levels[at]) for at in places)


_known: dict[tuple[int, float], float] = {}


def noise_for(tiers: int, flips: float) -> float:
    """The deviation at which the chance that two of `tiers` places swap is `flips` on average over the
    pairs."""
    if (tiers, flips) not in _known:
        gaps = [j - i for i in range(tiers) for j in range(i + 1, tiers)]
        low, high = 1e-3, 100.0
        for _ in range(60):
            middle = math.sqrt(low * high)
            chance = sum(0.5 * math.erfc(gap / (2 * middle)) for gap in gaps) / len(gaps)
            low, high = (middle, high) if chance < flips else (low, middle)
        _known[tiers, flips] = low
    return _known[tiers, flips]


def compare(taste: str, one: str, other: str) -> float:
    """1 when `one` is better, 0 when `other` is, one half for a tie; the same in either order."""
    a, b = TASTES[taste](one), TASTES[taste](other)
    return 1.0 if a > b else 0.0 if a < b else 0.5


# Dialogues


def dialogues(folder: Path) -> Iterator[tuple[Turn, ...]]:
    """Dialogues that begin with the user: services first, then small talk."""
    for file in sorted((folder / "sgd").glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                turns = json.loads(line)["turns"]
                yield tuple(
                    Turn("user" if each["speaker"] == "USER" else "assistant", each["utterance"])
                    for each in turns
                )
    for file in sorted((folder / "topical-chat").glob("*.json.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as whole:
            for talk in json.load(whole).values():
                yield tuple(
                    Turn("assistant" if at % 2 else "user", each["message"])
                    for at, each in enumerate(talk["content"])
                )


def wording(turns: Sequence[Turn]) -> str:
    """The last turn's words: two prompts with the same are the same to us."""
    return " ".join(re.findall(r"\w+", turns[-1].text.casefold()))


Part = Literal["dev", "report"]
"""Settings are chosen on `dev`; what is written down as a result comes from `report`. They share no dialogue
and no wording."""


@dataclass(frozen=True, slots=True)
class Material:
    label: list[tuple[Turn, ...]]
    """Prompts to sample alternatives for and to rank them."""
    test: list[tuple[Turn, ...]]
    """Prompts to compare models on: other dialogues, other words."""
    untouched: list[tuple[Turn, ...]]
    """Whole dialogues for the perplexity."""


def material(folder: Path, part: Part, label: int, test: int, untouched: int = 80, seed: int = 8) -> Material:
    """Three disjoint sets of dialogues from one half of all of them.

    `seed` says which half is which: with another one the report is on dialogues that no earlier report used
    in the same place. Errors: `ValueError` where the folder holds too few.
    """
    every = [each for each in dialogues(folder) if len(each) >= 4 and each[0].role == "user"]
    talks = [each for each in every if len(each) < 40 and each[0].text.strip().lower() != "hi"]
    order = random.Random(seed)
    order.shuffle(talks)
    found = {"dev": Material([], [], []), "report": Material([], [], [])}
    seen: set[str] = set()
    first: set[str] = set()
    for at, turns in enumerate(talks):
        made = found["dev" if at < len(talks) // 2 else "report"]
        opening = wording(turns[:1])
        if opening in first or len(made.test) == test:
            continue
        first.add(opening)
        if len(made.untouched) < untouched:
            made.untouched.append(turns[:8] if turns[7:8] and turns[7].role == "assistant" else turns[:4])
            continue
        asked = [at for at, turn in enumerate(turns[:7]) if turn.role == "user" and words(turn.text) >= 3]
        if not asked:
            continue
        prompt = turns[: order.choice(asked) + 1]
        if sum(words(turn.text) for turn in prompt) > 120 or wording(prompt) in seen:
            continue
        seen.add(wording(prompt))
        (made.label if len(made.label) < label else made.test).append(prompt)
    if len(found[part].test) < test:
        raise ValueError("the data folder holds too few dialogues")
    return found[part]
