"""The reward model at work in the chat: the engine's own weights, its adapter, and a head; no torch.

    served = ServedReward(Path("reward.gguf"))
    scores = served.score(engine, prompt, replies)

An average reply of those that were ranked scores 0, and 1 is one standard deviation better. The head and
what the features weigh lie in the adapter file's metadata.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.core.errors import ModelError
from chatapp.core.sanitize import one_line
from chatapp.engine.base import AdapterSpec
from chatapp.engine.gguf import read_header
from chatapp.engine.tuning import TuningClient
from chatapp.training.base import Ids
from chatapp.training.export import BIAS, HEAD, PREFIX, Metadata, write_adapter

if TYPE_CHECKING:
    from chatapp.training.model import Policy
    from chatapp.training.reward import RewardModel

FEATURES = ("length", "sum", "mean", "least", "last", "first")
"""What is read off the log-probabilities of a reply's tokens under the base, in this order."""
_EPSILON = 1e-5
"""That of torch's layer_norm."""


def features(logprobs: Sequence[float]) -> tuple[float, ...]:
    """As `FEATURES` names them, of one reply."""
    total = math.fsum(logprobs)
    n = len(logprobs)
    return (math.log1p(n), total, total / n, min(logprobs), logprobs[-1], logprobs[0])


def write_reward(policy: Policy, model: RewardModel, path: Path, metadata: Metadata) -> Path:
    """`model` as an adapter file that `ServedReward` reads. Its LoRA lies in `policy` beside the policy's."""
    own = replace(policy, rank=model.settings.rank, alpha=float(model.settings.alpha))
    weights = (model.weights / model.spread).detach()
    shift = float((weights * model.mean).sum()) + model.offset
    named = {f"reward.{name}": float(w) / model.scale for name, w in zip(FEATURES, weights, strict=True)}
    head = (model.head.detach() / model.scale).tolist()
    return write_adapter(own, path, {**metadata, **named}, head, -shift / model.scale, model.name)


class ServedReward:
    """Errors: `ModelError` for a file that is no reward model of ours."""

    def __init__(self, path: Path) -> None:
        metadata = read_header(path, arrays=True).metadata
        head, bias = metadata.get(HEAD), metadata.get(BIAS)
        found = [metadata.get(f"{PREFIX}reward.{name}") for name in FEATURES]
        weights = [each for each in found if isinstance(each, float)]
        if not isinstance(head, list) or not isinstance(bias, float) or len(weights) < len(FEATURES):
            raise ModelError(
                f"{one_line(path.name, 80)} is no reward model", "train one with `chatapp train`"
            )
        self._adapter = AdapterSpec(path.stem, path)
        self._head = head
        self._bias = bias
        self._weights = weights

    def score(
        self, engine: TuningClient, prompt: Ids, replies: Sequence[Ids], chat: AdapterSpec | None = None
    ) -> list[float]:
        """Scores of `replies`, each with the token that ends it. `chat`: the adapter that the chat is using,
        which is on again afterwards."""
        rows = [(*prompt, *reply) for reply in replies]
        engine.set_adapter(None)
        try:
            under_base = engine.logprobs(rows)
        finally:
            engine.set_adapter(chat)
        found = []
        for state, row, reply in zip(engine.states(rows, self._adapter), under_base, replies, strict=True):
            own = row.logprobs[-len(reply) :]
            found.append(_dot(_normed(state), self._head) + _dot(features(own), self._weights) + self._bias)
        return found


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def _normed(state: Sequence[float]) -> list[float]:
    """To mean 0 and deviation 1."""
    mean = math.fsum(state) / len(state)
    spread = math.sqrt(math.fsum((each - mean) ** 2 for each in state) / len(state) + _EPSILON)
    return [(each - mean) / spread for each in state]
