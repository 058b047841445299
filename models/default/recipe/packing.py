"""Token pools on disk and rows of whole dialogues for training."""
from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from clean import Turn
from dialogues.meant import Copied, Meant
from tokenizer import ASSISTANT_WEIGHT, encode, opening
from tokenizers import Tokenizer

COPIED_WEIGHT = 3  # times that of the other words of a reply
ANSWERED = ("app", "noisy", "contrast", "talk", "limits")
"""Of these the replies alone are learnt: what people ask there is no example."""


@dataclass
class Pool:
    """Dialogues of one source as one flat array; turns can be cut at."""

    ids: np.ndarray
    weights: np.ndarray
    docs: np.ndarray   # start of each dialogue, and the end of the last
    turns: np.ndarray  # start of each turn, over all dialogues
    meant: np.ndarray  # at the last token before a reply: what it replies to
    reply: np.ndarray  # at the tokens of a reply: where its turn starts
    source: np.ndarray  # at a token that a reply takes over: where it stands before

    @staticmethod
    def build(tokenizer: Tokenizer, dialogues: list[list[Turn]],
              meanings: dict[str, int] | None = None) -> Pool:
        """Encode dialogues. `meanings` numbers what turns mean (-1 where it
        is not known) and grows by what is new."""
        meanings = {} if meanings is None else meanings
        ids, weights, docs, turns, total = [], [], [0], [], 0
        meant, reply, source = [], [], []
        head = len(opening(tokenizer, "assistant"))
        for dialogue in dialogues:
            i, w, starts = encode(tokenizer, dialogue)
            ids.append(i)
            weights.append(w)
            meant.append(np.full(len(i), -1, np.int16))
            reply.append(np.full(len(i), -1, np.int32))
            source.append(np.full(len(i), -1, np.int32))
            for place, origin in copies(tokenizer, dialogue, starts):
                source[-1][place] = total + origin
                w[place] *= COPIED_WEIGHT
            before = ""
            for (role, text), (start, end) in zip(
                    dialogue, pairwise([*starts, len(i)]), strict=True):
                if role == "assistant":
                    reply[-1][start + head:end] = total + start
                    if name := Meant.of(before):
                        meant[-1][start + head - 1] = meanings.setdefault(name, len(meanings))
                before = text
            turns += [total + s for s in starts]
            total += len(i)
            docs.append(total)
        return Pool(np.concatenate(ids), np.concatenate(weights),
                    np.array(docs), np.array(turns), np.concatenate(meant),
                    np.concatenate(reply), np.concatenate(source))

    def answers_only(self) -> None:
        """Learn the replies alone: what stands between them is no example."""
        self.weights[self.weights < ASSISTANT_WEIGHT] = 0

    def save(self, path: Path) -> None:
        """Write to an .npz file."""
        np.savez(path, **vars(self))

    @staticmethod
    def load(path: Path) -> Pool:
        """Read what `save` wrote."""
        with np.load(path) as f:
            return Pool(**f)

    def pieces(self, n: int, limit: int) -> Iterator[slice]:
        """Dialogue `n` in pieces of at most `limit`, cut between turns."""
        start, end = int(self.docs[n]), int(self.docs[n + 1])
        while end - start > limit:
            first, last = np.searchsorted(self.turns, [start, start + limit], "right")
            cut = int(self.turns[last - 1]) if last > first else start + limit
            yield slice(start, cut)
            start = cut
        yield slice(start, end)


def copies(tokenizer: Tokenizer, dialogue: list[Turn],
           starts: list[int]) -> list[tuple[int, int]]:
    """What the replies of a dialogue take over: the place of each such token,
    and of the token in the latest turn of the user in which it stands."""
    found = []
    for number, (_, text) in enumerate(dialogue):
        value = Copied.of(text)
        there = _stands(value, text) if value else None
        if there is None:
            continue
        for before in range(number - 1, -1, -1):
            role, said = dialogue[before]
            if role == "user" and (origin := _stands(value, said)) is not None:
                break
        else:
            continue
        places = _tokens(tokenizer, "assistant", text, starts[number])
        origins = _tokens(tokenizer, "user", said, starts[before])
        first: dict[int, int] = {}  # the origin of the first letter of each token
        for at, letter in enumerate(value):
            if not letter.isspace():
                first.setdefault(places[there + at], origins[origin + at])
        found += first.items()
    return found


def _stands(value: str, text: str) -> int | None:
    """Where `value` stands in `text` as whole words, whatever its case."""
    where = re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text, re.I)
    return where.start() if where else None


def _tokens(tokenizer: Tokenizer, role: str, text: str, start: int) -> list[int]:
    """The place of the token of each character, for a turn from `start`."""
    first = start + len(opening(tokenizer, role))
    places = [first] * len(text)
    for number, (begin, end) in enumerate(tokenizer.encode(text).offsets):
        places[begin:end] = [first + number] * (end - begin)
    return places


Row = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Ids; loss weights; the first place that each may see; meanings (-1: none);
where the next token is taken over from (-1: nowhere)."""


class Stream:
    """An endless stream of packed rows, drawn from pools by weight.

    In a share of the dialogues of a pool, `narrow`, the words of a reply see
    the head of their turn and each other, nothing before: what they need must
    be gathered in the head, which sees everything.
    """

    def __init__(self, pools: dict[str, Pool], seed: int,
                 narrow: dict[str, float] | None = None) -> None:
        self.pools, self.narrow = pools, narrow or {}
        self.rng = random.Random(seed)
        self.order: dict[str, list[int]] = {k: [] for k in pools}
        self.spent = dict.fromkeys(pools, 0)

    def _draw(self, mix: dict[str, float]) -> tuple[str, int]:
        # the pool furthest behind its share of the tokens of this mix
        name = min(mix, key=lambda k: self.spent[k] / mix[k])
        if not self.order[name]:
            self.order[name] = list(range(len(self.pools[name].docs) - 1))
            self.rng.shuffle(self.order[name])
        return name, self.order[name].pop()

    def rows(self, mix: dict[str, float], length: int,
             bins: int = 24) -> Iterator[Row]:
        """Rows of `length` tokens."""
        mix = {k: v for k, v in mix.items() if v > 0 and k in self.pools}
        self.spent = dict.fromkeys(self.pools, 0)
        opened: list[list[tuple[np.ndarray, ...]]] = []
        used: list[int] = []
        while True:
            name, doc = self._draw(mix)
            pool = self.pools[name]
            narrow = self.rng.random() < self.narrow.get(name, 0.0)
            for s in pool.pieces(doc, length):
                size = s.stop - s.start
                if size < 8:
                    continue
                self.spent[name] += size
                fits = [i for i, u in enumerate(used) if u + size <= length]
                if not fits and len(opened) >= bins:
                    full = max(range(len(used)), key=used.__getitem__)
                    yield self._row(opened.pop(full), length)
                    used.pop(full)
                if fits:
                    at = max(fits, key=used.__getitem__)
                else:
                    opened.append([])
                    used.append(0)
                    at = -1
                sight = np.maximum(pool.reply[s] - s.start, 0) * narrow
                source = np.where(narrow, -1, pool.source[s] - s.start)
                opened[at].append((pool.ids[s], pool.weights[s], sight, pool.meant[s], source))
                used[at] += size

    @staticmethod
    def _row(pieces: list[tuple[np.ndarray, ...]], length: int) -> Row:
        ids = np.zeros(length, np.int64)
        weights = np.zeros(length, np.float32)
        sight = np.arange(length)
        meant = np.full(length, -1, np.int64)
        source = np.full(length, -1, np.int64)
        at = 0
        for i, w, first, m, origin in pieces:
            ids[at:at + len(i)] = i
            # what is of a token belongs to the position that predicts it
            weights[at:at + len(w) - 1] = w[1:] / 2
            source[at:at + len(w) - 1] = np.where(origin[1:] < 0, -1, at + origin[1:])
            sight[at:at + len(i)] = at + first
            meant[at:at + len(i)] = m
            at += len(i)
        return ids, weights, sight, meant, source
