"""General dialogue mixed into a training, so that the rest of the model stays as it is.

The last term of InstructGPT's objective (Ouyang et al. 2022, equation 2), which RLOO, PPO and DPO share:

    L_mix = - weight * mean log p(token of the dialogue)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chatapp.training.base import TrainedPolicy, half_precision
from chatapp.training.data import SftRow
from chatapp.training.packing import MICRO, alike, pack, token_logprobs
from chatapp.training.run import Loop, batches
from chatapp.training.sft import nll


@dataclass(frozen=True, slots=True)
class Replay:
    """The dialogue of one run. `rows`: how many a step; `seed` says which."""

    policy: TrainedPolicy
    mix: Sequence[SftRow]
    weight: float
    rows: int
    seed: int
    half: bool

    def add(self, loop: Loop, step: int) -> float | None:
        """Add the gradient of L_mix over this process's share of the dialogues of `step`.

        Returns - mean log p without the weight; None where there is nothing to mix in.
        """
        if not self.mix or not self.weight:
            return None
        if not (own := loop.share(batches(self.mix, self.rows, step, self.seed))):
            return None
        learned, total = sum(sum(row.mask[1:]) for row in own), 0.0
        for places in alike(own, MICRO):
            with half_precision(self.half):
                logprobs = token_logprobs(self.policy.model, pack([own[at] for at in places]))
            loss = nll(logprobs) * len(logprobs) / learned
            loop.backward(self.weight * loss * len(own) / self.rows)
            total += float(loss.detach())
        return total
