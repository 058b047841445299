"""Counts of preference data, and where it repeats or contradicts itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from chatapp.core.types import Group, Turn
from chatapp.preferences.pairs import group_pairs

Prompt = tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Stats:
    rankings: int
    """All-bad ones among them."""
    pairs: int
    """(chosen, rejected) rows that these give, demonstrations included."""
    demonstrations: int
    thumbs: int
    thumbs_up: int
    all_bad: int
    ties: int
    """Rankings in which two replies share a tier."""
    duplicates: int
    """Rankings whose prompt and replies another one had already, or that hold one text twice."""
    conflicts: int
    """Two texts under one prompt that were ordered both ways, by rankings, demonstrations or thumbs."""


def stats(groups: Iterable[Group]) -> Stats:
    groups = list(groups)
    rankings = [group for group in groups if group.tiers or group.all_bad]
    thumbs = [reply.thumb for group in groups for reply in group.replies if reply.thumb]
    return Stats(
        rankings=len(rankings),
        pairs=sum(len(group_pairs(group)) for group in groups),
        demonstrations=sum(group.demonstration is not None for group in groups),
        thumbs=len(thumbs),
        thumbs_up=sum(thumb > 0 for thumb in thumbs),
        all_bad=sum(group.all_bad for group in rankings),
        ties=sum(any(len(tier) > 1 for tier in group.tiers) for group in rankings),
        duplicates=_duplicates(rankings),
        conflicts=_conflicts(groups),
    )


def _duplicates(rankings: list[Group]) -> int:
    seen: set[tuple[Prompt, frozenset[str]]] = set()
    count = 0
    for group in rankings:
        texts = frozenset(reply.text for reply in group.replies)
        count += (group.prompt, texts) in seen or len(texts) < len(group.replies)
        seen.add((group.prompt, texts))
    return count


def _conflicts(groups: list[Group]) -> int:
    ordered: dict[Prompt, set[tuple[str, str]]] = defaultdict(set)
    thumbs: dict[Prompt, dict[int, set[str]]] = defaultdict(lambda: {1: set(), -1: set()})
    for group in groups:
        for better, worse in group_pairs(group):
            ordered[group.prompt].add((group.replies[better].text, group.replies[worse].text))
        for reply in group.replies:
            if reply.thumb:
                thumbs[group.prompt][reply.thumb].add(reply.text)
    for prompt, said in thumbs.items():
        ordered[prompt].update(product(said[1], said[-1]))
    return sum(a < b and (b, a) in pairs for pairs in ordered.values() for a, b in pairs)
