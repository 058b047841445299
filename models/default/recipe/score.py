"""Scores a guide file on the probes.

    python score.py guide.gguf [--probe FILE] [--kind KIND] [--json]

The turns of a probe are said one after the other; its last reply is right
when one of the `expect` patterns is in it and none of the `forbid` patterns
is. Once at temperature 0 and with three seeds at the application's default
sampling, the temperature being the one that the file recommends.
"""
from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from clean import Turn
from player import Player, seeds

PROBE = Path(__file__).parent / "probes" / "guide.jsonl"
OLDER = ("fifth", "fourth", "third", "second", "guide", "app_questions")
SETS = ("fresh", *OLDER)
"""The files of probes that are scored; see probes/README.md."""


def right(reply: str, expect: list[str], forbid: list[str]) -> bool:
    """Whether a reply holds an expected pattern and no forbidden one."""
    def has(pattern: str) -> bool:
        return re.search(pattern, reply, re.I | re.S) is not None
    return any(map(has, expect)) and not any(map(has, forbid))


def converse(player: Player, said: list[str], **how: float) -> list[Turn]:
    """A conversation in which the user says these things."""
    turns: list[Turn] = []
    for text in said:
        turns.append(("user", text))
        turns.append(("assistant", player.reply(turns, **how)))
    return turns


def probes(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The probes of a file; a lone question is a conversation of one turn."""
    rows = [json.loads(line) for line in path.read_text().splitlines()
            if line.strip()]
    for row in rows:
        row.setdefault("turns", [row.get("question", "")])
        row.setdefault("kind", "app")
    return [r for r in rows if kind in (None, r["kind"])]


def score(player: Player, rows: list[dict[str, Any]], runs: int = 3) -> dict:
    """Right answers by kind, greedy and for each seed, and what greedy
    misses."""
    kinds: dict[str, dict[str, Any]] = {}
    missed = []
    for number, row in enumerate(rows):
        # another seed for each, or all of them share their first draw
        ways = [{}, *({"temperature": player.temperature, "seed": s + number}
                      for s in seeds(runs))]
        kind = kinds.setdefault(row["kind"], {
            "probes": 0, "greedy": 0, "sampled": [0] * runs})
        kind["probes"] += 1
        for i, how in enumerate(ways):
            turns = converse(player, row["turns"], **how)
            good = right(turns[-1][1], row["expect"], row.get("forbid", []))
            if i:
                kind["sampled"][i - 1] += good
                continue
            kind["greedy"] += good
            if not good:
                missed.append({"id": row.get("id"), "kind": row["kind"],
                               "turns": turns})
    return {"kinds": kinds, "missed": missed}


def main() -> None:
    """Print the score, or all of it as JSON."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("model", type=Path)
    p.add_argument("--probe", type=Path, default=PROBE)
    p.add_argument("--kind")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--json", action="store_true")
    p.add_argument("--quiet", action="store_true",
                   help="only the figures, no conversation")
    args = p.parse_args()
    result = score(Player(args.model), probes(args.probe, args.kind),
                   args.runs)
    if args.json:
        print(json.dumps(result))
        return
    for name, kind in result["kinds"].items():
        print(f"{name}: temperature 0: {kind['greedy']} of {kind['probes']}; "
              f"sampled: {', '.join(map(str, kind['sampled']))}")
    if not args.quiet:
        for row in result["missed"]:
            print(f"  {row['kind']} {row['id']}")
            for role, text in row["turns"]:
                print(f"    {'>' if role == 'user' else ' '} {text}")


if __name__ == "__main__":
    main()
