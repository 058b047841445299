"""What came of one round of training, as JSON has it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class RoundResult:
    run: str
    """Name of the run's folder."""
    adapter: str | None
    """What was registered; None after `train reward`."""
    method: str
    parent: str | None
    """What the training started from; None: the base."""
    steps: int
    seconds: float
    peak_memory_bytes: int
    """Of the training process; the engine's is not in it."""
    metrics: Mapping[str, Mapping[str, float]]
    """The figures of each stage's last step."""
    evaluation: Mapping[str, Any]
    """`training.gate.Evidence`."""
    accepted: bool
    reason: str
    """The verdict in one line."""
    reward_accuracy: Mapping[str, Any] | None = None
    """Of the reward model on held-out rankings: value, low, high, n."""
    tried: tuple[tuple[str, str], ...] = field(default=())
    """(method, why it was not taken), in order."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RoundResult:
        return cls(**{**values, "tried": tuple((name, why) for name, why in values["tried"])})


def json_safe(value: Any) -> Any:
    """Figures without units, and numbers that are none, as None: JSON has no NaN."""
    if isinstance(value, Mapping):
        if value.get("n") == 0 and "value" in value:
            return None
        return {name: json_safe(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def stage_metrics(folder: Path) -> dict[str, dict[str, float]]:
    """The last line that each stage wrote down."""
    found = {}
    for file in sorted(folder.glob("*/metrics.jsonl")):
        lines = file.read_text().splitlines()
        if lines:
            found[file.parent.name] = json_safe(json.loads(lines[-1]))
    return found
