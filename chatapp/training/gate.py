"""The gate between a training and the chat: a verdict in one line, from the figures and fixed bounds.

What is useless shall get through at most one time in twenty. Two things can make a useless adapter look good.
The rankings say nothing that lasts: then reward models agree with rankings new to them no better than chance.
Cross-validation over all rankings finds them better by accident in about 7% of such trainings (its folds
share rankings, so it errs more often than the 2.5% of its interval); the judge would have to lean the same
way by accident too. It trains as many reward models again as there are folds, and is left out where those
that lead are clear about the rankings held out from them, which they are by accident once in 700 times. Or
the rankings do say something and the policy learned none of it: then it wins half, and up to two tries (RLOO,
DPO; three where there are edits) have to look better than that by accident, so each is held to 1.25%. What is
tried again at less of its scale lost something before, so that its wins did not count.
`tests/training/test_gate.py` plays both.

What stays open: a policy that was pushed far in a direction that has nothing to do with the rankings. A judge
that learned from few of them has whims of its own and finds such a policy good in about one of ten. The stop
of RLOO and the bounds on what may be lost are there for that.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from chatapp.training.evaluate import UNKNOWN, Behaviour, Figure
from chatapp.training.plan import TELLING


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it from data that was held out before anything was trained."""

    against: str = "the base"
    """What `wins`, `preference` and `best_gain` compare with: in a later round, what the training started
    from."""
    wins: Figure = UNKNOWN
    """How probable a reward model that was trained on the held-out rankings alone finds it that a reply of
    the tuned policy is better than one of that, on held-out prompts; 0.5 is no difference."""
    judge: Figure = UNKNOWN
    """How often that reward model orders a pair of the *training* side as the person did."""
    reward: Figure = UNKNOWN
    """How often reward models order a pair of a ranking that they have not seen as the person did: a held-out
    one, or any (cross-validation); unknown where it was not asked whether one may lead."""
    preference: Figure = UNKNOWN
    """How often the tuned policy's own change orders a held-out pair as the person did."""
    best_gain: Figure = UNKNOWN
    """Nats by which the best reply of a held-out ranking became more probable."""
    perplexity: Figure = UNKNOWN
    """Of tuned over base, on dialogue that has nothing to do with the rankings."""
    since: Figure = UNKNOWN
    """The same over what the training started from, in a later round."""
    tuned: Behaviour | None = None
    base: Behaviour | None = None
    start: Behaviour | None = None
    """Of what the training started from, in a later round."""

    def to_json(self) -> dict[str, Any]:
        """Figures as value, low, high and n; None where there was nothing to estimate one from."""
        return {
            name: None if isinstance(value, dict) and value.get("n") == 0 else value
            for name, value in asdict(self).items()
        }


SURE = 1.96
"""Standard errors: 2.5% by accident."""
CLEAR = 3.0
"""The same, of the reward models that lead on what was held out from them: no cross-validation is needed."""
ONE_OF_TWO = 2.24
"""1.25% by accident: for two methods, each of which counts once."""
BOTH = 3.6
"""Of those reward models and the judge together, once the former are sure: the surer it is that there is
something to know, the less the judge has to show of its own. It has to lean the same way."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a round may lose. All rounds together may lose twice as much of what the base had: a taste that is
    followed further and further changes what replies look like, and is not to end in ruins by small steps. So
    that there is always a next step, each takes half of what is left of that (`next`)."""

    perplexity: float = 1.10
    distinct: float = 0.85
    duplicates: float = 0.05
    """Share points more than the base."""
    shortest: float = 0.6
    longest: float = 1.35
    """Of the mean number of words over the base's."""
    short: float = 0.01
    """Share points more replies under 3 words."""
    unfinished: float = 0.02

    def twice(self) -> Bounds:
        """Ratios squared, differences doubled."""
        return Bounds(
            self.perplexity**2,
            self.distinct**2,
            2 * self.duplicates,
            self.shortest**2,
            self.longest**2,
            2 * self.short,
            2 * self.unfinished,
        )

    def next(self, start: Behaviour, base: Behaviour, perplexity: float) -> Bounds:
        """Of a later round, which begins with `start`, with so many times the base's `perplexity`: half of
        what all rounds together have left, and never more than the first may lose."""
        most, least = self.twice(), 1e-9

        def ratio(own: float, whole: float, now: float) -> float:
            half = math.sqrt(whole / max(now, least))
            return min(own, max(1.0, half)) if own > 1 else max(own, min(1.0, half))

        def points(own: float, whole: float, now: float) -> float:
            return min(own, max(0.0, (whole - now) / 2))

        distinct, words = (
            now / max(before, least)
            for now, before in ((start.distinct, base.distinct), (start.words, base.words))
        )
        return Bounds(
            ratio(self.perplexity, most.perplexity, perplexity),
            ratio(self.distinct, most.distinct, distinct),
            points(self.duplicates, most.duplicates, start.duplicates - base.duplicates),
            ratio(self.shortest, most.shortest, words),
            ratio(self.longest, most.longest, words),
            points(self.short, most.short, start.short - base.short),
            points(self.unfinished, most.unfinished, start.unfinished - base.unfinished),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    accepted: bool
    reason: str
    evidence: Evidence


def judge(evidence: Evidence, bounds: Bounds = Bounds()) -> Verdict:
    """Accept what is better than before and has lost nothing; else say which of the two failed."""
    if broken := damages(evidence, bounds):
        return Verdict(False, "it lost something: " + "; ".join(broken), evidence)
    wins, preference = evidence.wins, evidence.preference
    if knows(evidence) and wins.n:
        if wins.n < TELLING:  # the interval of so few is too narrow: of two prompts nearly always
            return Verdict(False, "there are too few prompts to tell whether it helped", evidence)
        if wins.above_chance(ONE_OF_TWO):
            return Verdict(True, f"better than {evidence.against}: {_wins(wins)}", evidence)
        return Verdict(False, f"no better than {evidence.against}: {_wins(wins)}", evidence)
    if preference.above_chance(ONE_OF_TWO):
        return Verdict(True, f"it agrees with {_percent(preference)} of your held-out comparisons", evidence)
    if preference.n < TELLING:
        return Verdict(False, "there are too few held-out rankings to tell whether it helped", evidence)
    reason = "reward models agree too little with rankings they have not seen to tell whether it helped"
    return Verdict(False, reason, evidence)


def knows(evidence: Evidence) -> bool:
    """Whether the judge's word counts: alone, or with that of the reward models that may lead behind it."""
    if not evidence.reward.n:
        return evidence.judge.above_chance(SURE)
    others, judge = evidence.reward, evidence.judge
    together = others.deviations + judge.deviations
    return others.above_chance(SURE) and judge.above_chance(0.0) and together >= BOTH


def merit(verdict: Verdict) -> tuple[bool, float]:
    """Orders verdicts: what lost nothing comes before what did, then the one that won more."""
    evidence = verdict.evidence
    figure = evidence.wins if evidence.wins.n else evidence.preference
    return not damages(evidence), figure.value if figure.n else 0.0


def damages(evidence: Evidence, bounds: Bounds = Bounds()) -> list[str]:
    """Each bound that is broken, in words: in a later round by what was lost in it, and by all rounds."""
    base = "the base's"
    if evidence.start is None or evidence.base is None:
        return _lost(evidence.tuned, evidence.base, evidence.perplexity, bounds, base)
    so_far = evidence.perplexity.value / evidence.since.value if evidence.since.n else 1.0
    own = bounds.next(evidence.start, evidence.base, so_far)
    found = _lost(evidence.tuned, evidence.start, evidence.since, own, f"{evidence.against}'s")
    return found or _lost(evidence.tuned, evidence.base, evidence.perplexity, bounds.twice(), base)


def _lost(
    tuned: Behaviour | None, other: Behaviour | None, perplexity: Figure, bounds: Bounds, whose: str
) -> list[str]:
    found = []
    if perplexity.n and not perplexity.value <= bounds.perplexity:
        found.append(f"perplexity of other dialogue is {perplexity.value:.2f} times {whose}")
    if tuned is None or other is None:
        return found
    length = tuned.words / max(other.words, 1e-9)
    if not bounds.shortest <= length <= bounds.longest:
        found.append(f"replies are {length:.2f} times as long as {whose}")
    if tuned.distinct < bounds.distinct * other.distinct:
        found.append(f"variety of words fell to {tuned.distinct / other.distinct:.2f} of {whose}")
    for name, more, own, before in (
        ("replies that repeat another", bounds.duplicates, tuned.duplicates, other.duplicates),
        ("replies under 3 words", bounds.short, tuned.short, other.short),
        ("replies without an end", bounds.unfinished, tuned.unfinished, other.unfinished),
    ):
        if own - before > more:
            found.append(f"{name}: {own:.0%} instead of {before:.0%}")
    return found


def _wins(figure: Figure) -> str:
    return f"wins {_percent(figure)} on {figure.n} held-out prompts"


def _percent(figure: Figure) -> str:
    if math.isnan(figure.value):
        return "an unknown share"
    return f"{figure.value:.0%} ({figure.low:.0%} to {figure.high:.0%})"
