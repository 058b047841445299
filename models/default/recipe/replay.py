"""Writes the general dialogue that trainings mix in, from the generator.

    python models/default/recipe/replay.py --out data/replay/dialogues.jsonl

Only composed dialogues, none of the open ones: they are this project's own
and under its licence, and none holds a probe. One conversation a line, as TRL's SFT
format has it.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from decontaminate import Decontaminator, probe_turns
from generate import Generator

PROBES = Path(__file__).parent / "probes"
COUNTS = {"talk": 140, "errand": 130, "limits": 70, "app": 70, "recall": 40,
          "mixed": 50}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=11)
    args = parser.parse_args()
    made = Generator(args.seed)
    clean = Decontaminator(probe_turns(PROBES)).clean
    seen: set[str] = set()
    lines = []
    for kind, count in COUNTS.items():
        kept = 0
        while kept < count:
            turns = made.dialogue(kind)
            opening = " ".join(t for _, t in turns[:2]).casefold()
            if opening in seen or not clean(turns):
                continue
            seen.add(opening)
            kept += 1
            lines.append(json.dumps({"messages": [
                {"role": role, "content": text} for role, text in turns]}))
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
