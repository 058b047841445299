"""Preference data from files into the store, each judgement once however often its file is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from chatapp.core.types import Group
from chatapp.preferences.formats.load import load_some
from chatapp.store.database import Store


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of one file. `groups` of it were taken, `known` were there already."""

    format: str
    groups: int
    known: int
    unjudged: int
    """Groups in which nobody said anything of the replies."""
    malformed: tuple[str, ...]
    """One line for each line of the file that was passed over."""


def import_rankings(
    store: Store,
    file: Path,
    format: str = "auto",
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Imported:
    """Read `file` into a new conversation, all that is not in the store already, all of that or nothing.
    `told` hears how many groups are written, and of how many.

    Errors: `FormatError` when the file, or every line of it, cannot be read as `format`.
    """
    loaded = load_some(file, format)
    there = Counter(mark for group in store.groups.list() for mark in marks(group))
    fresh: list[Group] = []
    known = unjudged = 0
    for group in loaded.groups:
        own = Counter(marks(group))
        if not own:
            unjudged += 1
        elif own <= there:
            known += 1
            there -= own
        else:
            fresh.append(group)
    if fresh:
        store.groups.add(_telling(fresh, told), f"Imported from {file.name}", f"import:{file.name}")
    malformed = tuple(str(each) for each in loaded.malformed)
    return Imported(loaded.format, len(fresh), known, unjudged, malformed)


def _telling(groups: Sequence[Group], told: Callable[[int, int], None]) -> Iterator[Group]:
    for place, group in enumerate(groups):
        if place:
            told(place, len(groups))
        yield group


def marks(group: Group) -> Iterator[str]:
    """A digest of the content of each judgement in `group`: its order, its demonstration, its thumbs."""
    texts = [reply.text for reply in group.replies]
    prompt = [(turn.role, turn.text) for turn in group.prompt]
    if group.tiers or group.all_bad:
        tier_of = {place: tier for tier, places in enumerate(group.tiers) for place in places}
        order = sorted((tier_of.get(place, -1), text) for place, text in enumerate(texts))
        yield _digest((prompt, "order", order, group.all_bad))
    if group.demonstration is not None:
        better = texts[group.demonstration]
        others = sorted(text for place, text in enumerate(texts) if place != group.demonstration)
        yield _digest((prompt, "demonstration", better, others))
    for reply in group.replies:
        if reply.thumb:
            yield _digest((prompt, "thumb", reply.text, reply.thumb))


def _digest(value: Iterable[object]) -> str:
    return sha256(repr(value).encode("utf-8", "replace")).hexdigest()
