"""General dialogue mixed into a training, so that the rest of the model stays as it is.

The last term of InstructGPT's objective (Ouyang et al. 2022, equation 2), which RLOO, PPO and DPO share:

    L_mix = - weight * mean log p(token of the dialogue)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chatapp.training.base import TrainedPolicy
from chatapp.training.data import SftRow
from chatapp.training.run import Loop, batches
from chatapp.training.sft import add_gradient


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
        learned = sum(sum(row.mask[1:]) for row in own)
        weight = self.weight * len(own) / self.rows
        return add_gradient(loop, self.policy, own, learned, self.half, weight)
