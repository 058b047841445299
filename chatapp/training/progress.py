"""What a training says of itself while it runs: one event a step, as JSON lines or to a callback."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TextIO

from chatapp.core.sanitize import one_line


@dataclass(frozen=True, slots=True)
class Progress:
    stage: str
    """`sft`, `reward`, `dpo`, `rloo`, `ppo`, `evaluate`, ..."""
    step: int
    """Steps that are done."""
    steps: int
    """Steps in all."""
    seconds_left: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    """One line for the user."""


Listener = Callable[[Progress], None]


_TITLES = {
    "mix": "general dialogue",
    "sft": "edits (SFT)",
    "reward": "reward model",
    "dpo": "preference (DPO)",
    "rloo": "preference (RLOO)",
    "ppo": "preference (PPO)",
    "check": "reward check",
    "judge": "reward judges",
    "evaluate": "check",
    "parity": "engine check",
}


def title_of(stage: str) -> str:
    """What a stage is called, terminal-safe and at most 18 characters long."""
    return _TITLES.get(stage) or one_line(stage, 18)


def silent(_: Progress) -> None:
    """A listener that does nothing."""


class Pace:
    """Tells of work without steps of an optimizer how far it is: `done(n)` of `steps`, and the time left."""

    def __init__(self, stage: str, steps: int, progress: Listener) -> None:
        self._stage, self._steps, self._progress = stage, steps, progress
        self._begun = time.monotonic()

    def done(self, step: int) -> None:
        left = (time.monotonic() - self._begun) / max(step, 1) * (self._steps - step)
        self._progress(Progress(self._stage, step, self._steps, left))


def json_lines(stream: TextIO) -> Listener:
    """A listener that writes one JSON object a line."""

    def write(event: Progress) -> None:
        stream.write(json.dumps(asdict(event)) + "\n")
        stream.flush()

    return write


def parse(line: str) -> Progress:
    """The event on one line of `json_lines`. Errors: ValueError on anything else."""
    try:
        return Progress(**json.loads(line))
    except TypeError as error:
        raise ValueError(f"not a progress event: {error}") from error
