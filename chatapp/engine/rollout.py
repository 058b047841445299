"""Many replies to many prompts in one context, for training: the child process's side.

Lanes are filled as they fall empty, so that every batch is as wide as it can be. The replies to one prompt
start together: their prompt is decoded once and copied.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

from chatapp.core.errors import EngineError
from chatapp.core.types import FinishReason, Sampling
from chatapp.engine.base import Sample
from chatapp.engine.lane_text import LaneText

if TYPE_CHECKING:
    from chatapp.engine.llama import LlamaContext, SamplerChain, Vocabulary


_BLOCK = 64


class _Draws(Protocol):
    """Draws the tokens of one lane."""

    def draw(self, place: int, row: int) -> int:
        """From the logits of the batch's row `place`, which is the `row`th of those that have logits."""

    def close(self) -> None: ...


class _Filtered:
    """Every setting as in the chat, by llama.cpp's own chain."""

    def __init__(self, context: LlamaContext, chain: SamplerChain) -> None:
        self._context = context
        self._chain = chain

    def draw(self, place: int, row: int) -> int:
        return self._chain.sample(self._context, place)

    def close(self) -> None:
        self._chain.close()


class _Tables:
    """The distribution of every row of the last batch, worked out for all rows at once: a chain for each lane
    takes a fifth of the time of a small model."""

    def __init__(self, temperature: float) -> None:
        self._temperature = temperature
        self._weights: Any = None
        self._blocks: Any = None

    def update(self, logits: Any) -> None:
        """Take over (rows, vocabulary) logits."""
        import numpy as np

        rows, vocabulary = logits.shape
        weights = np.zeros((rows, -(-vocabulary // _BLOCK), _BLOCK), dtype=np.float32)
        own = weights.reshape(rows, -1)[:, :vocabulary]
        np.subtract(logits, logits.max(-1, keepdims=True), out=own)
        if self._temperature != 1:
            own /= self._temperature
        np.exp(own, out=own)
        self._weights = weights
        # Sums of blocks first: a running sum over the whole vocabulary is slow.
        self._blocks = np.cumsum(weights.sum(-1), axis=-1, dtype=np.float64)

    def find(self, row: int, share: float) -> int:
        """The token at which the probabilities up to it exceed `share` (0 <= share < 1)."""
        import numpy as np

        blocks = self._blocks[row]
        target = share * blocks[-1]
        block = min(int(blocks.searchsorted(target, side="right")), len(blocks) - 1)
        inside = np.cumsum(self._weights[row, block], dtype=np.float64)
        target -= blocks[block - 1] if block else 0.0
        place = int(inside.searchsorted(target, side="right"))
        # Rounding may leave the target a hair past the block's last token that has any weight.
        last = int(self._weights[row, block].nonzero()[0][-1])
        return block * _BLOCK + min(place, last)


class _Pure:
    """The policy itself: no filter, only the temperature."""

    def __init__(self, tables: _Tables, seed: int) -> None:
        self._tables = tables
        self._random = random.Random(seed)

    def draw(self, place: int, row: int) -> int:
        return self._tables.find(row, self._random.random())

    def close(self) -> None:
        pass


@dataclass(slots=True)
class _Lane:
    """One reply that is being sampled."""

    sequence: int
    prompt: int
    number: int
    """Which of the prompt's samples it is."""
    draws: _Draws
    text: LaneText
    position: int
    token: int = -1
    ids: list[int] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    """Text that each of `ids` completed."""


@dataclass(slots=True)
class _Opening:
    """A prompt on its way into the cache, in the first of the sequences that will answer it."""

    prompt: int
    numbers: range
    sequences: list[int]
    done: int = 0


class Roller:
    """Samples on a context of its own; nothing stays in the cache between two calls."""

    def __init__(self, context: LlamaContext, vocabulary: Vocabulary, length: int) -> None:
        """`length`: tokens that one lane may hold, prompt and reply."""
        self._context = context
        self._vocabulary = vocabulary
        self._length = length

    def run(
        self,
        prompts: Sequence[Sequence[int]],
        samples: int,
        sampling: Sampling,
        stop: Sequence[str],
        progress: Callable[[float], None],
    ) -> list[list[Sample]]:
        """`samples` replies to each prompt. Sample j of prompt i draws with the seed s + i * samples + j.

        `progress` is told after each batch which share of the replies is whole.
        """
        self._context.clear()
        seed = sampling.seed or 0
        tables = _Tables(sampling.temperature) if _is_pure(sampling) else None
        finished: dict[tuple[int, int], Sample] = {}
        free = deque(range(self._context.sequences))
        waiting = deque(self._groups(len(prompts), samples))
        opening: list[_Opening] = []
        lanes: list[_Lane] = []

        def begin(group: _Opening, place: int, row: int) -> None:
            """All lanes of `group` sample their first token from the same logits."""
            for sequence in group.sequences[1:]:
                self._context.copy(group.sequences[0], sequence)
            for sequence, number in zip(group.sequences, group.numbers, strict=True):
                own = seed + group.prompt * samples + number
                draws = _Pure(tables, own) if tables else self._filtered(sampling, own)
                length = len(prompts[group.prompt])
                lane = _Lane(sequence, group.prompt, number, draws, LaneText(stop), length)
                advance(lane, place, row)

        def advance(lane: _Lane, place: int, row: int) -> None:
            lane.token = lane.draws.draw(place, row)
            reason = self._advance(lane, sampling.max_tokens)
            if reason is None:
                lanes.append(lane)
                return
            lane.draws.close()
            lane.pieces.append(lane.text.finish())
            starts = (0, *accumulate(map(len, lane.pieces)))[: len(lane.ids)]
            finished[lane.prompt, lane.number] = Sample(tuple(lane.ids), "".join(lane.pieces), starts, reason)
            self._context.drop(lane.sequence)
            free.append(lane.sequence)
            progress(len(finished) / (len(prompts) * samples))

        try:
            while len(finished) < len(prompts) * samples:
                while waiting and len(free) >= len(waiting[0].numbers):
                    group = waiting.popleft()
                    group.sequences = [free.popleft() for _ in group.numbers]
                    opening.append(group)
                rows, ready = self._batch(prompts, lanes, opening)
                self._decode(rows)
                progress(len(finished) / (len(prompts) * samples))
                if tables and (wanted := len(lanes) + len(ready)):
                    tables.update(self._context.logits(wanted))
                running, lanes[:] = list(lanes), []
                for row, lane in enumerate(running):
                    lane.position += 1
                    advance(lane, row, row)
                for row, (group, place) in enumerate(ready, start=len(running)):
                    opening.remove(group)
                    begin(group, place, row)
        finally:
            for lane in lanes:
                lane.draws.close()
            self._context.clear()
        return [[finished[prompt, number] for number in range(samples)] for prompt in range(len(prompts))]

    def _filtered(self, sampling: Sampling, seed: int) -> _Filtered:
        from chatapp.engine.llama import SamplerChain

        return _Filtered(self._context, SamplerChain(sampling, seed % 2**32, self._vocabulary.size))

    def _groups(self, prompts: int, samples: int) -> list[_Opening]:
        width = self._context.sequences
        return [
            _Opening(prompt, range(start, min(start + width, samples)), [])
            for prompt in range(prompts)
            for start in range(0, samples, width)
        ]

    def _batch(
        self, prompts: Sequence[Sequence[int]], lanes: Sequence[_Lane], opening: Sequence[_Opening]
    ) -> tuple[list[tuple[int, int, int, bool]], list[tuple[_Opening, int]]]:
        """The next batch: one token of each lane, then as much of the new prompts as there is room for.

        Also which prompts are whole after it, with the place of their last token in the batch.
        """
        rows = [(lane.token, lane.position, lane.sequence, True) for lane in lanes]
        ready: list[tuple[_Opening, int]] = []
        for group in opening:
            ids = prompts[group.prompt]
            end = min(len(ids), group.done + self._context.batch - len(rows))
            for at in range(group.done, end):
                rows.append((ids[at], at, group.sequences[0], at == len(ids) - 1))
            group.done = end
            if end == len(ids):
                ready.append((group, len(rows) - 1))
        return rows, ready

    def _decode(self, rows: Sequence[tuple[int, int, int, bool]]) -> None:
        from chatapp.engine.llama import Row

        if self._context.decode([Row(*row) for row in rows]) != 0:
            raise EngineError("sampling was stopped")

    def _advance(self, lane: _Lane, most: int) -> FinishReason | None:
        """Take the token of `lane`; why its reply ends, if it does."""
        lane.ids.append(lane.token)
        if self._vocabulary.is_end(lane.token):
            return "stop"
        lane.pieces.append(lane.text.feed(self._vocabulary.piece(lane.token)))
        if lane.text.stopped:
            return "stop"
        if len(lane.ids) >= most or lane.position + 1 >= self._length:
            return "length"
        return None


def _is_pure(sampling: Sampling) -> bool:
    return (
        sampling.temperature > 0
        and sampling.top_k <= 0
        and sampling.top_p >= 1
        and sampling.min_p <= 0
        and sampling.repeat_penalty == 1
        and sampling.xtc_probability <= 0
    )
