"""The engine as training uses it: ids, log-probabilities, states, many samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from chatapp.core.types import Sampling, Turn
from chatapp.engine import messages
from chatapp.engine.base import AdapterSpec, Encoded, RowScore, Sample
from chatapp.engine.client import LlamaClient, expected

_MESSAGE_TOKENS = 100_000
"""Tokens that are scored in one message."""


class TuningClient(LlamaClient):
    """An engine with what training and reward models need beside replies. Rows are token ids.

    Every method may raise `EngineError`, `EngineDied`, and `PromptTooLong` for a row that does not fit.
    """

    def encode(self, turns: Sequence[Turn]) -> Encoded:
        """Token ids and loss mask of `turns`; a reply is opened when the last turn is not the assistant's."""
        answer = self._asked(lambda id: messages.Encode(id, tuple(turns)))
        return expected(answer, messages.EncodedAnswer).encoded

    def logprobs(self, rows: Sequence[Sequence[int]]) -> tuple[RowScore, ...]:
        """Each row of token ids under the model with the adapter that is set."""
        scores: list[RowScore] = []
        for group in _messages_of(rows):
            answer = self._asked(lambda id, group=group: messages.Logprobs(id, group))  # type: ignore[misc]
            scores += expected(answer, messages.LogprobsAnswer).rows
        return tuple(scores)

    def states(
        self, rows: Sequence[Sequence[int]], adapter: AdapterSpec | None = None
    ) -> tuple[tuple[float, ...], ...]:
        """(rows, width) the last token's hidden state of each row after the final norm, under `adapter`.

        The chat's own adapter and its KV cache stay as they are.
        """
        self._check_adapter(adapter)
        own = tuple(tuple(row) for row in rows)
        answer = self._asked(lambda id: messages.States(id, own, adapter))
        return expected(answer, messages.StatesAnswer).rows

    def rollout(
        self,
        prompts: Sequence[Sequence[int]],
        samples: int,
        sampling: Sampling,
        progress: Callable[[float], None] | None = None,
    ) -> tuple[tuple[Sample, ...], ...]:
        """`samples` replies to each prompt (token ids that end where the reply begins), many at once.

        Sample j of prompt i draws with the seed `sampling.seed + i * samples + j`; the adapter that is set
        is on.
        """
        if not prompts:
            return ()
        own = tuple(tuple(prompt) for prompt in prompts)
        answer = self._asked(lambda id: messages.Rollout(id, own, samples, sampling), progress)
        return expected(answer, messages.RolloutAnswer).samples


def _messages_of(rows: Sequence[Sequence[int]]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """`rows` in groups that are not too large for one message each."""
    group: list[tuple[int, ...]] = []
    tokens = 0
    for row in rows:
        if group and tokens + len(row) > _MESSAGE_TOKENS:
            yield tuple(group)
            group, tokens = [], 0
        group.append(tuple(row))
        tokens += len(row)
    if group:
        yield tuple(group)
