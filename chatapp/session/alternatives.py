"""More replies to one prompt that differ from each other and from those that are there already."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from chatapp.core.types import Message, Sampling
from chatapp.engine.base import Started
from chatapp.session.updates import Began, Finished, Removed, Replaced, Update
from chatapp.session.writing import Lane

_RARE = (0.025, 0.025, 0.01, 0.01, 0.006, 0.006, 0.0016, 0.0004, 0.0001)
"""The least probability of a token that XTC may choose, round by round."""
ROUNDS = len(_RARE)
"""How often lanes that repeat another reply are sampled again, each time at least as hot."""
ALIKE_ROUNDS = 6
"""How often lanes that say nearly what another reply says are."""
ALIKE = 0.8
"""Replies with a smaller `distance` are alike. Of 100 times four replies of the embedded model, 53 had some
that ask back and some that do not; written again below this, 79 have."""
LONG = 40
"""Words from which a reply is never called alike: it differs somewhere, and writing it again takes long."""


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
    the reply as sound as it was, down to about one in a hundred. The last rounds go below that: what still
    repeats another reply then becomes odd rather than missing.
    """
    if sampling.temperature == 0 or rounds == 0:
        return sampling
    threshold = _RARE[rounds - 1]
    return replace(sampling, top_p=1.0, min_p=threshold, xtc_probability=0.3, xtc_threshold=threshold)


def same_text(text: str) -> str:
    """What two replies must share to count as duplicates: their words, whatever the case and the spaces."""
    return " ".join(text.split()).casefold()


def distance(one: str, other: str) -> float:
    """Share of the words of both that they do not have in common (Jaccard 1912), from 0 to 1; a question mark
    is a word."""
    a, b = _words(one), _words(other)
    return 1 - len(a & b) / len(a | b) if a | b else 0.0


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[\w']+|\?", text.casefold()))


@dataclass(slots=True)
class _Shown:
    """What stands beside each other on the screen, and what must not come again."""

    taken: set[str]
    texts: list[str] = field(default_factory=list)

    def new(self, lane: Lane) -> bool:
        return same_text(lane.text) not in self.taken

    def apart(self, lane: Lane) -> float:
        """Distance to the nearest of the others."""
        return min((distance(lane.text, each) for each in self.texts), default=1.0)

    def alike(self, lane: Lane) -> bool:
        return self.apart(lane) < ALIKE and len(lane.text.split()) < LONG

    def take(self, lane: Lane) -> None:
        self.taken.add(same_text(lane.text))
        self.texts.append(lane.text)


def distinct_replies(
    sample: Sample,
    n: int,
    there: Sequence[Message],
    beside: Sequence[Message],
    take_out: Callable[[int], None],
    stays: Callable[[int], bool],
    stopped: Callable[[], bool],
) -> Iterator[Update]:
    """Write `n` replies in one batch, then again those that repeat another one, are empty, or are alike.

    `there` are the replies that count as taken, `beside` those that will be shown with the new ones,
    `take_out` hides a reply that nobody needs to see. A reply that is merely alike stays in the store until
    one that is less so has come; where none comes, it is brought back. One that `stays`, by its id, may be
    alike. What the lanes say is judged in the order of the lanes once the batch is over, so that the same
    seed gives the same replies.
    """
    shown = _Shown({same_text(each.text) for each in there} | {""}, [each.text for each in beside])
    numbers = tuple(range(n))
    seed: int | None = None
    used = 0
    spare: dict[int, Lane] = {}
    """By number of the lane, a reply that is there to be brought back."""
    for round_number in range(ROUNDS + 1):
        writing = sample(numbers, used, seed, round_number)
        yield from writing.run()
        if seed is None and writing.started is not None:
            seed = writing.started.seed
        used += len(numbers)
        last = round_number == ROUNDS or stopped()
        again = []
        for lane in writing.lanes:
            before = spare.pop(lane.number, None)
            usable = [each for each in (lane, before) if each is not None and shown.new(each)]
            if before in usable and lane.reply.finish_reason == "cancelled":
                usable = [each for each in usable if each is before]
            chosen = [each for each in usable if stays(each.reply.id)]
            best = max(chosen or usable, key=shown.apart, default=None)
            for each in (lane, before):
                if each is not None and each is not best:
                    take_out(each.reply.id)
            enough = last or round_number >= ALIKE_ROUNDS or chosen
            if best is not None and (enough or not shown.alike(best)):
                shown.take(best)
                if best is not lane:
                    yield from _brought_back(best, lane)
            elif last:
                yield Removed(lane.reply.id, lane.number)
            else:
                if best is not None:
                    spare[lane.number] = best
                again.append(lane.number)
                yield Replaced(lane.reply.id, lane.number)
        if not again:
            return
        numbers = tuple(again)


def _brought_back(earlier: Lane, lane: Lane) -> Iterator[Update]:
    """The lane shows what it said before."""
    yield Replaced(lane.reply.id, lane.number)
    yield Began(earlier.reply, lane.number)
    yield Finished(earlier.reply, lane.number)
