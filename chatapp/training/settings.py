"""Settings of a whole training, and what it works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from chatapp.core.types import Sampling
from chatapp.training import dpo, ppo, reward, rloo, sft
from chatapp.training.base import Ids
from chatapp.training.data import Data, SftRow


@dataclass(frozen=True, slots=True)
class Settings:
    """Of a whole training; the defaults are those that tests/bench measured."""

    sft: sft.SftSettings = field(default_factory=sft.SftSettings)
    reward: reward.RewardSettings = field(default_factory=reward.RewardSettings)
    dpo: dpo.DpoSettings = field(default_factory=dpo.DpoSettings)
    rloo: rloo.RlooSettings = field(default_factory=rloo.RlooSettings)
    ppo: ppo.PpoSettings = field(default_factory=ppo.PpoSettings)
    evaluate_prompts: int = 128
    """At most, the person's own before others."""
    evaluate_samples: int = 5
    chat: Sampling = field(default_factory=lambda: Sampling(max_tokens=96))
    """How the chat samples: what is judged is what will be read."""
    start: str = "the round before"
    """What the adapter that a later round goes on from is called."""
    max_memory: int | None = None
    seed: int = 0

    @property
    def half(self) -> bool:
        """Whether any stage computes in bfloat16."""
        return any(each.half for each in (self.sft, self.reward, self.dpo, self.rloo, self.ppo))

    def in_float32(self) -> Settings:
        """The same with no stage in bfloat16."""
        return replace(
            self,
            sft=replace(self.sft, half=False),
            reward=replace(self.reward, half=False),
            dpo=replace(self.dpo, half=False),
            rloo=replace(self.rloo, half=False),
            ppo=replace(self.ppo, half=False),
        )


@dataclass(slots=True)
class Material:
    """What a training works on."""

    data: Data
    mix: Sequence[SftRow] = ()
    """General dialogue to mix in."""
    untouched: Sequence[SftRow] = ()
    """General dialogue for the perplexity; never trained on."""
    prompts: Sequence[Ids] = ()
    """More prompts of the same kind that nobody ranked: for evaluation."""
