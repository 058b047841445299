"""Takes a guide through the application's own loop: rank, train, merge.

    python prefer.py --model guide.gguf --out tuned.gguf --work DIR

Prompts are composed as for training but from another seed, with the probes
kept out. The application's engine answers each four times; a rule that knows
what a right answer is puts right before wrong, and where all four are wrong
a right answer is written as an edit would be. `chatapp rankings import`,
`chatapp train` and `chatapp adapters merge` do the rest. What is made is taken
when the gate of `chatapp train` lets it through and, on the older probes, no
more of its replies are wrong.
"""
from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from clean import Turn
from decontaminate import Decontaminator, probe_turns
from generate import Generator
from player import Player
from score import OLDER, probes, score

SHARES = {"app": 8, "recall": 5, "unknown": 3, "harmful": 2, "open": 3}
OFF = re.compile(r"ctrl ?\+|chatapp |\bpress\b|don't know|small guide", re.I)


@dataclass
class Asked:
    """A prompt, what makes a reply right, and a right reply (or None)."""

    turns: list[Turn]
    right: Callable[[str], bool]
    answer: str | None


class Asking:
    """Draws prompts whose replies a rule can judge."""

    def __init__(self, seed: int) -> None:
        self.made = Generator(seed)
        self.rng = self.made.rng

    def one(self) -> Asked:
        """A prompt of a random kind."""
        kind = self.rng.choices(list(SHARES), list(SHARES.values()))[0]
        return getattr(self, kind)()

    def app(self) -> Asked:
        """A question on the application."""
        app = self.made.app
        fact = self.rng.choice(app.facts)
        before = app.one() if self.rng.random() < 0.25 else []
        return Asked([*before, ("user", app.question(fact))],
                     lambda text: text in fact["say"], app.answer(fact))

    def recall(self) -> Asked:
        """Something told, perhaps something between, and the question."""
        recall = self.made.recall
        told, one = recall.tell(
            self.rng.choice(recall.material["attributes"]))
        for _ in range(self.rng.choice([0, 0, 1, 2])):
            said, reply = self.rng.choice(recall.material["fillers"])
            told += [("user", said), ("assistant", reply)]
        (_, question), (_, answer) = recall.asked(one)
        whole = re.compile(rf"(?<!\w){re.escape(one.value)}(?!\w)", re.I)
        return Asked([*told, ("user", question)],
                     lambda text: bool(whole.search(text)), answer)

    def unknown(self) -> Asked:
        """A question on the world."""
        (_, said), (_, answer) = self.made.limits.unknown()
        known = self.made.limits.limits["unknown_say"]
        return Asked([("user", said)], lambda text: text in known, answer)

    def harmful(self) -> Asked:
        """A request to decline, perhaps under pressure."""
        limits = self.made.limits.limits
        turns = self.made.limits.refuse()
        known = [*limits["harmful_say"], *limits["pressure_say"],
                 *limits["selfharm_say"]]
        return Asked(turns[:-1], lambda text: text in known, turns[-1][1])

    def open(self) -> Asked:
        """Small talk: right is what is not about keys or not knowing."""
        said = self.made.talk.open(1)[0]
        return Asked([said], lambda text: not OFF.search(text), None)


def rankings(model: Path, count: int, seed: int, probes: Path,
             cache: Path) -> list[dict[str, Any]]:
    """Judged replies in chatapp's own rankings format."""
    from chatapp.core.types import Sampling
    from chatapp.core.types import Turn as Said
    from chatapp.engine.base import ModelSpec
    from chatapp.engine.tuning import TuningClient
    clean = Decontaminator(probe_turns(probes)).clean
    asking = Asking(seed)
    asked = []
    while len(asked) < count:
        one = asking.one()
        if clean(one.turns):
            asked.append(one)
    engine = TuningClient(cache)
    engine.load(ModelSpec(model, "guide", threads=1))
    try:
        ids = [engine.encode([Said(*t) for t in a.turns]).ids for a in asked]
        drawn = engine.rollout(ids, 4, Sampling(
            temperature=1.0, max_tokens=120, seed=seed))
    finally:
        engine.close()
    return [_judged(one, [r.text.strip() for r in own])
            for one, own in zip(asked, drawn, strict=True)]


def _judged(asked: Asked, texts: list[str]) -> dict[str, Any]:
    replies = [t for t in dict.fromkeys(texts) if t]
    good = [i for i, t in enumerate(replies) if asked.right(t)]
    bad = [i for i in range(len(replies)) if i not in good]
    row = {"prompt": [{"role": r, "content": t} for r, t in asked.turns],
           "replies": [{"text": t, "origin": "model"} for t in replies],
           "source": "recipe"}
    if good:
        return {**row, "tiers": [tier for tier in (good, bad) if tier]}
    if asked.answer is None:
        return {**row, "all_bad": True}
    row["replies"].append({"text": asked.answer, "origin": "edit"})
    return {**row, "tiers": [[len(replies)], bad] if bad else [[0]],
            "demonstration": len(replies)}


def chatapp(home: Path, *args: str) -> str:
    """Run the application in a home of its own; its standard output."""
    done = subprocess.run([sys.executable, "-m", "chatapp", *args],
                          env={**os.environ, "CHATAPP_HOME": str(home)},
                          stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def right_replies(model: Path, folder: Path) -> int:
    """Right replies of a file to the older probes: once at temperature 0 and
    three times as the application samples."""
    player = Player(model)
    kinds = [kind for name in OLDER
             for kind in score(player, probes(folder / f"{name}.jsonl"))["kinds"].values()]
    return sum(kind["greedy"] + sum(kind["sampled"]) for kind in kinds)


def main() -> None:
    """Rank, train, merge; say what the gate said."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--model", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--count", type=int, default=240)
    p.add_argument("--seed", type=int, default=1007)
    p.add_argument("--method", default="auto")
    p.add_argument("--probes", type=Path,
                   default=Path(__file__).parent / "probes")
    args = p.parse_args()
    home = args.work / "home"
    home.mkdir(parents=True, exist_ok=True)
    file = args.work / "rankings.jsonl"
    rows = rankings(args.model, args.count, args.seed, args.probes,
                    args.work / "cache")
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    chatapp(home, "rankings", "import", str(file), "--format", "rankings")
    model = ("-m", str(args.model.resolve()))
    result = json.loads(chatapp(home, "train", args.method, *model, "--json"))
    result["ranked"] = len(rows)
    result["edited"] = sum("demonstration" in r for r in rows)
    tuned = args.work / "tuned.gguf"
    if result["accepted"]:
        tuned.unlink(missing_ok=True)
        chatapp(home, "adapters", "merge", result["adapter"], str(tuned),
                "--quant", "Q8_0", *model)
        files = {"before": args.model, "after": tuned}
        result["right"] = {when: right_replies(file, args.probes) for when, file in files.items()}
    result["taken"] = (result["accepted"]
                       and result["right"]["after"] >= result["right"]["before"])
    shutil.copyfile(tuned if result["taken"] else args.model, args.out)
    (args.work / "preference.json").write_text(json.dumps(result, indent=1))
    print(result["reason"])


if __name__ == "__main__":
    main()
