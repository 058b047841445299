"""Keeps the measuring questions out of the training dialogues."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from clean import Turn
from score import SETS

Dialogue = list[Turn]


def scored(row: dict) -> list[str]:
    """The turns of a probe that its score is about: the last one, and what
    was told and corrected before; not what stands between."""
    turns = row.get("turns", [row.get("question") or row.get("prompt", "")])
    told = {"recall1": 1, "recall3": 1, "correction": 2}.get(row.get("kind", ""), 0)
    return [*turns[:-1][:told], turns[-1]]


def probe_turns(folder: Path) -> list[str]:
    """What the probes are about, known only to be kept out; not what
    everybody says, in three words or less."""
    rows = [
        json.loads(line)
        for name in (*SETS, "open")
        for line in (folder / f"{name}.jsonl").read_text().splitlines()
        if line.strip()
    ]
    return [text for row in rows for text in scored(row) if len(text.split()) > 3]


def normalise(text: str) -> str:
    """Lower-case words only, for comparing questions."""
    return " ".join(re.findall(r"[a-z0-9+/=-]+", text.lower()))


class Decontaminator:
    """Tells whether a user turn is (nearly) one of the probe questions."""

    def __init__(self, probes: Iterable[str]) -> None:
        self.whole = {normalise(p) for p in probes}
        self.grams = [self._grams(p) for p in self.whole]
        self.index: dict[tuple, list[int]] = {}
        for i, grams in enumerate(self.grams):
            for g in grams:
                self.index.setdefault(g, []).append(i)

    @staticmethod
    def _grams(text: str) -> set[tuple]:
        w = text.split()
        return {tuple(w[i : i + 5]) for i in range(len(w) - 4)}

    def hit(self, text: str) -> bool:
        """Equal after normalising, or sharing over 70% of its 5-grams."""
        text = normalise(text)
        if text in self.whole:
            return True
        seen: dict[int, int] = {}
        for g in self._grams(text):
            for i in self.index.get(g, ()):
                seen[i] = seen.get(i, 0) + 1
        return any(n > 0.7 * len(self.grams[i]) for i, n in seen.items())

    def clean(self, dialogue: Dialogue) -> bool:
        """Whether no user turn of the dialogue is a probe."""
        return not any(r == "user" and self.hit(t) for r, t in dialogue)
