"""Which judgements an adapter learned from: what its run, and those of its ancestors, kept of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chatapp.core.errors import NotFound
from chatapp.core.types import Group
from chatapp.session.run_folder import RunFolder
from chatapp.store.adapters import Adapters
from chatapp.training.data import digest, is_held_out, split_key


@dataclass(frozen=True, slots=True)
class Fresh:
    """The judgements that none of the adapters learned from."""

    groups: list[Group]
    unknown: tuple[str, ...]
    """Adapters of which it is not known any more what they learned from."""


def unlearned(groups: Sequence[Group], names: Iterable[str], adapters: Adapters, runs: Path) -> Fresh:
    """What of `groups` the adapters `names`, and those that they were trained on top of, never learned from.

    A conversation counts as a whole. Where a run is gone, its digest says whether it was of these `groups`.
    """
    keys: set[str] = set()
    unknown: set[str] = set()
    waiting, own = list(names), digest(groups)
    while waiting:
        name = waiting.pop()
        try:
            adapter = adapters.get(name)
            waiting += [] if adapter.parent is None else [adapter.parent]
            learned = groups if adapter.data_sha256 == own else RunFolder(runs / adapter.run).groups()
        except (NotFound, OSError):
            unknown.add(name)
            continue
        keys |= {split_key(each.prompt) for each in learned}
    fresh = [each for each in groups if (key := split_key(each.prompt)) not in keys or is_held_out(key)]
    return Fresh(fresh, tuple(sorted(unknown)))
