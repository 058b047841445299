"""What the recipes need from outside: something that turns turns into ids, and something that samples
replies.

The engine's client is the one, `sampler.EngineSampler` around it the other, on the very file that the chat
uses; tests use tiny stand-ins.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from chatapp.core.types import FinishReason, Sampling, Turn
from chatapp.training.progress import Pace

if TYPE_CHECKING:
    from torch.nn import Parameter

_CLEARLY = 0.9
"""Of the time in float32: what bfloat16 may take at most to be worth its rounding."""
Ids = tuple[int, ...]
"""Token ids of the model's own tokenizer."""
_Drawn = TypeVar("_Drawn")
AT_ONCE = 32
"""Prompts whose replies are drawn before it is looked whether somebody wants it to end."""


class Encoded(Protocol):
    """A conversation as token ids; `mask` is 1 on assistant replies and on the token that ends each."""

    @property
    def ids(self) -> Ids: ...
    @property
    def mask(self) -> Ids: ...


class Encoder(Protocol):
    def encode(self, turns: Sequence[Turn]) -> Encoded:
        """Ids and mask of `turns`. When the last turn is not the assistant's, its reply is opened at the
        end."""


class Sampled(Protocol):
    """One sampled reply: `ids` as they were drawn, the ending token with them when the reply stopped by
    itself."""

    @property
    def ids(self) -> Ids: ...
    @property
    def text(self) -> str: ...
    @property
    def starts(self) -> Sequence[int]:
        """Characters of `text` that were known before each of `ids` was drawn."""

    @property
    def finish_reason(self) -> FinishReason: ...


class Sampler(Protocol):
    """Draws replies from the policy as it serves: the quantised base with the newest adapter on it."""

    def publish(self, policy: TrainedPolicy) -> None:
        """From now on sample from `policy` as it is at this moment."""

    def rollout(
        self, prompts: Sequence[Ids], samples: int, sampling: Sampling
    ) -> Sequence[Sequence[Sampled]]:
        """`samples` replies to each prompt, in the order of `prompts`. `sampling.seed` makes them
        repeatable."""


class TrainedPolicy(Protocol):
    """A base model with a trainable LoRA on it; `training.model.Policy` is one."""

    @property
    def model(self) -> Any:
        """A `peft.PeftModel` over a causal language model."""

    def reference(self) -> AbstractContextManager[Any]:
        """Within it the adapter is off: the model is the base again, or what a later round began with."""

    def to_reference(self) -> None:
        """Make the adapter what it is within `reference`."""


def drawn_in_parts(
    rollout: Callable[[Sequence[Ids], int, Sampling], Sequence[_Drawn]],
    prompts: Sequence[Ids],
    samples: int,
    sampling: Sampling,
    at_once: int,
    pace: Pace,
) -> list[_Drawn]:
    """`rollout` of all prompts, `at_once` at a time; each has the seed that it would have had otherwise."""
    found: list[_Drawn] = []
    for start in range(0, len(prompts), at_once):
        own = replace(sampling, seed=(sampling.seed or 0) + start * samples)
        found += rollout(prompts[start : start + at_once], samples, own)
        pace.done(len(found))
    return found


def trainable(model: Any) -> Iterator[tuple[str, Parameter]]:
    """The named parameters that learn, in a fixed order."""
    return ((name, each) for name, each in model.named_parameters() if each.requires_grad)


def half_precision(enabled: bool) -> AbstractContextManager[Any]:
    """bfloat16 matrix products on the CPU (about five times as fast where the processor has them, slower
    than float32 where it has not)."""
    import torch

    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled)


def half_precision_pays() -> bool:
    """Whether this processor takes clearly less time for a product in bfloat16 than in float32; found by
    trying, in some 50 ms."""
    import torch

    weights, values = torch.ones(1024, 1024), torch.ones(128, 1024)
    # The least of several, and of this thread's own work: other work on the machine does not count.
    least = {False: math.inf, True: math.inf}
    with torch.no_grad():
        for _ in range(6):
            for half in least:
                begun = time.thread_time()
                with half_precision(half):
                    torch.nn.functional.linear(values, weights)
                least[half] = min(least[half], time.thread_time() - begun)
    return least[True] < _CLEARLY * least[False]
