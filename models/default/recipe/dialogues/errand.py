"""Rehearsed errands that say at both ends what they are."""
from __future__ import annotations

from typing import Any

from clean import Turn

from dialogues.wording import Wording

Dialogue = list[Turn]


class Errand:
    """Draws rehearsals from talk.yml."""

    def __init__(self, wording: Wording, talk: dict[str, Any]) -> None:
        self.wording, self.rng, self.talk = wording, wording.rng, talk

    def dialogue(self) -> Dialogue:
        """A rehearsed errand that says at both ends what it is."""
        r = self.rng
        e = r.choice(self.talk["errands"])
        x = self.wording.fill(r.choice(e["start"]))
        frame = r.choice(["I want to {x}", "can you {x}?", "please {x}",
                          "{x}", "I'd like to {x}", "let's rehearse: I want "
                          "to {x}", "help me {x}", "I need to {x}",
                          "can we practise how to {x}?", "could you {x}?"])
        lead = r.choice(["I can't do that for real, but we can rehearse it.",
                         "Not for real, but let's rehearse it.",
                         "We can rehearse it; I can't act in the world.",
                         "Let's rehearse it. Nothing is done for real."])
        turns = [("user", self.wording.rough(frame.format(x=x), 0.15))]
        asks = r.sample(e["ask"], r.randint(1, len(e["ask"])))
        said: list[str] = []
        for i, q in enumerate(asks):
            head = lead if i == 0 else r.choice(["Good.", "Fine.", "All right.",
                                                 f"{said[-1]}, good."])
            turns.append(("assistant", f"{head} {q}"))
            said.append(self._reply_to(q))
            turns.append(("user", said[-1]))
        turns.append(("assistant", r.choice([
            "In our rehearsal that is settled: {s}. To do it for real, "
            "{real}.", "So: {s}. That was our rehearsal; for real you would "
            "{real}.", "Good, {s}. Nothing is done for real: you would "
            "{real} yourself."]).format(s=", ".join(said), real=e["real"])))
        if r.random() < 0.5:
            turns += [("user", self.wording.rough(r.choice(
                ["so is it booked?", "is it done?", "did you do it?",
                 "is it confirmed?", "great, so it is ordered?",
                 "have you really done it?", "so everything is set?",
                 "thanks for booking it", "when does it arrive?"]), 0.0)),
                ("assistant", r.choice(
                    ["No, it was only a rehearsal. To do it for real, {r}.",
                     "No. I can't do it for real; you would {r}.",
                     "Nothing was really done: we only rehearsed. For real, "
                     "{r}."]).format(r=e["real"]))]
        return turns

    def _reply_to(self, q: str) -> str:
        r, t = self.rng, self.talk
        if "How many" in q or "how many" in q:
            return r.choice(["two", "four", "3", "six", "just me", "5 people"])
        if "time" in q:
            return self.wording.fill("{hour}")
        if "day" in q or "When" in q:
            return self.wording.fill("{day}")
        if "size" in q:
            return r.choice(["small", "medium", "large"])
        if "milk" in q:
            return r.choice(["oat milk", "whole milk", "almond milk", "none"])
        if " or " in q:
            a, b = q.rstrip("?").lower().split(" or ")[:2]
            return r.choice([a.strip(" ,").split(",")[-1].strip(),
                             b.strip()])
        return r.choice([r.choice(t["cities"]), self.wording.fill("{number} {word} "
                         "street"), "the " + self.wording.fill("{word} {thing}"),
                         r.choice(t["foods"])])
