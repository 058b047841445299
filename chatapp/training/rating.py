"""Thumbs to a score: how likely a person finds a reply good, learned from thumbs on single replies.

A thumb says less than a ranking: there is seldom another reply to the same prompt to compare with. So what is
learned from are a few figures of each reply that mean the same in any dialogue: how probable each of its
tokens is to a model adapted to such dialogues, and what its words have to do with the words before it. Each
figure also stands beside those of other replies that begin alike (a question with questions, a call with
calls); extremely randomised trees (Geurts et al. 2006) learn from both. Where there are few thumbs,
comparisons that cost nothing help: a model of the same kind that tells good replies from spoilt ones
(`corruptions`) has half of the say.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from chatapp.core.errors import TrainingError
from chatapp.core.types import Turn
from chatapp.training.base import Encoder, Ids, TrainedPolicy, half_precision
from chatapp.training.corruptions import normalised
from chatapp.training.data import RankingRow, encode_reply
from chatapp.training.overlap import Rarity, overlap_features
from chatapp.training.packing import FORWARD, alike, pack, token_logprobs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Table = NDArray[np.float64]

Use = Literal["both", "logprobs", "words"]
"""Which figures are learned from."""

_LEAST = 15
"""Replies that begin alike are compared among themselves where there are so many."""


@dataclass(frozen=True, slots=True)
class Rated:
    """One reply, and what a model finds of it."""

    turns: tuple[Turn, ...]
    reply: str
    logprobs: tuple[float, ...]
    """Of its tokens, the one that ends it last."""
    alone: tuple[float, ...]
    """The same after an empty turn of the user: how usual the reply is whatever was said."""


@dataclass(frozen=True, slots=True)
class RatingSettings:
    trees: int = 400
    leaf: int = 3
    """Replies in a leaf at least."""
    share: float = 0.2
    """Of the figures that a split may choose from."""
    use: Use = "both"
    seed: int = 0


def encode(encoder: Encoder, turns: Sequence[Turn], reply: str, limit: int) -> tuple[Ids, Ids] | None:
    """Prompt and reply in at most `limit` tokens: the oldest turns go first, the last one of the user and the
    reply never. None where those two are too long."""
    kept = list(turns)
    last = max((at for at, turn in enumerate(turns) if turn.role == "user"), default=len(turns) - 1)
    while kept:
        prompt = tuple(encoder.encode(kept).ids)
        answer = encode_reply(encoder, kept, prompt, reply)
        if len(prompt) + len(answer) <= limit:
            return prompt, answer
        if len(turns) - len(kept) == last:
            return None
        del kept[0]
    return None


def reply_logprobs(
    policy: TrainedPolicy,
    rows: Sequence[RankingRow],
    temperature: float = 1.0,
    half: bool = True,
    batch: int = 16,
) -> list[list[tuple[float, ...]]]:
    """Log-probabilities of the tokens of each reply of each row, under `policy` with its adapter as it is."""
    import torch

    found: list[list[tuple[float, ...]]] = [[] for _ in rows]
    with torch.no_grad(), half_precision(half):
        for part in alike(rows, batch, FORWARD):
            packed = pack([rows[at] for at in part])
            logprobs = token_logprobs(policy.model, packed, temperature=temperature).float()
            values = iter(logprobs.split(packed.lengths.tolist()))
            for at in part:
                found[at] = [tuple(next(values).tolist()) for _ in rows[at].replies]
    return found


def alone(encoder: Encoder, rows: Sequence[RankingRow]) -> list[RankingRow]:
    """The replies of `rows` after an empty turn of the user."""
    nothing = tuple(encoder.encode([Turn("user", "")]).ids)
    return [RankingRow(nothing, row.replies, row.tiers) for row in rows]


def probability_features(logprobs: Sequence[float], alone: Sequence[float]) -> list[float]:
    """19 numbers. Of the log-probabilities: length, sum, mean, least, last, first, three quantiles, the three
    least, how many are unlikely and very unlikely, the first few. Then what the turns before it add to them
    (pointwise mutual information): sum, mean, least, last; and what they are `alone`: sum, mean."""
    import numpy as np

    values, usual = np.asarray(logprobs), np.asarray(alone)
    added = values - usual
    return [
        math.log(len(values)),
        values.sum(),
        values.mean(),
        values.min(),
        values[-1],
        values[0],
        *np.quantile(values, (0.1, 0.25, 0.5)),
        np.sort(values)[:3].sum(),
        (values < -1).sum(),
        (values < -3).sum(),
        values[1:4].sum(),
        added.sum(),
        added.mean(),
        added.min(),
        added[-1],
        usual.sum(),
        usual.mean(),
    ]


class Beside:
    """What share of the reference's replies that begin alike have less of each figure."""

    def __init__(self, openings: Sequence[tuple[str, ...]], table: Table) -> None:
        """`openings`: how each reply of the reference begins. `table` (replies, figures)."""
        members: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for at, opening in enumerate(openings):
            members[opening].append(at)
        rest = [at for own in members.values() if len(own) < _LEAST for at in own]
        self._rest = _columns(table[rest] if len(rest) >= _LEAST else table)
        self._sorted = {key: _columns(table[own]) for key, own in members.items() if len(own) >= _LEAST}

    def of(self, opening: tuple[str, ...], figures: Sequence[float]) -> list[float]:
        """Between 0 and 1 for each of `figures`; equal ones count half."""
        return [
            (bisect_left(column, value) + bisect_right(column, value)) / (2 * len(column))
            for column, value in zip(self._sorted.get(opening, self._rest), figures, strict=True)
        ]


def _columns(table: Table) -> list[list[float]]:
    return [sorted(column) for column in table.T.tolist()]


class RatingModel:
    """Scores replies between 0 and 1. `rarity`: of words in such dialogues. `prior`: has half of the say."""

    def __init__(
        self, rarity: Rarity, settings: RatingSettings = RatingSettings(), prior: RatingModel | None = None
    ) -> None:
        self._rarity, self._settings, self._prior = rarity, settings, prior
        self._trees: Any = None
        self._beside: Beside | None = None
        self._own: list[float] = []
        self._priors: list[float] = []

    def fit(
        self, rows: Sequence[Rated], good: Sequence[bool], unlabelled: Sequence[Rated] = ()
    ) -> RatingModel:
        """Learn from `rows`; `unlabelled` ones say what is usual. Returns itself.

        Errors: `TrainingError` where all thumbs point the same way, and without scikit-learn."""
        try:
            from sklearn.ensemble import ExtraTreesClassifier
        except ImportError as error:
            raise TrainingError(
                "learning from thumbs needs scikit-learn", "pip install scikit-learn"
            ) from error
        if len(set(good)) < 2:
            raise TrainingError("all thumbs point the same way", "rate some good replies and some bad ones")
        usual = [*rows, *unlabelled]
        figures = self._figures(usual)
        self._beside = Beside([_opening(row) for row in usual], figures)
        self._trees = ExtraTreesClassifier(
            self._settings.trees,
            min_samples_leaf=self._settings.leaf,
            max_features=self._settings.share,
            class_weight="balanced",
            random_state=self._settings.seed,
        ).fit(self._with_beside(rows, figures[: len(rows)]), list(good))
        if self._prior is not None:
            self._own = sorted(self._raw(usual))
            # A copy: others may have the same prior.
            self._prior = copy(self._prior)
            self._prior.compare_with(usual)
            self._priors = sorted(self._prior.score(usual))
        return self

    def compare_with(self, rows: Sequence[Rated]) -> None:
        """From now on figures stand beside those of `rows`: what is usual where the model is used."""
        self._beside = Beside([_opening(row) for row in rows], self._figures(rows))

    def score(self, rows: Sequence[Rated]) -> list[float]:
        if not rows:
            return []
        own = self._raw(rows)
        if self._prior is None:
            return own
        pairs = zip(own, self._prior.score(rows), strict=True)
        return [(_place(self._own, one) + _place(self._priors, other)) / 2 for one, other in pairs]

    def _raw(self, rows: Sequence[Rated]) -> list[float]:
        found: list[float] = self._trees.predict_proba(self._with_beside(rows, self._figures(rows)))[
            :, 1
        ].tolist()
        return found

    def _figures(self, rows: Sequence[Rated]) -> Table:
        import numpy as np

        use = self._settings.use
        return np.array(
            [
                ([] if use == "words" else probability_features(row.logprobs, row.alone))
                + ([] if use == "logprobs" else overlap_features(row.turns, row.reply, self._rarity))
                for row in rows
            ],
            dtype=np.float64,
        )

    def _with_beside(self, rows: Sequence[Rated], figures: Table) -> Table:
        import numpy as np

        assert self._beside is not None
        beside = [
            self._beside.of(_opening(row), own) for row, own in zip(rows, figures.tolist(), strict=True)
        ]
        return np.hstack([figures, np.array(beside)])


def _opening(row: Rated) -> tuple[str, ...]:
    return normalised(row.reply)[:2]


def _place(values: Sequence[float], value: float) -> float:
    """Share of the sorted `values` that are less; equal ones count half."""
    return (bisect_left(values, value) + bisect_right(values, value)) / (2 * len(values))
