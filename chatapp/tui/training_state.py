"""What is known of a training so far: its plan, its stages, how it ended. No process and no widget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from chatapp.core.duration import time_left
from chatapp.session.verdict import in_words
from chatapp.training.progress import Progress, title_of

Phase = Literal["idle", "planning", "planned", "running", "stopping", "stopped", "failed", "done"]

CURVES = ("loss", "reward", "kl", "accuracy")
"""The metrics that are drawn, in this order."""


@dataclass(slots=True)
class StageState:
    """One stage as far as it came."""

    stage: str
    step: int = 0
    steps: int = 0
    seconds_left: float | None = None
    curves: dict[str, list[float]] = field(default_factory=dict)
    """For each metric of `CURVES` its value at each step; numbers that are none are left out."""
    note: str = ""

    @property
    def left(self) -> str:
        """Time to the end of its steps. What comes after the last one (saving, measuring) has no clock."""
        return "finishing" if self.step >= self.steps else time_left(self.seconds_left)

    def follow(self, event: Progress) -> None:
        if event.note:
            self.note = event.note
        if not event.steps:
            return
        if event.step <= self.step:
            self.curves = {}  # the next reward model, or the same stage tried anew
        self.step, self.steps, self.seconds_left = event.step, event.steps, event.seconds_left
        for name in CURVES:
            value = event.metrics.get(name)
            if value is not None and math.isfinite(value):
                self.curves.setdefault(name, []).append(float(value))


@dataclass(slots=True)
class TrainingState:
    phase: Phase = "idle"
    plan: list[str] = field(default_factory=list)
    """For the user: what there is, what will be done, what to expect."""
    planned: list[str] = field(default_factory=list)
    """The stages of the plan, in order."""
    stages: list[StageState] = field(default_factory=list)
    """Those that have begun; the last one is going on."""
    run: str | None = None
    """Name of the run's folder; before a training, that of the newest one if it was stopped early."""
    run_model: str = ""
    """What that one trains."""
    elsewhere: str | None = None
    """Name of a run that another process works on."""
    result: Mapping[str, Any] | None = None
    """The object that `chatapp train --json` ends with."""
    problem: str = ""
    """Why there is no result, in one line with what to do."""

    @property
    def busy(self) -> bool:
        """Whether a training is going on."""
        return self.phase in ("running", "stopping")

    def follow(self, event: Progress) -> None:
        """Take one event in."""
        if event.stage == "plan":
            if event.note and event.note not in self.plan:
                self.plan.append(event.note)
            return
        if event.stage == "begin":
            self.run = event.note.removeprefix("run ") or None
            return
        if not self.stages or self.stages[-1].stage != event.stage:
            self.stages.append(StageState(event.stage))
        self.stages[-1].follow(event)

    @property
    def done_before(self) -> list[str]:
        """Stages before the first one that was heard of: a run that goes on does not repeat them."""
        return self._order[: min(self._begun, default=0)]

    @property
    def to_come(self) -> list[str]:
        """Stages after the last one that was heard of; without one there is nothing to check either."""
        if not self.planned and not self.stages:
            return []
        return self._order[max(self._begun, default=-1) + 1 :]

    @property
    def _order(self) -> list[str]:
        return [*self.planned, "evaluate"]

    @property
    def _begun(self) -> list[int]:
        """Places in `_order` of the stages that have begun."""
        return [self._order.index(each.stage) for each in self.stages if each.stage in self._order]

    @property
    def summary(self) -> str:
        """A few words for the status line of the chat; empty when nothing is going on."""
        if not self.busy:
            return ""
        if self.phase == "stopping":
            return "training stops"
        now = self.stages[-1] if self.stages else None
        if now is None or not now.steps:
            return "training"
        return f"training {title_of(now.stage)} {now.step}/{now.steps}"

    @property
    def ending(self) -> str:
        """How it ended, in one line for somebody who is chatting."""
        match self.phase:
            case "stopped" if self.run is None:
                return "The training was stopped before it had begun to learn."
            case "stopped":
                return "The training was stopped; its checkpoint is kept.   ^T goes on with it"
            case "failed":
                return f"The training ended: {self.problem}"
            case "done":
                result = self.result or {}
                evaluation = result.get("evaluation")
                figures = in_words(evaluation) if isinstance(evaluation, Mapping) else ""
                name, reason = result.get("adapter"), str(result.get("reason", ""))
                if result.get("accepted"):
                    return f"{name} answers from now on (^T shows it, or takes it back): {figures or reason}"
                return f"Training did not help (^T shows more): {reason}"
        return ""


def checked(event: Progress) -> Progress:
    """`event` when each of its fields is what it should be. Errors: ValueError."""
    numbers = isinstance(event.metrics, Mapping) and all(
        isinstance(name, str) and isinstance(value, int | float) for name, value in event.metrics.items()
    )
    left = event.seconds_left
    if not (
        numbers
        and isinstance(event.stage, str)
        and isinstance(event.note, str)
        and isinstance(event.step, int)
        and isinstance(event.steps, int)
        and (left is None or (isinstance(left, int | float) and math.isfinite(left)))
    ):
        raise ValueError("not a progress event")
    return event


def plan_of(result: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """(lines, stages) of what a dry run prints."""
    found = result.get("plan", result)
    if isinstance(found, Mapping):
        lines, stages = found.get("lines", ()), found.get("stages", result.get("stages", ()))
    else:
        lines, stages = found, result.get("stages", ())
    return _texts(lines), _texts(stages)


def _texts(values: object) -> list[str]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        return []
    return [each for each in values if isinstance(each, str)]
