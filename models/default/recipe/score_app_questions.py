"""Scores a guide file on questions about the application.

    python score_app_questions.py guide.gguf [--probe FILE] [--json]

A question is right when one of its `expect` patterns is in the reply and
none of its `forbid` patterns is. It is asked once at temperature 0, and with
three seeds at the application's default sampling.
"""
from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from player import Player, seeds

PROBE = Path(__file__).parent / "probes" / "app_questions.jsonl"


def right(reply: str, expect: list[str], forbid: list[str]) -> bool:
    """Whether a reply holds an expected pattern and no forbidden one."""
    def has(pattern: str) -> bool:
        return re.search(pattern, reply, re.I) is not None
    return any(map(has, expect)) and not any(map(has, forbid))


def score(player: Player, probe: Path, runs: int = 3) -> dict:
    """Greedy and sampled scores, and every question that greedy misses."""
    rows = [json.loads(line) for line in probe.read_text().splitlines()
            if line.strip()]
    marks: dict[str, list[bool]] = {"greedy": []}
    missed, shown = [], []
    for row in rows:
        turns = [("user", row["question"])]
        expect, forbid = row["expect"], row.get("forbid", [])
        reply = player.reply(turns)
        good = right(reply, expect, forbid)
        marks["greedy"].append(good)
        (shown if good else missed).append(
            {"id": row["id"], "question": row["question"], "reply": reply})
        for seed in seeds(runs):
            reply = player.reply(turns, temperature=0.7, seed=seed)
            marks.setdefault(f"seed {seed}", []).append(
                right(reply, expect, forbid))
    sampled = [sum(v) for k, v in marks.items() if k != "greedy"]
    return {"questions": len(rows), "greedy": sum(marks["greedy"]),
            "sampled": sampled, "missed": missed, "right": shown}


def main() -> None:
    """Print the score, or all of it as JSON."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("model", type=Path)
    p.add_argument("--probe", type=Path, default=PROBE)
    p.add_argument("--json", action="store_true")
    p.add_argument("--quiet", action="store_true",
                   help="only the figures, no question")
    args = p.parse_args()
    result = score(Player(args.model), args.probe)
    if args.json:
        print(json.dumps(result))
        return
    print(f"temperature 0: {result['greedy']} of {result['questions']}")
    print("temperature 0.7: " + ", ".join(map(str, result["sampled"])))
    if not args.quiet:
        for row in result["missed"]:
            print(f"  {row['id']}: {row['question']}\n    {row['reply']}")


if __name__ == "__main__":
    main()
