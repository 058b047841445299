"""From what people said (preference groups) to rows of token ids, split once and for all into two parts."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile

from chatapp.core.types import Group, Turn
from chatapp.engine.prompt import first_that_fits, without_oldest
from chatapp.preferences.pairs import group_pairs
from chatapp.training.base import Encoder, Ids

LONGEST_ROW = 2048
"""Tokens of a prompt with any one of its replies at most."""
HELD_OUT = 0.4
"""Share of conversations whose judgements are never trained on."""


@dataclass(frozen=True, slots=True)
class RankingRow:
    """One prompt, several replies and their places; also a demonstration over what it replaced."""

    prompt: Ids
    """Up to and including the tokens that open the assistant's turn."""
    replies: tuple[Ids, ...]
    """Each with the token that ends it, save those that were cut off."""
    tiers: tuple[int, ...]
    """Place of each reply, 0 is best; equal places are ties."""
    key: str = ""
    """Conversations with equal keys are on the same side of the split."""
    weight: float = 1.0
    unfinished: frozenset[Ids] = frozenset()
    """Those of `replies` that were cut off."""

    def pairs(self) -> list[tuple[int, int]]:
        """(better, worse) indices into `replies`; nothing for ties."""
        places = range(len(self.replies))
        return [(i, j) for i in places for j in places if self.tiers[i] < self.tiers[j]]


@dataclass(frozen=True, slots=True)
class SftRow:
    """A conversation of which the tokens with mask 1 are to be learned."""

    ids: Ids
    mask: Ids
    key: str = ""

    @property
    def opening(self) -> Ids:
        """What stands before the first reply."""
        return self.ids[: self.mask.index(1)]


@dataclass(frozen=True, slots=True)
class ThumbRow:
    prompt: Ids
    reply: Ids
    good: bool
    key: str = ""
    weight: float = 1.0
    finished: bool = True


@dataclass(slots=True)
class Side:
    """One side of the split."""

    rankings: list[RankingRow] = field(default_factory=list)
    demonstrations: list[SftRow] = field(default_factory=list)
    thumbs: list[ThumbRow] = field(default_factory=list)
    prompts: list[Ids] = field(default_factory=list)
    """Each prompt once: those that were judged, then those that stood before them in their conversations."""


@dataclass(slots=True)
class Data:
    train: Side
    held_out: Side
    sha256: str
    """Of everything that came in."""
    undecided: int = 0
    """Rankings that put all their replies in one tier, or whose replies read the same: nothing to learn
    from."""
    all_bad: int = 0
    contradictions: int = 0
    """Pairs of texts that were ordered both ways."""
    duplicates: int = 0
    """Groups that say the same of the same texts again; each is used once."""
    limit: int = LONGEST_ROW
    """Tokens that a prompt and a reply may have."""
    too_long: int = 0
    """Groups of which too little fits to say what they said."""
    cut: int = 0
    """Replies that did not fit and were left out of groups that say something without them."""
    empty: int = 0
    """Groups with a reply of no tokens at all, of a model whose template does not end one."""

    @property
    def rankings(self) -> int:
        return len(self.train.rankings) + len(self.held_out.rankings)


def split_key(prompt: Sequence[Turn]) -> str:
    """Normalised first user turn: all of one conversation shares it, and so do re-tellings of it."""
    first = next((turn.text for turn in prompt if turn.role == "user"), "")
    words = re.findall(r"\w+", first.casefold())
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:16]


def is_held_out(key: str, share: float = HELD_OUT) -> bool:
    """The same answer for ever: it depends on the key alone."""
    return int(hashlib.sha256(f"held out {key}".encode()).hexdigest()[:8], 16) < share * 2**32


def digest(groups: Iterable[Group]) -> str:
    """SHA-256 of everything that is said in `groups`."""
    found = hashlib.sha256()
    for group in groups:
        said = (group.prompt, group.replies, group.tiers, group.all_bad, group.demonstration)
        found.update(repr(said).encode())
    return found.hexdigest()


def build(
    groups: Iterable[Group],
    encoder: Encoder,
    *,
    max_tokens: int = LONGEST_ROW,
    share: float = HELD_OUT,
    weight: Callable[[Group], float] = lambda _: 1.0,
) -> Data:
    """Encode `groups` and split them by conversation. Where a prompt and a reply take more than `max_tokens`
    tokens, old turns go first, then the reply (`cut`), then the group (`too_long`). `weight` is how much a
    ranking counts."""
    groups = list(groups)
    data = Data(Side(), Side(), digest(groups), limit=max_tokens)
    said: Counter[tuple[str, str, str]] = Counter()
    seen: set[str] = set()
    ids_of = cache(lambda turns: tuple(encoder.encode(turns).ids))
    earlier: dict[int, list[Ids]] = {id(data.train): [], id(data.held_out): []}
    for group in groups:
        key = split_key(group.prompt)
        side = data.held_out if is_held_out(key, share) else data.train
        same = _said(group)
        if same in seen:
            data.duplicates += 1
            continue
        seen.add(same)
        context = repr(group.prompt)
        for better, worse in group_pairs(group):
            said[context, group.replies[better].text, group.replies[worse].text] += 1
        encoded = _encode(group, encoder, max_tokens)
        if encoded is None:
            data.too_long += 1
            continue
        if not all(encoded[1].values()):
            data.empty += 1
            continue
        data.cut += len(group.replies) - len(encoded[1])
        _place(group, key, encoded, side, data, weight(group))
        earlier[id(side)] += _earlier(group.prompt, ids_of, max_tokens)
    data.contradictions = sum(1 for context, a, b in said if a < b and (context, b, a) in said)
    for side in (data.train, data.held_out):
        side.rankings += _from_thumbs(side.thumbs)
        prompts = [row.prompt for row in side.rankings] + [row.prompt for row in side.thumbs]
        side.prompts = list(dict.fromkeys(prompts + side.prompts + earlier[id(side)]))
    return data


def _from_thumbs(thumbs: Sequence[ThumbRow]) -> list[RankingRow]:
    """A reply with a thumb up is better than one to the same prompt with a thumb down."""
    by_prompt: dict[Ids, list[ThumbRow]] = {}
    for thumb in thumbs:
        by_prompt.setdefault(thumb.prompt, []).append(thumb)
    made = (
        distinct(
            prompt,
            [(each.reply, int(not each.good)) for each in own],
            own[0].key,
            max(each.weight for each in own),
            (each.reply for each in own if not each.finished),
        )
        for prompt, own in by_prompt.items()
    )
    return [row for row in made if row is not None]


def _said(group: Group) -> str:
    """The same for two groups that say the same of the same texts."""
    order = [sorted(group.replies[place].text for place in tier) for tier in group.tiers]
    written = None if group.demonstration is None else group.replies[group.demonstration].text
    texts = sorted((each.text, each.thumb) for each in group.replies)
    return repr((group.prompt, texts, order, group.all_bad, written))


def encode_prompt(turns: Sequence[Turn], encoder: Encoder, limit: int) -> Ids | None:
    """Ids of a prompt to which nobody judged a reply, without as many of the oldest turns as it takes to be
    shorter than `limit`."""
    encoded = _encode(Group(tuple(turns), ()), encoder, limit)
    return None if encoded is None else encoded[0]


def _encode(group: Group, encoder: Encoder, limit: int) -> tuple[Ids, dict[int, Ids]] | None:
    """Ids of the prompt and of the replies by their places, without as many of the oldest turns as it takes
    for the longest to fit into `limit`. A reply that does not fit even so is left out; None where
    what is left does not say what the group said."""
    shorter = without_oldest(group.prompt)

    def encoded(kept: Sequence[Turn], places: Collection[int]) -> tuple[Ids, dict[int, Ids]] | None:
        """Those of the replies at `places` that fit; None where the prompt does not."""
        prompt = tuple(encoder.encode(kept).ids)
        if len(prompt) >= limit:
            return None
        replies = {}
        for place in places:
            each = group.replies[place]
            ids = encode_reply(encoder, kept, prompt, each.text, each.finished)
            if len(prompt) + len(ids) <= limit:
                replies[place] = ids
        return prompt, replies

    def with_all(places: Collection[int]) -> tuple[Ids, dict[int, Ids]] | None:
        def made(kept: Sequence[Turn]) -> tuple[Ids, dict[int, Ids]] | None:
            found = encoded(kept, places)
            return None if found is None or len(found[1]) < len(places) else found

        return first_that_fits(shorter, made)

    if not shorter:
        return None
    every = range(len(group.replies))
    if (found := with_all(every)) is not None:
        return found
    found = encoded(shorter[-1], every)
    return None if found is None or not _says_it(group, found[1]) else with_all(found[1])


def _says_it(group: Group, places: Collection[int]) -> bool:
    """Whether the replies at `places` still say what all of `group` said."""
    if group.demonstration is not None and group.demonstration in places:
        return True
    tiers = sum(any(place in places for place in tier) for tier in group.tiers)
    if group.demonstration is not None or len(group.tiers) > 1:
        return tiers > 1
    return bool(places) or not group.replies


def _earlier(turns: Sequence[Turn], ids_of: Callable[[tuple[Turn, ...]], Ids], limit: int) -> list[Ids]:
    """The prompts that stood before the last one in the same conversation."""
    found: list[Ids] = []
    for at, turn in enumerate(turns[:-1]):
        if turn.role == "user":
            ids = ids_of(tuple(turns[: at + 1]))
            if len(ids) >= limit:
                break
            found.append(ids)
    return found


def encode_reply(
    encoder: Encoder, turns: Sequence[Turn], prompt: Sequence[int], text: str, finished: bool = True
) -> Ids:
    """The ids of an assistant's `text` after `turns`, whose ids are `prompt`, with the token that ends it
    where it is `finished`."""
    whole = encoder.encode([*turns, Turn("assistant", text)])
    # Some templates open a reply with more (`<think>`) than they write around one that is there.
    same = takewhile(lambda pair: pair[0] == pair[1], zip(prompt, whole.ids, strict=False))
    start = sum(1 for _ in same)
    ids = tuple(token for token, own in zip(whole.ids[start:], whole.mask[start:], strict=True) if own)
    if finished:
        return ids
    # What a reply without any text has is its ending.
    ending = encode_reply(encoder, turns, prompt, "")
    ends = takewhile(lambda pair: pair[0] == pair[1], zip(reversed(ids), reversed(ending), strict=False))
    return ids[: len(ids) - sum(1 for _ in ends)]


def _place(
    group: Group, key: str, encoded: tuple[Ids, dict[int, Ids]], side: Side, data: Data, weight: float
) -> None:
    prompt, replies = encoded
    side.prompts.append(prompt)
    for place, ids in replies.items():
        reply = group.replies[place]
        if reply.thumb:
            side.thumbs.append(ThumbRow(prompt, ids, reply.thumb > 0, key, weight, reply.finished))
    if group.demonstration in replies:
        own = replies[group.demonstration]
        side.demonstrations.append(SftRow(prompt + own, (0,) * len(prompt) + (1,) * len(own), key))
    if group.all_bad:
        data.all_bad += 1
    places = {place: tier for tier, members in enumerate(group.tiers) for place in members}
    if group.demonstration is not None and not places:
        places = {place: int(place != group.demonstration) for place in range(len(group.replies))}
    ranked = [(replies[place], places[place]) for place in sorted(places) if place in replies]
    if not ranked or len(ranked) == 1 < len(places):
        return  # also an edit of which all that it replaced was left out
    cut_off = (ids for place, ids in replies.items() if not group.replies[place].finished)
    row = distinct(prompt, ranked, key, weight, cut_off)
    if row is None:
        data.undecided += 1
    else:
        side.rankings.append(row)


def distinct(
    prompt: Ids,
    ranked: Sequence[tuple[Ids, int]],
    key: str = "",
    weight: float = 1.0,
    unfinished: Iterable[Ids] = (),
) -> RankingRow | None:
    """A row in which each reply stands once, at its best place; None when nothing is ordered any more."""
    best: dict[Ids, int] = {}
    for ids, tier in ranked:
        best[ids] = min(tier, best.get(ids, tier))
    if len(set(best.values())) < 2:
        return None
    cut_off = frozenset(each for each in unfinished if each in best)
    return RankingRow(prompt, tuple(best), tuple(best.values()), key, weight, cut_off)


def conversation_rows(
    conversations: Iterable[Sequence[Turn]], encoder: Encoder, limit: int = LONGEST_ROW
) -> list[SftRow]:
    """General dialogue for the replay term and for perplexity: every assistant turn is learned."""
    rows = []
    for turns in conversations:
        encoded = encoder.encode(turns)
        if 1 < len(encoded.ids) <= limit and any(encoded.mask[1:]):
            rows.append(SftRow(tuple(encoded.ids), tuple(encoded.mask), split_key(turns)))
    return rows
