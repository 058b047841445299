"""Supervised tuning: make what a person wrote (an edit) more probable.

    chatapp train sft

The loss is that of InstructGPT's first step (Ouyang et al. 2022, section 3.5) and of every language model:
the mean negative log-probability of the learned tokens y given all that stands before them,

    L = - (1 / T) * sum_t log p(y_t | x, y_<t)

where T counts the learned tokens: those of the assistant's replies and the token that ends each. Rows of
general dialogue are mixed in, as ChatGPT's makers did, so that the model does not forget how to talk about
anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.core.errors import TrainingError
from chatapp.training.base import TrainedPolicy, half_precision, trainable
from chatapp.training.data import SftRow
from chatapp.training.packing import MICRO, alike, pack, token_logprobs
from chatapp.training.progress import Listener, silent
from chatapp.training.run import Limits, Loop, batches

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class SftSettings:
    epochs: float = 3
    batch: int = 8
    learning_rate: float = 3e-4
    mix: float = 1.0
    """Rows of general dialogue for each row of the person's."""
    seed: int = 0
    half: bool = True


def nll(logprobs: Tensor) -> Tensor:
    """The equation above. `logprobs` (T,): log p of each learned token."""
    return -logprobs.mean()


def add_gradient(
    loop: Loop, policy: TrainedPolicy, rows: Sequence[SftRow], tokens: int, half: bool, weight: float = 1.0
) -> float:
    """Add `weight` times the gradient of the equation over `rows`, of a batch of `tokens` learned tokens.
    Returns L without the weight."""
    total = 0.0
    for places in alike(rows, MICRO):
        with half_precision(half):
            logprobs = token_logprobs(policy.model, pack([rows[at] for at in places]))
        loss = nll(logprobs) * (len(logprobs) / tokens)
        loop.backward(weight * loss)
        total += float(loss.detach())
    return total


def train(
    policy: TrainedPolicy,
    rows: Sequence[SftRow],
    folder: Path,
    settings: SftSettings = SftSettings(),
    *,
    mix: Sequence[SftRow] = (),
    limits: Limits = Limits(),
    progress: Listener = silent,
) -> Loop:
    """Tune `policy` in place on `rows`, with `mix` between them."""
    if not rows:
        raise TrainingError("there is nothing to imitate yet", "edit a reply into what it should have said")
    steps = max(1, round(settings.epochs * len(rows) / settings.batch))
    loop = Loop(
        "sft",
        folder,
        trainable(policy.model),
        steps=steps,
        learning_rate=settings.learning_rate,
        limits=limits,
        progress=progress,
    )
    for step in loop:
        batch = batches(rows, settings.batch, step, settings.seed)
        if mix and settings.mix:
            batch += batches(mix, round(settings.mix * len(batch)) or 1, step, settings.seed + 1)
        tokens = sum(sum(row.mask[1:]) for row in batch)
        loop.update({"loss": add_gradient(loop, policy, loop.share(batch), tokens, settings.half)})
    return loop
