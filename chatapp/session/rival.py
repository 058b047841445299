"""Alternatives by two adapters: the one in use and the one before it, so that rankings tell which is better.

The two write one after the other, since one model has one adapter at a time. Who writes which lane, and who
comes first, is drawn with the seed, so the place on the screen says nothing of the writer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from chatapp.core.errors import NotFound
from chatapp.engine.base import AdapterSpec, Started
from chatapp.session.updates import Update
from chatapp.session.writing import Lane, Writing
from chatapp.store.database import Store

Write = Callable[[AdapterSpec | None, tuple[int, ...], int, int | None, int], Writing]
"""(who writes, lanes to write, first_lane, seed, which round)."""


@dataclass(frozen=True, slots=True)
class Rival:
    adapter: AdapterSpec | None
    """None is the base."""


def rival_of(store: Store, adapter: AdapterSpec | None) -> Rival | None:
    """What stands before `adapter`: its parent, or the base.

    None for the base, for an adapter that no training of this store made, and where a file is gone.
    """
    if adapter is None or not adapter.path.is_file():
        return None
    try:
        before = store.adapters.before(store.adapters.get(adapter.name))
    except NotFound:
        return None
    if before is None:
        return Rival(None)
    file = adapter.path.parent.with_name(before.name) / adapter.path.name
    return Rival(AdapterSpec(before.name, file)) if file.is_file() else None


class TwoWriters:
    """An `alternatives.Sample` that shares `n` lanes between two adapters.

    `other` gets the odd one: the reply that is there already was written by `own`. `set_adapter` makes the
    engine write as one of them.
    """

    def __init__(
        self,
        own: AdapterSpec | None,
        other: AdapterSpec | None,
        n: int,
        seed: int | None,
        write: Write,
        set_adapter: Callable[[AdapterSpec | None], object],
    ) -> None:
        self._seed = random.randrange(2**31 - 2 * n) if seed is None else seed
        self._write = write
        self._set_adapter = set_adapter
        source = random.Random(self._seed)
        lanes = source.sample(range(n), n)
        self._shares = [(own, frozenset(lanes[: n // 2])), (other, frozenset(lanes[n // 2 :]))]
        source.shuffle(self._shares)

    def __call__(
        self, numbers: tuple[int, ...], first_lane: int, seed: int | None, round_number: int
    ) -> InTurn:
        parts = []
        for adapter, share in self._shares:
            if own := tuple(number for number in numbers if number in share):
                # Seeds of their own: two adapters that are alike would else write the same.
                writing = self._write(adapter, own, first_lane, self._seed, round_number)
                parts.append((adapter, writing))
                first_lane += len(own)
        return InTurn(parts, self._set_adapter)


@dataclass(frozen=True, slots=True)
class InTurn:
    """Several requests as one batch, each under its own adapter."""

    parts: Sequence[tuple[AdapterSpec | None, Writing]]
    set_adapter: Callable[[AdapterSpec | None], object]

    @property
    def started(self) -> Started | None:
        return self.parts[0][1].started

    @property
    def lanes(self) -> list[Lane]:
        return sorted((lane for _, each in self.parts for lane in each.lanes), key=lambda lane: lane.number)

    def run(self) -> Iterator[Update]:
        """Errors: those of the engine."""
        for adapter, writing in self.parts:
            if not writing.stopped():
                self.set_adapter(adapter)
                yield from writing.run()
