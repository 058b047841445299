"""What the words of a reply have to do with those before it: what it takes up, leaves out and makes up."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from chatapp.core.types import Turn

_WORD = re.compile(r"\w+")
Grams = set[tuple[str, ...]]


class Rarity:
    """Inverse document frequency (Sparck Jones 1972) of words over `texts`."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = 0
        self._with: Counter[str] = Counter()
        for text in texts:
            self._texts += 1
            self._with.update(set(_words(text.casefold())))

    def of(self, word: str) -> float:
        return math.log((1 + self._texts) / (1 + self._with[word]))

    def sum(self, words: Iterable[str]) -> float:
        return math.fsum(map(self.of, words))

    def most(self, words: Iterable[str]) -> float:
        return max(map(self.of, words), default=0.0)


def overlap_features(turns: Sequence[Turn], reply: str, rarity: Rarity) -> list[float]:
    """41 numbers that compare `reply` with the `turns` before it. Words only: they fit any dialogue."""
    exact, exact_turns = _words(reply), [_words(turn.text) for turn in turns]
    own = _words(reply.casefold())
    before = [_words(turn.text.casefold()) for turn in turns]
    users = [said for turn, said in zip(turns, before, strict=True) if turn.role == "user"]
    replies = [said for turn, said in zip(turns, before, strict=True) if turn.role == "assistant"]
    reply_words, answered = set(own), set().union(*replies)
    first, last = set(users[0] if users else ()), set(before[-1] if before else ())
    everything, asked = set().union(*before), set().union(*users)
    own_pairs = _grams([own], 2)

    found: list[float] = []
    for said in (last, first, everything):
        shared = said & reply_words
        found += [
            _share(len(shared), len(said)),
            _share(rarity.sum(shared), rarity.sum(said)),
            _share(len(shared), len(reply_words)),
            _share(rarity.sum(shared), rarity.sum(reply_words)),
        ]
    left_out = first - answered - reply_words
    made_up = reply_words - everything
    found += [rarity.sum(left_out), rarity.most(left_out), len(left_out), rarity.most(last - reply_words)]
    found += [len(made_up), rarity.sum(made_up), rarity.most(made_up)]
    found += [len(own), len(last), len(first), len(own) - len(reply_words)]
    found += [max((_alike(reply_words, set(each)) for each in replies), default=0.0), float(own in replies)]
    # Case counts here: what is copied is copied as it stands.
    for size in (1, 2, 3):
        grams, known = _grams([exact], size), _grams(exact_turns, size)
        found += [len(grams - known), _share(len(grams & known), len(grams))]
    last_pairs = _grams(before[-1:], 2)
    found += [_share(len(own_pairs & _grams(users, 2)), len(own_pairs))]
    found += [_share(len(own_pairs & last_pairs), len(last_pairs))]
    found += [
        _share(len(reply_words & answered), len(reply_words)),
        _alike(reply_words, set(replies[-1] if replies else ())),
    ]
    for said in (first, asked):
        taken, missed = (said & reply_words) - answered, said - answered - reply_words
        found += [
            rarity.sum(taken),
            _share(rarity.sum(taken), rarity.sum(taken | missed)),
            rarity.most(taken),
        ]
    return found


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _grams(texts: Iterable[Sequence[str]], size: int) -> Grams:
    return {gram for words in texts for gram in zip(*(words[at:] for at in range(size)), strict=False)}


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _alike(one: Collection[str], other: Collection[str]) -> float:
    """Jaccard's index."""
    return _share(len(set(one) & set(other)), len(set(one) | set(other)))
