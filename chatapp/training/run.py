"""One run of one recipe: its folder, its steps, its checkpoints; a killed run goes on as if nothing had
happened.

A recipe is a loop over `Loop`:

    for step in loop:
        loop.backward(loss of this process's share of the batch)
        loop.update({"loss": ...})

Which rows a step sees depends on the seed and the step alone, so a checkpoint holds the trainable
parameters, the optimizer and the step, and nothing else has to be replayed.
"""

from __future__ import annotations

import errno
import json
import math
import os
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

from chatapp.core.errors import TrainingError
from chatapp.training.processes import agreed
from chatapp.training.progress import Listener, Progress, silent

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

Row = TypeVar("Row")
TIME_IS_UP = "the time is up"


class Interrupted(Exception):
    """Somebody asked the run to stop. It did, after its step; the checkpoint holds all of it."""


@dataclass(frozen=True, slots=True)
class Limits:
    max_steps: int | None = None
    """Of each stage."""
    max_minutes: float | None = None
    """Of all stages together, the evaluation left out."""
    stop: Event | None = None
    """Once it is set, the run ends after its step with `Interrupted`."""


class Loop:
    """The steps of one recipe. `state` is the recipe's own memory (tensors and plain values); it is saved
    with each checkpoint.

    Under `accelerate launch` each process calls `share` for its part of a batch; gradients are summed.
    """

    def __init__(
        self,
        stage: str,
        folder: Path,
        parameters: Iterable[tuple[str, Parameter]],
        *,
        steps: int,
        learning_rate: float,
        learning_rates: Mapping[str, float] | None = None,
        warmup: float = 0.1,
        decay: bool = True,
        clip: float = 1.0,
        checkpoint_seconds: float = 10.0,
        checkpoint_every: int = 1,
        limits: Limits = Limits(),
        progress: Listener = silent,
    ) -> None:
        """`learning_rates`: other rates for parameters whose name contains the key. `warmup`: share of the
        steps over which the rate rises; `decay`: it falls to nothing at the last step. `checkpoint_every`:
        only after multiples of so many steps."""
        import torch
        from accelerate import PartialState

        self.stage, self.folder = stage, folder
        most = steps if limits.max_steps is None else limits.max_steps
        self.steps = min(steps, -(-most // checkpoint_every) * checkpoint_every)
        self.state: dict[str, Any] = {}
        self.step = 0
        self.stopped: str | None = None
        self._process = PartialState(cpu=True)
        self._parameters = dict(parameters)
        groups: dict[float, list[Parameter]] = {}
        for name, each in self._parameters.items():
            rate = next((r for key, r in (learning_rates or {}).items() if key in name), learning_rate)
            groups.setdefault(rate, []).append(each)
        self._rates = list(groups)
        self._optimizer = torch.optim.AdamW(
            [{"params": members, "lr": rate} for rate, members in groups.items()], weight_decay=0.0
        )
        self._planned = steps
        self._warmup, self._decay, self._clip = warmup, decay, clip
        self._checkpoint_seconds, self._checkpoint_every = checkpoint_seconds, checkpoint_every
        self._limits, self._progress = limits, progress
        self._spent = 0.0
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._load()

    # The loop

    def __iter__(self) -> Iterator[int]:
        begun = saved = time.monotonic()
        already = self._spent
        while self.step < self.steps and self.stopped is None:
            yield self.step
            now = time.monotonic()
            self._spent = already + now - begun
            if self.step % self._checkpoint_every:
                continue
            asked, late = agreed((self._asked_to_stop, self._time_is_up))
            if asked:
                self.save()
                raise Interrupted
            if now - saved >= self._checkpoint_seconds:
                self.save()
                saved = now
            if late:
                self.stop(TIME_IS_UP)
        self.save()

    @property
    def _asked_to_stop(self) -> bool:
        return self._limits.stop is not None and self._limits.stop.is_set()

    @property
    def _time_is_up(self) -> bool:
        return self._limits.max_minutes is not None and self._spent > 60 * self._limits.max_minutes

    @contextmanager
    def breaking_off(self) -> Iterator[Listener]:
        """For what takes long at the beginning of a step, before anything was learned in it: what it gives
        takes each event of that work, in all processes alike, and ends it with `Interrupted` where somebody
        asked for it. The step is then made as if it had not begun."""

        def listen(_: Progress) -> None:
            if agreed(self._asked_to_stop):
                raise Interrupted

        try:
            yield listen
        except Interrupted:
            self.save()
            raise

    def stop(self, why: str) -> None:
        """No further step after this one."""
        self.stopped = why

    def share(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The part of a batch that this process works on."""
        return rows[self._process.process_index :: self._process.num_processes]

    @property
    def processes(self) -> int:
        return self._process.num_processes

    def mean(self, values: Sequence[float]) -> float:
        """The mean over the values of all processes; 0 of none."""
        import torch
        from accelerate.utils import reduce

        sums = torch.tensor([math.fsum(values), float(len(values))], dtype=torch.float64)
        if self.processes > 1:
            sums = reduce(sums, reduction="sum")
        return float(sums[0] / sums[1].clamp_min(1.0))

    def copy(self) -> dict[str, Tensor]:
        """The trainable parameters as they are now."""
        return {name: each.detach().clone() for name, each in self._parameters.items()}

    def restore(self, copied: Mapping[str, Tensor]) -> None:
        """Back to what `copy` gave; gradients are dropped."""
        import torch

        with torch.no_grad():
            for name, each in self._parameters.items():
                each.copy_(copied[name])
        self._optimizer.zero_grad()

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss`: this process's terms, already divided by the size of the whole batch.

        Errors: `TrainingError` when it is not a number; the last checkpoint is kept.
        """
        if not math.isfinite(float(loss.detach())):
            raise self._diverged("the loss")
        loss.backward()

    def update(self, metrics: Mapping[str, float]) -> None:
        """One step of the optimizer with the gradients gathered so far; writes `metrics` down."""
        import torch

        if self.processes > 1:
            self._sum_over_processes()
        gradients = [each.grad for each in self._parameters.values() if each.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0
        if not math.isfinite(norm):
            raise self._diverged("the gradient")
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), self._clip)
        scale = self.rate(self.step)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * scale
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.record({**metrics, "gradient": norm})

    def record(self, metrics: Mapping[str, float]) -> None:
        """Count one step as done, with these figures."""
        self.step += 1
        if self._process.is_main_process:
            line = json.dumps({"step": self.step, **{key: float(value) for key, value in metrics.items()}})
            with self._no_disk_left(), (self.folder / "metrics.jsonl").open("a") as file:
                file.write(line + "\n")
        left = self._spent / self.step * (self.steps - self.step) if self._spent else None
        self._progress(Progress(self.stage, self.step, self.steps, left, dict(metrics)))

    def rate(self, step: int) -> float:
        """Factor on the learning rates at `step`."""
        rising = (step + 1) / max(1.0, self._warmup * self._planned)
        falling = (self._planned - step) / self._planned if self._decay else 1.0
        return min(1.0, rising) * falling

    def _sum_over_processes(self) -> None:
        """All of them take part with all parameters, also one that had no share of the batch."""
        import torch
        from accelerate.utils import reduce

        gradients = [
            torch.zeros_like(each) if each.grad is None else each.grad for each in self._parameters.values()
        ]
        flat = reduce(torch.cat([each.flatten() for each in gradients]), reduction="sum")
        place = 0
        for each in self._parameters.values():
            each.grad = flat[place : place + each.numel()].view_as(each).clone()
            place += each.numel()

    def _diverged(self, what: str) -> TrainingError:
        return TrainingError(
            f"{self.stage}: {what} is not a number at step {self.step + 1}; the state before it is kept",
            "run it again with a smaller learning rate",
        )

    # Checkpoints

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def save(self) -> None:
        """Write the checkpoint in one piece: to a new file first, which then takes the old one's place."""
        import torch

        if not self._process.is_main_process:
            return
        new = self.checkpoint.with_suffix(".new")
        content = {
            "stage": self.stage,
            "step": self.step,
            "spent": self._spent,
            "stopped": self.stopped,
            "state": self.state,
            "parameters": self.copy(),
            "optimizer": self._optimizer.state_dict(),
        }
        with self._no_disk_left():
            try:
                with new.open("wb") as file:
                    torch.save(content, file)
                    file.flush()
                    os.fsync(file.fileno())
                new.replace(self.checkpoint)
            finally:
                new.unlink(missing_ok=True)

    def _load(self) -> None:
        import torch

        lines = self.folder / "metrics.jsonl"
        if not self.checkpoint.exists():
            if self._process.is_main_process:
                lines.unlink(missing_ok=True)
            return
        content = torch.load(self.checkpoint, weights_only=True)
        if content["stage"] != self.stage or content["parameters"].keys() != self._parameters.keys():
            raise TrainingError(f"{self.folder} holds a run of another kind", "start a new run instead")
        self.restore(content["parameters"])
        self._optimizer.load_state_dict(content["optimizer"])
        self.step, self.state, self._spent = content["step"], content["state"], content["spent"]
        # Whoever resumes gives it more time; every other reason to stop still holds.
        self.stopped = None if content["stopped"] == TIME_IS_UP else content["stopped"]
        if self._process.is_main_process and lines.exists():
            kept = []
            for line in lines.read_text().splitlines(keepends=True):
                # The last line may be cut off where the process died.
                if line.endswith("\n") and json.loads(line)["step"] <= self.step:
                    kept.append(line)
            lines.write_text("".join(kept))

    def _no_disk_left(self) -> _NoDiskLeft:
        return _NoDiskLeft(self.folder)


class _NoDiskLeft:
    """Turns "no space left on device" into one line for the user."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        # torch's zip writer wraps the failed write in an error of its own.
        if full or (isinstance(error, RuntimeError) and "PytorchStreamWriter" in str(error)):
            raise TrainingError(
                f"the disk of {self._folder} is full; the last checkpoint is kept",
                "free some space, then go on with --resume",
            ) from error


def batches(rows: Sequence[Row], size: int, step: int, seed: int) -> list[Row]:
    """The rows of step `step` when `rows` are gone through again and again, each time in a new order."""
    each_round = -(-len(rows) // size)
    order = list(rows)
    random.Random(f"{seed} {step // each_round}").shuffle(order)
    place = step % each_round * size
    return order[place : place + size]


def metrics(folder: Path) -> list[dict[str, float]]:
    """What a run wrote down, one dictionary a step."""
    file = folder / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
