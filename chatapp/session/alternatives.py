"""More replies to one prompt that differ from each other and from those that are there already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from chatapp.core.types import Message, Sampling
from chatapp.engine.base import Started
from chatapp.session.updates import Removed, Replaced, Update
from chatapp.session.writing import Lane

ROUNDS = 5
"""How often lanes that repeat another reply are sampled again, each time hotter."""


class Batch(Protocol):
    """Replies that are written together; `writing.Writing` is one."""

    @property
    def started(self) -> Started | None: ...
    @property
    def lanes(self) -> list[Lane]: ...
    def run(self) -> Iterator[Update]: ...


Sample = Callable[[tuple[int, ...], int, int | None, int], Batch]
"""(lanes to write, first_lane, seed of the first round or None for that round itself, which round)."""


def hotter(sampling: Sampling, rounds: int) -> Sampling:
    """`sampling` for lanes that repeated another reply `rounds` times; greedy sampling stays greedy.

    A confident model repeats itself at any temperature: top-p and min-p leave it one token to choose from.
    They are opened, and XTC takes less likely ways to go on where there are some, which keeps the rest of
    the reply as sound as it was.
    """
    if sampling.temperature == 0 or rounds == 0:
        return sampling
    threshold = 0.1 / 4**rounds
    return replace(sampling, top_p=1.0, min_p=threshold, xtc_probability=0.3, xtc_threshold=threshold)


def same_text(text: str) -> str:
    """What two replies must share to count as duplicates: their words, whatever the case and the spaces."""
    return " ".join(text.split()).casefold()


def distinct_replies(
    sample: Sample,
    n: int,
    there: Sequence[Message],
    take_out: Callable[[int], None],
    stopped: Callable[[], bool],
) -> Iterator[Update]:
    """Write `n` replies in one batch, then again those that repeat another one or are empty.

    `there` are the replies that count as taken, `take_out` hides a reply that nobody needs to see. What the
    lanes say is judged in the order of the lanes once the batch is over, so that the same seed gives the same
    replies.
    """
    taken = {same_text(each.text) for each in there} | {""}
    numbers = tuple(range(n))
    seed: int | None = None
    used = 0
    for round_number in range(ROUNDS + 1):
        writing = sample(numbers, used, seed, round_number)
        yield from writing.run()
        if seed is None and writing.started is not None:
            seed = writing.started.seed
        used += len(numbers)
        again = []
        for lane in writing.lanes:
            if same_text(lane.text) not in taken:
                taken.add(same_text(lane.text))
            else:
                again.append(lane)
        last = round_number == ROUNDS or stopped()
        for lane in again:
            take_out(lane.reply.id)
            gone = Removed if last else Replaced
            yield gone(lane.reply.id, lane.number)
        if last or not again:
            return
        numbers = tuple(lane.number for lane in again)
