"""Log-probabilities and hidden states of rows of token ids: the child process's side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from chatapp.core.errors import EngineError
from chatapp.engine.base import RowScore

if TYPE_CHECKING:
    from chatapp.engine.llama import LlamaContext

_LOGITS = 32 * 2**20
"""Logits in memory at once, at most."""


def outputs_for(vocabulary: int, batch: int) -> int:
    """How many rows of a batch may have logits."""
    return max(1, min(batch, _LOGITS // vocabulary))


def logprobs(
    context: LlamaContext, row: Sequence[int], chunk: int, decoded: Callable[[int], None]
) -> RowScore:
    """`row` under the model, `chunk` tokens at a time. Leaves the KV cache of `context` to be cleared.

    `decoded` is told of the tokens of each batch.
    """
    import numpy as np

    context.clear()
    chosen: list[float] = []
    top: list[int] = []
    for start in range(0, len(row), chunk):
        part = row[start : start + chunk]
        _decode(context, [(token, start + at, 0, True) for at, token in enumerate(part)])
        logits = context.logits(len(part)).astype(np.float32)
        top += logits.argmax(-1).tolist()
        following = row[start + 1 : start + 1 + len(part)]
        logits -= logits.max(-1, keepdims=True)
        norm = np.log(np.exp(logits).sum(-1, dtype=np.float64))
        chosen += (logits[np.arange(len(following)), following] - norm[: len(following)]).tolist()
        decoded(len(part))
    return RowScore(tuple(chosen), tuple(top))


def states(
    context: LlamaContext, rows: Sequence[Sequence[int]], decoded: Callable[[int], None]
) -> list[tuple[float, ...]]:
    """The hidden state of the last token of each row; at most as many rows as the context has sequences.

    `decoded` is told of the tokens of each batch.
    """
    context.clear()
    before = [
        (token, at, number, False) for number, row in enumerate(rows) for at, token in enumerate(row[:-1])
    ]
    for start in range(0, len(before), context.batch):
        part = before[start : start + context.batch]
        _decode(context, part)
        decoded(len(part))
    # The last tokens apart: with states on, llama.cpp works out logits for every token of a batch.
    context.keep_states(True)
    try:
        _decode(context, [(row[-1], len(row) - 1, number, True) for number, row in enumerate(rows)])
        decoded(len(rows))
        return [tuple(context.state(number)) for number in range(len(rows))]
    finally:
        context.keep_states(False)


def _decode(context: LlamaContext, rows: Sequence[tuple[int, int, int, bool]]) -> None:
    from chatapp.engine.llama import Row

    if context.decode([Row(*row) for row in rows]) != 0:
        context.clear()
        raise EngineError("scoring was stopped, or the row does not fit into the KV cache")
