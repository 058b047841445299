"""One request on a context: keep the shared prefix, prefill the rest, decode all lanes in one batch."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chatapp.core.errors import EngineError
from chatapp.core.types import FinishReason, Sampling
from chatapp.engine.base import Delta, Event, LaneDone, Started
from chatapp.engine.lane_text import LaneText

if TYPE_CHECKING:
    from chatapp.engine.llama import CancelFlag, LlamaContext, SamplerChain, Vocabulary

_CANCELLED = 2


@dataclass(frozen=True, slots=True)
class Job:
    """A request after templating. `stop` holds the template's own stop strings too."""

    ids: Sequence[int]
    """The prompt, and behind it the tokens of `text`."""
    sampling: Sampling
    lanes: int
    first_lane: int
    stop: tuple[str, ...]
    dropped_turns: int
    begun: float
    """time.monotonic() when the request came in."""
    past_end: bool = False
    text: str = ""
    """What the replies begin with."""
    written: int = 0
    """How many tokens that is."""


def _chunks(start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """`start` to `end` in chunks of `size`, none of them of one token alone if that can be helped."""
    while start < end:
        stop = min(start + size, end)
        if end - stop == 1 and stop - start > 2:
            stop -= 1
        yield start, stop
        start = stop


@dataclass(slots=True)
class _Lane:
    number: int
    seed: int
    text: LaneText
    sampler: SamplerChain
    position: int
    """Where its next token stands."""
    output: int = -1
    """Row of the last batch that holds its logits."""
    count: int = 0
    first: float | None = None
    token: int = field(default=-1)


class Decoder:
    """Runs jobs, one at a time, and keeps sequence 0 in the KV cache for the next one."""

    def __init__(
        self, context: LlamaContext, vocabulary: Vocabulary, flag: CancelFlag, n_ctx: int, cells: int
    ) -> None:
        self._context = context
        self._vocabulary = vocabulary
        self._flag = flag
        self._n_ctx = n_ctx
        self._cells = cells
        self._cached: list[int] = []
        """The tokens of sequence 0 that are in the KV cache."""

    def forget(self) -> None:
        """Clear the KV cache: what is in it belongs to another adapter or is unknown."""
        self._context.clear()
        self._cached = []

    def run(self, job: Job) -> Iterator[Event]:
        """The events of `job`, in the order that `base.Engine.generate` promises."""
        asked = job.sampling.seed
        seed = secrets.randbelow(2**31) if asked is None else asked % 2**32
        seeds = [(seed + job.first_lane + lane) % 2**32 for lane in range(job.lanes)]
        cached = self._prefill(job.ids)
        yield Started(len(job.ids), cached, job.dropped_turns, self._n_ctx, seed)
        if self._flag.is_set():
            for number, own in enumerate(seeds):
                yield LaneDone(number, "cancelled", 0, None, time.monotonic() - job.begun, own)
            return
        lanes = [self._lane(job, number, own) for number, own in enumerate(seeds)]
        try:
            for lane in lanes[1:]:
                self._context.copy(0, lane.number)
            for lane in lanes:
                if text := lane.text.begin(job.text):
                    yield Delta(lane.number, text)
            yield from self._sample_all(job, lanes)
        except EngineError:
            self.forget()
            raise
        finally:
            for lane in lanes:
                lane.sampler.close()
                if lane.number:
                    self._context.drop(lane.number)
            self._trim()

    def _lane(self, job: Job, number: int, seed: int) -> _Lane:
        from chatapp.engine.llama import SamplerChain

        chain = SamplerChain(job.sampling, seed, self._vocabulary.size)
        for token in job.ids[len(job.ids) - job.written :]:
            chain.accept(token)
        return _Lane(number, seed, LaneText(job.stop), chain, len(job.ids))

    def _prefill(self, ids: Sequence[int]) -> int:
        """Bring `ids` into sequence 0; how many of them were there already. Stops early when cancelled."""
        shared = 0
        for old, new in zip(self._cached, ids, strict=False):
            if old != new:
                break
            shared += 1
        # The last token is always decoded again, for its logits, and one more with it: a batch of one takes
        # other kernels, and a reply must not depend on what was in the cache.
        shared = max(0, min(shared, len(ids) - 2))
        del self._cached[shared:]
        if not self._trim():
            shared = 0
        for start, end in _chunks(shared, len(ids), self._context.batch):
            chunk = ids[start:end]
            status = self._decode(
                [(token, start + at, 0, start + at == len(ids) - 1) for at, token in enumerate(chunk)]
            )
            if status == _CANCELLED or self._flag.is_set():
                # A cancelled chunk may be in the cache in part.
                self._trim()
                break
            if status != 0:
                self.forget()
                raise EngineError("the prompt does not fit into the KV cache", "raise n_ctx in config.toml")
            self._cached.extend(chunk)
        return shared

    def _trim(self) -> bool:
        """Make sequence 0 hold exactly what `_cached` says; False when it had to be cleared."""
        if self._context.truncate(0, len(self._cached)):
            return True
        # Recurrent models cannot forget a part.
        self.forget()
        return False

    def _decode(self, rows: Sequence[tuple[int, int, int, bool]]) -> int:
        from chatapp.engine.llama import Row

        return self._context.decode([Row(*row) for row in rows])

    def _sample_all(self, job: Job, lanes: list[_Lane]) -> Iterator[Event]:
        room = min(self._n_ctx - len(job.ids), (self._cells - len(job.ids)) // job.lanes)
        most = max(1, min(job.sampling.max_tokens, room))
        running = lanes
        while running:
            still: list[_Lane] = []
            for lane in running:
                reason: FinishReason | None = "cancelled" if self._flag.is_set() else None
                if reason is None:
                    text, reason = self._advance(lane, job, most)
                    if text:
                        yield Delta(lane.number, text)
                if reason is None:
                    still.append(lane)
                else:
                    yield from self._finish(lane, reason, job.begun)
            running = still
            if not running:
                return
            rows = [(lane.token, lane.position, lane.number, True) for lane in running]
            status = self._decode(rows)
            if status == 0:
                for output, lane in enumerate(running):
                    lane.output = output
                    lane.position += 1
                    if lane.number == 0:
                        self._cached.append(lane.token)
                continue
            for lane in running:
                yield from self._finish(lane, "cancelled" if status == _CANCELLED else "length", job.begun)
            return

    def _advance(self, lane: _Lane, job: Job, most: int) -> tuple[str, FinishReason | None]:
        """Sample one token of `lane`: the text that it completes, and why the reply ends if it does."""
        lane.token = lane.sampler.sample(self._context, lane.output)
        if lane.first is None:
            lane.first = time.monotonic() - job.begun
        if self._vocabulary.is_end(lane.token) and not job.past_end:
            return "", "stop"
        lane.count += 1
        text = lane.text.feed(self._vocabulary.piece(lane.token))
        if lane.text.stopped:
            return text, "stop"
        return text, "length" if lane.count >= most else None

    def _finish(self, lane: _Lane, reason: FinishReason, begun: float) -> Iterator[Event]:
        rest = lane.text.finish()
        if rest:
            yield Delta(lane.number, rest)
        if lane.number:
            # Its cells are free for the others from now on.
            self._context.drop(lane.number)
        yield LaneDone(lane.number, reason, lane.count, lane.first, time.monotonic() - begun, lane.seed)
