"""Questions about the application, with what people ask next."""
from __future__ import annotations

from typing import Any

from clean import Turn

from dialogues.meant import Meant
from dialogues.wording import Wording

Dialogue = list[Turn]
ASKED = 0.75  # share of questions written by hand, the rest are framed


class App:
    """Draws dialogues over `facts` (see facts.yml, asked/ and doubted/)."""

    def __init__(self, wording: Wording, facts: list[dict[str, Any]],
                 admitting: dict[str, list[str]]) -> None:
        self.wording, self.rng, self.facts = wording, wording.rng, facts
        self.admitting = admitting
        by_id = {f["id"]: f for f in facts}
        self.leans = [(by_id[first], fact, lean["ask"]) for fact in facts
                      for lean in fact["leans"] for first in lean["after"]]

    def question(self, fact: dict[str, Any]) -> Meant:
        """One phrasing of a fact's question."""
        return Meant(self._question(fact), f"app/{fact['id']}")

    def _question(self, fact: dict[str, Any]) -> str:
        r = self.rng
        if fact["asked"] and r.random() < ASKED:
            return self.wording.rough(r.choice(fact["asked"]), 0.15)
        kinds = [k for k in ("do", "get", "key", "ask") if fact.get(k)]
        weight = {"do": 5, "get": 2, "key": 2, "ask": 3}
        weights = [weight[k] * (1 + len(fact[k])) ** 0.5 for k in kinds]
        kind = r.choices(kinds, weights)[0]
        text = self.wording.fill(r.choice(fact[kind]))
        if kind != "ask":
            text = self.wording.framed(kind, text)
        return self.wording.rough(text)

    def answer(self, fact: dict[str, Any]) -> str:
        """One wording of a fact's answer, the plainest most often."""
        if self.rng.random() < 0.5:
            return fact["say"][0]
        return self.rng.choice(fact["say"])

    def exchange(self, fact: dict[str, Any]) -> Dialogue:
        """A question for a fact and its answer."""
        return [("user", self.question(fact)),
                ("assistant", self.answer(fact))]

    def one(self) -> Dialogue:
        """A question and its answer."""
        return self.exchange(self.rng.choice(self.facts))

    def noisy(self) -> Dialogue:
        """One to three questions, half of whose sense is left."""
        r, turns = self.rng, []
        for _ in range(r.randint(1, 3)):
            question, answer = self.one()
            others = r.choice(self.facts)["asked"] or [question[1]]
            said = self.wording.noisy(question[1], others)
            turns += [("user", Meant(said, Meant.of(question[1]))), answer]
        return turns

    def followed(self) -> Dialogue:
        """A question, its answer, and what is asked about the answer."""
        r = self.rng
        fact = r.choice([f for f in self.facts if f["then"]])
        turns = self.exchange(fact)
        for number in r.sample(range(len(fact["then"])),
                               min(len(fact["then"]), r.choice([1, 1, 2]))):
            then = fact["then"][number]
            said = self.wording.rough(r.choice(then["ask"]), 0.1)
            turns += [("user", Meant(said, f"app/{fact['id']}/then/{number}")),
                      ("assistant", r.choice(then["say"]))]
        return turns

    def leaning(self) -> Dialogue:
        """A question, its answer, and a short one on a neighbouring fact
        that leans on it."""
        first, fact, asks = self.rng.choice(self.leans)
        said = self.wording.rough(self.rng.choice(asks), 0.05)
        return [*self.exchange(first),
                ("user", Meant(said, f"app/{fact['id']}")),
                ("assistant", self.answer(fact))]

    def corrected(self) -> Dialogue:
        """An answer that the user says is wrong, often by what it is about."""
        r = self.rng
        fact = r.choice(self.facts)
        about = fact["doubted"] if r.random() < 0.7 else []
        said = self.wording.rough(r.choice(about or self.admitting["ask"]), 0.1)
        return [*self.exchange(fact),
                ("user", Meant(said, "admitting")),
                ("assistant", r.choice(self.admitting["say"]))]

    def dialogue(self) -> Dialogue:
        """One to four questions about the application."""
        r = self.rng
        turns: Dialogue = []
        for _ in range(r.choices([1, 2, 3], [5, 3, 1])[0]):
            turns += r.choices([self.one, self.followed, self.leaning, self.corrected],
                               [10, 4, 7, 2])[0]()
            if r.random() < 0.04:
                turns += [("user", self.wording.rough(r.choice(
                    ["thanks", "thank you", "ok", "got it", "great", "cool",
                     "perfect", "that helps"]), 0.0)),
                    ("assistant", r.choice(["You're welcome!",
                                            "Glad to help.",
                                            "Anything else?"]))]
        return turns

    def contrast(self) -> Dialogue:
        """Two neighbouring facts after each other, so that they differ."""
        i = self.rng.randrange(len(self.facts) - 1)
        pair = [self.facts[i], self.facts[i + 1]]
        self.rng.shuffle(pair)
        return [turn for fact in pair for turn in self.exchange(fact)]
