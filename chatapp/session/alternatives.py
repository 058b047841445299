"""More replies to one prompt that differ from each other and from those that are there already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from chatapp.core.types import Message
from chatapp.session.updates import Removed, Replaced, Update
from chatapp.session.writing import Writing

ROUNDS = 3
"""How often lanes that repeat another reply are sampled again."""

Sample = Callable[[tuple[int, ...], int, int | None], Writing]
"""(numbers of the lanes to write, first_lane, seed of the first round or None for that round itself)."""


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
        writing = sample(numbers, used, seed)
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
