"""A training that only talks: what `chatapp train --json` prints, with figures that mean nothing, for the
pictures of the training screen.

    python -m chatapp.tui.scripted_training --dry-run
    python -m chatapp.tui.scripted_training --until 84
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator

from chatapp.training.progress import Progress, json_lines

PLAN = (
    "there are 26 comparisons, 5 edits, 12 thumbs; 2 times all replies were bad",
    "imitate 3 edits, with other dialogue between them",
    "learn from 15 rankings directly (DPO): expect a change that you may feel in plain matters like length, "
    "and that may not be told from chance in others",
    "judged by 11 rankings that are never trained on; if it is no better than what it starts from, that "
    "stays",
)
_DPO_STEPS = 160


def events() -> Iterator[Progress]:
    for line in PLAN:
        yield Progress("plan", 0, 0, note=line)
    yield Progress("begin", 0, 0, note=f"run {RESULT['run']}")
    for step in range(1, 21):
        loss = 1.94 + 0.37 * math.exp(-step / 6) + 0.02 * math.sin(2.1 * step)
        yield Progress("sft", step, 20, 0.4 * (20 - step), {"loss": loss})
    for step in range(1, _DPO_STEPS + 1):
        loss = 0.55 + 0.14 * math.exp(-step / 60) + 0.03 * math.sin(1.7 * step) * math.cos(0.4 * step)
        metrics = {"loss": loss, "accuracy": 1 - 0.5 * math.exp(-step / 70), "kl": 0.0004 * step}
        yield Progress("dpo", step, _DPO_STEPS, 0.95 * (_DPO_STEPS - step), metrics)
    yield Progress("evaluate", 0, 0, note="80 prompts, 4 replies each, from both sides")


RESULT = {
    "run": "20261121-140312",
    "adapter": "r4",
    "method": "dpo",
    "steps": 180,
    "seconds": 164.0,
    "peak_memory_bytes": 900_000_000,
    "metrics": {},
    "evaluation": {
        "against": "r3",
        "wins": {"value": 0.63, "low": 0.55, "high": 0.70, "n": 200},
        "perplexity": {"value": 1.006, "low": 1.001, "high": 1.011, "n": 60},
        "tuned": {"words": 17.2},
        "base": {"words": 17.0},
    },
    "accepted": True,
    "reason": "better than the base: wins 63% (55% to 70%) on held-out prompts",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--until", type=int, help="go no further than this step of DPO")
    given, _ = parser.parse_known_args()  # those of `chatapp train` mean nothing here
    if given.dry_run:
        print(json.dumps({"plan": {"lines": PLAN, "stages": ["sft", "dpo"]}}))
        return
    say = json_lines(sys.stderr)
    for event in events():
        say(event)
        if event.stage == "dpo" and event.step == given.until:
            time.sleep(3600)
    print(json.dumps(RESULT))


if __name__ == "__main__":
    main()
