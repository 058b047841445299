"""Whether the trainer and the engine are the same model: every adapter passes this gate before it is offered.

Both score the same token ids, with the adapter and without. Quantisation adds noise (llama.cpp also quantises
the activations), so the bounds depend on the base's. An adapter whose rows are in the wrong order, or a base
whose rotary factors were left out, is far outside of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from chatapp.core.types import Turn
from chatapp.engine.base import AdapterSpec, Encoded, RowScore
from chatapp.training.packing import token_logits, vocabulary
from chatapp.training.recompute import at_once

if TYPE_CHECKING:
    from chatapp.training.model import Policy


LONGEST = 512
"""Tokens of a row that are compared: each one has logits of its own."""


class Scorer(Protocol):
    """What the gate needs of the engine; `engine.tuning.TuningClient` is one."""

    def set_adapter(self, adapter: AdapterSpec | None) -> None: ...
    def logprobs(self, rows: Sequence[Sequence[int]]) -> Sequence[RowScore]: ...
    def encode(self, turns: Sequence[Turn]) -> Encoded: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is allowed for one kind of base file."""

    difference: float
    """Mean absolute difference of log-probabilities, nats."""
    top1: float
    """Share of places where both find the same token most probable, at least."""
    correlation: float
    """Of the adapter's own change, at least; asked for where the change stands clear of the noise."""
    change: float
    """Root mean square difference of the adapter's own change, nats."""


FLOAT = Bounds(0.01, 0.97, 0.99, 0.02)
BRAIN_FLOAT = Bounds(0.05, 0.93, 0.98, 0.07)
"""llama.cpp rounds what it multiplies with bfloat16 weights to bfloat16, eight times as coarse as float16."""
EIGHT_BITS = Bounds(0.12, 0.88, 0.97, 0.16)
FEWER_BITS = Bounds(0.18, 0.85, 0.93, 0.24)


def bounds_for(quantisation: str) -> Bounds:
    """The written bounds for a base of this file type (`F16`, `Q8_0`, `Q4_K_M`, ...)."""
    if quantisation in ("F32", "F16"):
        return FLOAT
    if quantisation == "BF16":
        return BRAIN_FLOAT
    return EIGHT_BITS if quantisation in ("Q8_0", "Q8_K") else FEWER_BITS


@dataclass(frozen=True, slots=True)
class ParityReport:
    """What was measured. `reason` is empty when all of it is within the bounds."""

    reason: str
    tokens: int
    """Predicted tokens that were compared."""
    difference_base: float
    difference_tuned: float
    top1_base: float
    top1_tuned: float
    change: float
    """Root mean square of the adapter's change of a log-probability in the trainer, nats."""
    change_error: float
    """Root mean square difference between the trainer's and the engine's change, nats."""
    slope: float
    """Of the engine's change over the trainer's; 1 when they are the same."""
    correlation: float
    restored: bool
    """Whether the base came back exactly after the adapter was switched off."""
    ids_equal: bool

    @property
    def ok(self) -> bool:
        return not self.reason


def check(
    policy: Policy,
    adapter: AdapterSpec,
    engine: Scorer,
    rows: Sequence[Sequence[int]],
    conversations: Sequence[tuple[Sequence[Turn], Sequence[int]]] = (),
    bounds: Bounds | None = None,
) -> ParityReport:
    """Score `rows` in torch and in `engine`, with and without `adapter` (what `policy` was written to).

    `conversations` are turns with the ids that the trainer learned from: the engine must give the same.
    The engine is left on its base.
    """
    rows = [row[:LONGEST] for row in rows]
    ids_equal = all(tuple(engine.encode(turns).ids) == tuple(ids) for turns, ids in conversations)
    engine.set_adapter(None)
    engine_base = engine.logprobs(rows)
    engine.set_adapter(adapter)
    engine_tuned = engine.logprobs(rows)
    engine.set_adapter(None)
    again = engine.logprobs(rows)
    restored = all(
        tuple(first.logprobs) == tuple(second.logprobs)
        for first, second in zip(engine_base, again, strict=True)
    )
    tuned = score(policy, rows)
    with policy.reference():
        base = score(policy, rows)
    return compare(
        base,
        tuned,
        engine_base,
        engine_tuned,
        bounds or bounds_for(policy.header.quantisation),
        restored=restored,
        ids_equal=ids_equal,
    )


def score(policy: Policy, rows: Sequence[Sequence[int]]) -> list[RowScore]:
    """`rows` under the policy as it is (within `policy.reference()`: its base)."""
    import torch

    scores: list[RowScore] = []
    plain: Any = policy.model.get_base_model()
    decoder = plain.get_decoder()
    places = at_once(vocabulary(policy.model))
    with torch.inference_mode():
        for row in rows:
            ids = torch.tensor([list(row)])
            hidden = decoder(input_ids=ids, use_cache=False).last_hidden_state[0]
            logprobs: list[float] = []
            top: list[int] = []
            # What follows the last place is not known; it is given the row's first token, and left out.
            for part, following in zip(hidden.split(places), ids[0].roll(-1).split(places), strict=True):
                logits = token_logits(policy.model, part)
                logprobs += logits.log_softmax(-1).gather(1, following[:, None])[:, 0].tolist()
                top += logits.argmax(-1).tolist()
            scores.append(RowScore(tuple(logprobs[:-1]), tuple(top)))
    return scores


def compare(
    base: Sequence[RowScore],
    tuned: Sequence[RowScore],
    engine_base: Sequence[RowScore],
    engine_tuned: Sequence[RowScore],
    bounds: Bounds,
    *,
    restored: bool = True,
    ids_equal: bool = True,
) -> ParityReport:
    """The report on scores of the same rows from the trainer and from the engine."""
    import numpy as np

    def flat(scores: Sequence[RowScore]) -> tuple[np.ndarray, np.ndarray]:
        logprobs = np.concatenate([each.logprobs for each in scores])
        return logprobs, np.concatenate([each.top for each in scores])

    (ours, ours_top), (ours_on, ours_on_top) = flat(base), flat(tuned)
    (theirs, theirs_top), (theirs_on, theirs_on_top) = flat(engine_base), flat(engine_tuned)
    change, their_change = ours_on - ours, theirs_on - theirs
    size, their_size = _rms(change), _rms(their_change)
    error = _rms(their_change - change)
    slope = float(change @ their_change / (change @ change)) if size else 1.0
    moved = size > 0 and their_size > 0
    correlation = float(np.corrcoef(change, their_change)[0, 1]) if moved else float(size == their_size)
    uncertain = _uncertainty([len(each.logprobs) for each in base], change, their_change - slope * change)
    difference, difference_on = float(np.abs(ours - theirs).mean()), float(np.abs(ours_on - theirs_on).mean())
    top1, top1_on = float((ours_top == theirs_top).mean()), float((ours_on_top == theirs_on_top).mean())
    measured = [difference, difference_on, error, slope, correlation]
    why = [
        ("the engine splits the text into other tokens", not ids_equal),
        ("a value is not a number", not all(map(math.isfinite, measured))),
        (
            f"log-probabilities of the base differ by {difference:.3f} nats (at most {bounds.difference})",
            difference > bounds.difference,
        ),
        (f"the base agrees on {top1:.1%} of best tokens (at least {bounds.top1:.0%})", top1 < bounds.top1),
        (
            f"with the adapter on they differ by {difference_on:.3f} nats (at most {bounds.difference})",
            difference_on > bounds.difference,
        ),
        (
            f"with the adapter on {top1_on:.1%} of the best tokens agree (at least {bounds.top1:.0%})",
            top1_on < bounds.top1,
        ),
        (
            f"the adapter's change differs by {error:.3f} nats (at most {bounds.change})",
            error > bounds.change,
        ),
        (
            f"the adapter's change correlates at {correlation:.3f} (at least {bounds.correlation})",
            size > 4 * bounds.change and correlation < bounds.correlation,
        ),
        (
            f"the adapter's change is {slope:.2f} times what was learned",
            abs(slope - 1) > 0.1 + 3 * uncertain,
        ),
        ("the base did not come back when the adapter was switched off", not restored),
    ]
    return ParityReport(
        reason=next((text for text, wrong in why if wrong), ""),
        tokens=len(change),
        difference_base=difference,
        difference_tuned=difference_on,
        top1_base=top1,
        top1_tuned=top1_on,
        change=size,
        change_error=error,
        slope=slope,
        correlation=correlation,
        restored=restored,
        ids_equal=ids_equal,
    )


def _uncertainty(lengths: Sequence[int], change: Any, rest: Any) -> float:
    """Standard error of a slope through the origin whose residuals belong together row by row: the noise of
    quantised activations does not change anew with every token (Liang and Zeger 1986, equation 6)."""
    import numpy as np

    ends = np.cumsum(lengths)[:-1]
    moments = [float(x @ e) for x, e in zip(np.split(change, ends), np.split(rest, ends), strict=True)]
    size = float(change @ change)
    rows = len(moments)
    if not size or rows < 2:
        return 0.0  # nothing to tell the noise from
    return math.sqrt(sum(each**2 for each in moments) * rows / (rows - 1)) / size


def _rms(values: object) -> float:
    import numpy as np

    return float(np.sqrt(np.mean(np.square(np.asarray(values)))))
