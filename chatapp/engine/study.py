"""The worker's side of training: contexts of their own beside the chat's, made when they are first needed.

The chat's KV cache is left alone, so its next reply still finds the conversation in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from chatapp.core.errors import EngineError, PromptTooLong
from chatapp.core.types import Sampling
from chatapp.engine import scoring
from chatapp.engine.base import RowScore, Sample
from chatapp.engine.rollout import Roller

if TYPE_CHECKING:
    from chatapp.engine.gguf import GgufHeader
    from chatapp.engine.llama import CancelFlag, LlamaContext, LlamaModel

LANES = 32
"""Replies that are sampled at once, at most."""
_BATCH = 512
_CACHE_BYTES = 1 << 30
"""Size of the rollouts' KV cache at most."""
_SHARED_CELLS = 1400
"""With fewer tokens in the KV cache at a time than this, all lanes share it: each then looks through all of
it, which is faster as long as it is short. With more, each lane has a cache of its own. Measured."""
_STATE_ROWS = 16
_STEP = 256
"""llama.cpp rounds the share of a sequence up to this many tokens."""


class Study:
    """`cells` and `n_ctx` are the chat's: some models rotate otherwise in a longer context."""

    def __init__(
        self,
        model: LlamaModel,
        header: GgufHeader,
        flag: CancelFlag,
        cells: int,
        n_ctx: int,
        threads: tuple[int, int],
    ) -> None:
        self._model = model
        self._header = header
        self._flag = flag
        self._cells = cells
        self._n_ctx = n_ctx
        self._threads = threads
        self._adapter: tuple[Any, float] = (None, 1.0)
        self._scores: LlamaContext | None = None
        self._states: LlamaContext | None = None
        self._rollouts: LlamaContext | None = None
        self._length = 0
        self._unified = True

    def use_adapter(self, adapter: Any, scale: float) -> None:
        """What scores and rollouts are made with from now on."""
        self._adapter = (adapter, scale)
        for context in (self._scores, self._rollouts):
            if context is not None:
                context.use_adapter(adapter, scale)

    def close(self) -> None:
        for context in (self._scores, self._states, self._rollouts):
            if context is not None:
                context.close()
        self._scores = self._states = self._rollouts = None

    def logprobs(
        self, rows: Sequence[Sequence[int]], progress: Callable[[float], None]
    ) -> tuple[RowScore, ...]:
        """Errors: `EngineError` for an empty or unknown token id, `PromptTooLong`."""
        self._check(rows)
        outputs = scoring.outputs_for(self._model.vocabulary.size, _BATCH)
        if self._scores is None:
            self._scores = self._context(self._cells, 1, outputs=outputs)
            self._scores.use_adapter(*self._adapter)
        decoded = _share_of(rows, progress)
        return tuple(scoring.logprobs(self._scores, row, outputs, decoded) for row in rows)

    def states(
        self,
        rows: Sequence[Sequence[int]],
        adapter: Any,
        scale: float,
        progress: Callable[[float], None],
    ) -> tuple[tuple[float, ...], ...]:
        """The last token's hidden state of each row under `adapter`, which the chat need not use."""
        self._check(rows)
        if self._states is None:
            self._states = self._context(self._cells, _STATE_ROWS)
        self._states.use_adapter(adapter, scale)
        decoded = _share_of(rows, progress)
        try:
            group = max(1, min(_STATE_ROWS, self._cells // max(map(len, rows)))) if rows else 1
            return tuple(
                state
                for start in range(0, len(rows), group)
                for state in scoring.states(self._states, rows[start : start + group], decoded)
            )
        finally:
            self._states.use_adapter(None, 1.0)

    def rollout(
        self,
        prompts: Sequence[Sequence[int]],
        samples: int,
        sampling: Sampling,
        stop: Sequence[str],
        progress: Callable[[float], None],
    ) -> list[list[Sample]]:
        """`samples` replies to each prompt. Errors: `PromptTooLong`, `EngineError`."""
        self._check(prompts)
        if samples < 1 or sampling.max_tokens < 1:
            raise EngineError("at least one sample of one token must be asked for")
        wanted = max(map(len, prompts)) + sampling.max_tokens
        length = min(self._n_ctx, -(-wanted // _STEP) * _STEP)
        mean = sum(map(len, prompts)) / len(prompts)
        unified = LANES * (mean / samples + sampling.max_tokens / 4) < _SHARED_CELLS
        if self._rollouts is None or self._length < length or self._unified != unified:
            if self._rollouts is not None:
                self._rollouts.close()
                self._rollouts = None
            self._rollouts = self._rollout_context(length, unified)
            self._length, self._unified = length, unified
            self._rollouts.use_adapter(*self._adapter)
        roller = Roller(self._rollouts, self._model.vocabulary, self._length)
        return roller.run(prompts, samples, sampling, stop, progress)

    def _rollout_context(self, length: int, unified: bool) -> LlamaContext:
        lanes = _rollout_lanes(self._header, length)
        if any(tensor.name.startswith("rope_factors_") for tensor in self._header.tensors):
            # These models rotate by the size of the context, which must be the chat's.
            return self._context(self._cells, max(1, min(lanes, self._cells // length)))
        return self._context(length * lanes, lanes, unified=unified)

    def _context(self, cells: int, sequences: int, **options: Any) -> LlamaContext:
        from chatapp.engine.llama import LlamaContext

        context = LlamaContext(self._model, cells, sequences, _BATCH, self._flag, **options)
        context.set_threads(*self._threads)
        return context

    def _check(self, rows: Sequence[Sequence[int]]) -> None:
        """What llama.cpp would die of is refused here."""
        size = self._model.vocabulary.size
        for row in rows:
            if not row or not all(0 <= token < size for token in row):
                raise EngineError("a row is empty or holds what is no token of this model")
            if len(row) >= self._n_ctx:
                raise PromptTooLong(f"a row of {len(row)} tokens does not fit into {self._n_ctx}")


def cache_bytes(header: GgufHeader, n_ctx: int, cells: int) -> int:
    """Bytes of the KV caches of one engine at most: the chat's of `cells` tokens, and the rollouts' when each
    lane takes `n_ctx`."""
    return _cell_bytes(header) * (cells + _rollout_lanes(header, n_ctx) * n_ctx)


def _rollout_lanes(header: GgufHeader, length: int) -> int:
    """How many lanes of `length` tokens there is room for."""
    return max(1, min(LANES, _CACHE_BYTES // (length * _cell_bytes(header))))


def _cell_bytes(header: GgufHeader) -> int:
    """Bytes of one token in the KV cache, roughly."""
    get, architecture = header.metadata.get, header.architecture
    width, layers, heads, kv_heads, size = (
        number if isinstance(number := get(f"{architecture}.{key}"), int) else default
        for key, default in (
            ("embedding_length", 4096),
            ("block_count", 32),
            ("attention.head_count", 32),
            ("attention.head_count_kv", 0),
            ("attention.key_length", 0),
        )
    )
    return 4 * layers * (kv_heads or heads) * (size or width // max(1, heads))


def _share_of(rows: Sequence[Sequence[int]], progress: Callable[[float], None]) -> Callable[[int], None]:
    """Takes how many tokens of `rows` were decoded, and says which share of them all that makes."""
    done, total = 0, sum(map(len, rows))

    def decoded(tokens: int) -> None:
        nonlocal done
        done += tokens
        progress(done / total)

    return decoded
