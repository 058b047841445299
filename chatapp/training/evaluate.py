"""Did it help? Figures with 95% intervals, each from data that the training did not see."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from chatapp.training.base import Sampled, TrainedPolicy, half_precision
from chatapp.training.data import RankingRow, SftRow
from chatapp.training.packing import FORWARD, alike, pack, per_reply, token_logprobs

DRAWS = 2000
SHORT = 3
"""Words. A reply of fewer is counted as one that says next to nothing."""


@dataclass(frozen=True, slots=True)
class Figure:
    """An estimate, its 95% interval, and from how many independent units it came."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def as_share(self) -> str:
        """`64% [56, 71]`."""
        return f"{self.value:.0%} [{100 * self.low:.0f}, {100 * self.high:.0f}]"

    def above_chance(self, deviations: float = 1.96) -> bool:
        """Whether it lies more than so many standard errors above one half; not where it is unknown."""
        return self.deviations > deviations

    @property
    def deviations(self) -> float:
        """Standard errors above one half; 0 where it is unknown or is one half itself."""
        lead, error = self.value - 0.5, (self.value - self.low) / 1.96
        if not self.n or not lead:
            return 0.0
        return lead / error if error else math.copysign(math.inf, lead)


UNKNOWN = Figure(math.nan, math.nan, math.nan, 0)
"""Nothing to estimate it from."""


def bootstrap(
    units: Sequence[Any], statistic: Callable[[Sequence[Any]], float], draws: int = DRAWS, seed: int = 0
) -> Figure:
    """`statistic` of `units`, with the percentile interval over resamples of whole units (Efron 1979), those
    left out for which it is not defined."""
    value = statistic(units) if units else math.nan
    if math.isnan(value):
        return UNKNOWN
    source = random.Random(seed)
    drawn = [statistic(source.choices(units, k=len(units))) for _ in range(draws)]
    found = sorted(each for each in drawn if not math.isnan(each))
    return Figure(value, found[int(0.025 * len(found))], found[int(0.975 * len(found))], len(units))


def jackknife(
    units: Sequence[Any], statistics: Callable[[Sequence[Any]], Mapping[str, float]]
) -> dict[str, Figure]:
    """Each of `statistics` of `units`, give or take 1.96 standard errors, found by leaving out one unit after
    the other (Tukey 1958); at least two units.

    For what a resample would distort, since it repeats units: shares of duplicates, of different words.
    """
    n = len(units)
    without = [statistics([*units[:at], *units[at + 1 :]]) for at in range(n)]
    found = {}
    for name, whole in statistics(units).items():
        values = [each[name] for each in without]
        middle = mean(values)
        error = math.sqrt((n - 1) / n * math.fsum((each - middle) ** 2 for each in values))
        found[name] = Figure(whole, whole - 1.96 * error, whole + 1.96 * error, n)
    return found


def auc(scores: Sequence[float], good: Sequence[bool]) -> float:
    """How often a good one scores above a bad one, ties half: the area under the ROC curve (Hanley and McNeil
    1982); NaN where one of the two kinds is missing."""
    order = sorted(range(len(scores)), key=scores.__getitem__)
    n_good = sum(good)
    n_bad = len(good) - n_good
    if not n_good or not n_bad:
        return math.nan
    rank_sum, at = 0.0, 0
    while at < len(order):
        end = at
        while end < len(order) and scores[order[end]] == scores[order[at]]:
            end += 1
        rank_sum += (at + end + 1) / 2 * sum(good[each] for each in order[at:end])
        at = end
    return (rank_sum - n_good * (n_good + 1) / 2) / (n_good * n_bad)


def balanced_accuracy(scores: Sequence[float], good: Sequence[bool], threshold: float = 0.0) -> float:
    """The mean of the shares of good ones above the threshold and of bad ones below it."""
    kinds = [
        [(score > threshold) == kind for score, own in zip(scores, good, strict=True) if own == kind]
        for kind in (True, False)
    ]
    return mean([mean(list(map(float, each))) for each in kinds]) if all(kinds) else math.nan


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def mean_figure(values: Sequence[float]) -> Figure:
    """One value for each unit (a prompt, a conversation): their mean."""
    return bootstrap(values, mean)


def agreement(marks: Sequence[float], keys: Sequence[str] = ()) -> Figure:
    """The mean of `marks`, shares of comparisons that came out right: give or take 1.96 standard deviations
    of what guessing would give, where each mark is as likely as its opposite; those of one conversation
    (equal `keys`) together, where that is wider.

    A resample of three marks that are all 1 has no width; guessing gives them one time in eight.
    """
    if not marks:
        return UNKNOWN
    value = mean(marks)
    error = math.sqrt(_squares([each - 0.5 for each in marks], keys)) / len(marks)
    return Figure(value, max(0.0, value - 1.96 * error), min(1.0, value + 1.96 * error), len(marks))


def lead(differences: Sequence[float], keys: Sequence[str] = ()) -> Figure:
    """The mean of differences between two sides' marks, as `agreement` has it where each difference is as
    likely as its opposite. Half a comparison more for either side stands for what so few did not show."""
    if not differences:
        return UNKNOWN
    value = mean(differences)
    error = math.sqrt(_squares(differences, keys) + 1) / len(differences)
    return Figure(value, max(-1.0, value - 1.96 * error), min(1.0, value + 1.96 * error), len(differences))


def _squares(leads: Sequence[float], keys: Sequence[str]) -> float:
    """The sum of the squares, of each alone or of those with one key together, whichever is more."""
    together: dict[str, float] = {}
    for each, key in zip(leads, keys, strict=False):
        together[key] = together.get(key, 0.0) + each
    return max(math.fsum(each**2 for each in own) for own in (leads, together.values()))


# Wins


SLOPE = 2.0
"""Of a win: how sure a lead of one deviation of the judge's scores makes it, 88 to 12."""


def win(tuned: Sequence[float], base: Sequence[float]) -> float:
    """How probable it is that a reply of the one side is better than one of the other, over all pairs to one
    prompt; scores in the judge's deviations.

    The probability is that of Bradley and Terry (1952), sigmoid(SLOPE * lead). Two replies that say the same
    in other words get scores a hair apart; as whole wins they would be noise. Swapping the sides gives one
    minus it: there is no order that could favour either.
    """
    return mean([0.5 + 0.5 * math.tanh(SLOPE / 2 * (a - b)) for a in tuned for b in base])


# What the policy itself prefers


def gains(
    policy: TrainedPolicy, rows: Sequence[RankingRow], half: bool = True, batch: int = 16
) -> list[list[float]]:
    """log p(y|x) / p_ref(y|x) of each reply of each row: DPO's implicit reward, without its beta."""
    import torch

    found: list[list[float]] = [[] for _ in rows]
    for places in alike(rows, batch, FORWARD):
        packed = pack([rows[at] for at in places])
        with torch.no_grad(), half_precision(half):
            own = per_reply(token_logprobs(policy.model, packed), packed)
            with policy.reference():
                reference = per_reply(token_logprobs(policy.model, packed), packed)
        values = iter((own - reference).tolist())
        for at in places:
            found[at] = [next(values) for _ in rows[at].replies]
    return found


def best_gain(found: Sequence[Sequence[float]], rows: Sequence[RankingRow]) -> Figure:
    """How much more probable (nats a reply) the best reply of each ranking has become."""
    best = [
        mean([value for value, tier in zip(own, row.tiers, strict=True) if tier == min(row.tiers)])
        for own, row in zip(found, rows, strict=True)
    ]
    return mean_figure(best)


# What must not be lost


def losses(model: Any, rows: Sequence[SftRow], half: bool = False, batch: int = 8) -> list[tuple[float, int]]:
    """For each dialogue its negative log-probability in nats, and its number of learned tokens."""
    import torch

    found: list[tuple[float, int]] = []
    for start in range(0, len(rows), batch):
        packed = pack(rows[start : start + batch])
        with torch.no_grad(), half_precision(half):
            sums = per_reply(token_logprobs(model, packed), packed)
        found += [(-total, int(n)) for total, n in zip(sums.tolist(), packed.lengths.tolist(), strict=True)]
    return found


def perplexity_ratio(tuned: Sequence[tuple[float, int]], base: Sequence[tuple[float, int]]) -> Figure:
    """exp of the mean loss a token, of the one over the other, on the same dialogues."""

    def ratio(units: Sequence[tuple[tuple[float, int], tuple[float, int]]]) -> float:
        tokens = sum(n for (_, n), _ in units)
        return math.exp(sum(a - b for (a, _), (b, _) in units) / max(tokens, 1))

    return bootstrap(list(zip(tuned, base, strict=True)), ratio)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a set of replies looks like."""

    words: float
    """Mean number of words."""
    distinct: float
    """Different pairs of neighbouring words over all of them."""
    duplicates: float
    """Share of replies that say what another reply to another prompt says."""
    short: float
    """Share of replies under `SHORT` words."""
    unfinished: float
    """Share that was cut off at the limit."""


def mean_behaviour(drawn: Sequence[Sequence[Sampled]]) -> Behaviour:
    """Of several replies to each of many prompts: over the first of each, the second, ..., averaged."""
    found = [
        asdict(behaviour([each.text for each in own], [each.finish_reason == "stop" for each in own]))
        for own in zip(*drawn, strict=True)
    ]
    return Behaviour(**{name: mean([each[name] for each in found]) for name in found[0]})


def words(text: str) -> list[str]:
    """The words of a reply, by which replies are compared."""
    return re.findall(r"[\w']+", text.casefold())


def behaviour(texts: Sequence[str], finished: Sequence[bool]) -> Behaviour:
    """Of one reply to each of many prompts; of none, all is 0."""
    split = [words(text) for text in texts]
    bigrams = [pair for own in split for pair in pairwise(own)]
    seen = Counter(map(tuple, split))
    n = max(len(texts), 1)
    return Behaviour(
        sum(map(len, split)) / n,
        len(set(bigrams)) / max(len(bigrams), 1),
        sum(count for count in seen.values() if count > 1) / n,
        sum(len(own) < SHORT for own in split) / n,
        sum(not each for each in finished) / n,
    )
