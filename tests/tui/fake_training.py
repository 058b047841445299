"""Stands for `chatapp train --json`: prints the same lines, and does what tests ask of it.

The first argument says what it does; `--dry-run` and `--resume RUN` come after it, as for the real one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

STEPS = 6
EVALUATION = {
    "wins": {"value": 0.63, "low": 0.55, "high": 0.7, "n": 200},
    "perplexity": {"value": 1.006, "low": 1.0, "high": 1.01, "n": 50},
    "tuned": {"words": 12.1},
    "base": {"words": 12.0},
}


def say(stage: str, step: int = 0, steps: int = 0, note: str = "", left: float | None = None) -> None:
    metrics = {"loss": 1.0 / (1 + step)} if step else {}
    event = {"stage": stage, "step": step, "steps": steps, "seconds_left": left, "metrics": metrics}
    print(json.dumps({**event, "note": note}), file=sys.stderr, flush=True)


def finish(accepted: bool) -> None:
    reason = "better than the base" if accepted else "no better than the base: wins 48% (40% to 55%)"
    result = {
        "run": "20260102-030405",
        "adapter": "r1",
        "method": "dpo",
        "steps": STEPS,
        "accepted": accepted,
    }
    print(json.dumps({**result, "reason": reason, "evaluation": EVALUATION}))


def stop(*_: object) -> None:
    os._exit(130)


def main() -> int:
    what, folder, rest = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    with (folder / "calls").open("a") as file:
        file.write(" ".join(rest) + "\n")
    if what == "broken":
        print("error: the train extra is missing", file=sys.stderr)
        print("hint: pip install 'chatapp[train]'", file=sys.stderr)
        return 1
    if "--dry-run" in rest:
        if what == "thinks":
            (folder / "pid").write_text(str(os.getpid()))
            while not (folder / "go").exists():
                time.sleep(0.02)
        stages = [] if what == "little" else ["sft", "dpo"] if what == "checks" else ["dpo"]
        print(json.dumps({"plan": {"lines": ["there are 38 rankings"], "stages": stages}}))
        return 0
    if what == "taken":
        print("error: run 20260102-030405 is going on", file=sys.stderr)
        return 1
    if what == "deaf":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGINT, stop)
    (folder / "pid").write_text(str(os.getpid()))
    if what == "garbage":
        sys.stderr.buffer.write(
            b"\x1b[2J\x1b]0;owned\x07 [bold]no[/] \xff\xfe\n[1]\n" + b"x" * 3_000_000 + b"\n"
        )
        print('{"stage": 7, "step": "x", "steps": null}\n{"stage": "dpo", "metrics": 3}', file=sys.stderr)
        say("\x1b[31mred[/b]", 1, 2, "\x1b]8;;http://x\x07[link]")
        print("\x1b[2J not json")
        return 3
    say("begin", note="run 20260102-030405")
    if what == "early":
        time.sleep(600)
    if what == "checks":
        if "--resume" not in rest:
            say("sft", STEPS, STEPS)
            say("dpo", STEPS, STEPS)
        say("evaluate", note="compares")
        time.sleep(600)
    if what == "worse":
        say("reward", note="agrees with 97% [73, 100] of the comparisons in 16 held-out rankings")
    for step in range(1, STEPS + 1):
        say("dpo", step, STEPS, left=float(STEPS - step))
        if step == 3 and what in ("hang", "deaf", "orphan") and "--resume" not in rest:
            if what == "orphan" and os.fork() == 0:
                (folder / "orphan").write_text(str(os.getpid()))
            time.sleep(600)
    if what == "slow":
        time.sleep(600)
    say("evaluate", note="dpo: better than the base")
    finish(what != "worse")
    return 0


if __name__ == "__main__":
    sys.exit(main())
