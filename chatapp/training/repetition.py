"""What it costs a sample to say what is said already, and how those prices are found.

A policy that is paid for asking something back soon asks the same thing everywhere. The reward model looks at
one reply at a time and cannot know. What is lost is measured by two figures (`evaluate.Behaviour`), so there
are two prices.

Variety is the share U / N of different ones among all N pairs of neighbouring words (distinct-2, Li et al.
2016). A reply of n pairs, s of which are said already, changes it by about ((1 - U/N) n - s) / N. So a sample
pays for

    c = (s - (1 - U/N) n) / mean n

where "already" is in the samples to other prompts, or earlier in the same one. A long reply that says
nothing new is dear, one that turns round in a circle dearer still; a phrase that is used everywhere costs no
more than one that is used twice. Since U/N of the few samples of a step is not that of many replies, 1 - U/N
is taken as `SHARED` of their mean s/n. The second price is for replies that are the same to several prompts;
`sameness` says who pays it.

Each price follows how much of its figure is left where it counts: to prompts that are learned from or to
openings of general dialogue, whichever have lost more, sampled as the chat samples them. With `room` 1 where
they are as varied as the reference's, and 0 where the gate would refuse them (in a later round the less of
two: that since the round began, and that of all rounds together),

    price = usual * exp( GAIN * (AIM - room) )

A fixed price is too low for one taste and too high for another; one that follows what it is there for is what
Ziegler et al. (2019, section 2.2) have for the divergence.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from itertools import pairwise

from chatapp.core.types import Sampling
from chatapp.training.base import AT_ONCE, Ids, Sampled, Sampler, TrainedPolicy, drawn_in_parts
from chatapp.training.evaluate import Behaviour, mean, mean_behaviour, words
from chatapp.training.gate import Bounds
from chatapp.training.progress import Listener, Pace
from chatapp.training.run import Loop
from chatapp.training.sameness import same
from chatapp.training.weight_copy import at_reference

EVERY = 4
"""Draws from one look at the replies to the next."""
PROMPTS, SAMPLES = 128, 2
"""Looked at. Half of the prompts are openings."""
VIEWS = 4
"""Looks in turn that have prompts of their own, where there are so many: replies that were looked at are
learned from (`sameness`), and soon say nothing of other prompts."""
AIM = 0.5
GAIN = 1.5
SHARED = 0.8
"""1 - U/N over the mean s/n: 0.81 of the guide's replies to 200 prompts (`tests/bench/variety.py`)."""
LEAST, MOST = 0.1, 4.0
"""Of the usual price."""


@dataclass(frozen=True, slots=True)
class Prices:
    """In deviations of the reward model."""

    pairs: float = 2.5
    """For c = 1."""
    whole: float = 3.0
    """For a reply that is given to another prompt as well."""

    def of(self, texts: Sequence[Sequence[str]]) -> list[list[float]]:
        """What each sample to each prompt pays for its pairs of words."""
        pairs = [[list(pairwise(words(text))) for text in own] for own in texts]
        spread = Counter(pair for own in pairs for pair in set().union(*own))
        already = [
            [len(each) - sum(spread[pair] == 1 for pair in set(each)) for each in own] for own in pairs
        ]
        total = max(sum(len(each) for own in pairs for each in own), 1)
        usual = total / max(sum(map(len, pairs)), 1)
        share = SHARED * sum(map(sum, already)) / total

        return [
            [self.pairs * (said - share * len(each)) / usual for said, each in zip(*both, strict=True)]
            for both in zip(already, pairs, strict=True)
        ]


PRICES, FREE = Prices(), Prices(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Rooms:
    """What is left of each figure: 1 where replies are as varied as the reference's, 0 where the gate would
    refuse them, less beyond."""

    pairs: float
    whole: float


def rooms(now: Behaviour, reference: Behaviour, bounds: Bounds = Bounds()) -> Rooms:
    distinct = now.distinct / max(reference.distinct, 1e-9)
    return Rooms(
        (distinct - bounds.distinct) / (1 - bounds.distinct),
        1 - (now.duplicates - reference.duplicates) / bounds.duplicates,
    )


def views(prompts: Sequence[Ids], openings: Sequence[Ids]) -> list[list[list[Ids]]]:
    """What is looked at in turn: each time prompts that are learned from and openings, as far apart as may
    be, since those that were ranked come before earlier turns."""
    own, rest = dict.fromkeys(prompts), dict.fromkeys(openings)
    others = [each for each in rest if each not in own]
    most = min(len(own), PROMPTS - min(len(others), PROMPTS // 2))
    pools = [_in_turn(list(own), most), _in_turn(others, min(len(others), PROMPTS - most))]
    pools = [pool for pool in pools if pool]
    return [[pool[at % len(pool)] for pool in pools] for at in range(max(map(len, pools), default=0))]


def _in_turn(pool: Sequence[Ids], count: int) -> list[list[Ids]]:
    """At most `VIEWS` times `count` of them, each time others."""
    times = min(VIEWS, len(pool) // count) if count else 0
    apart = [pool[at * len(pool) // (count * times)] for at in range(count * times)]
    return [apart[first::times] for first in range(times)]


class Price:
    """What it costs a sample to repeat others; looked up every few draws, and remembered in `loop.state`."""

    def __init__(
        self,
        policy: TrainedPolicy,
        sampler: Sampler,
        prompts: Sequence[Ids],
        openings: Sequence[Ids],
        chat: Sampling,
        usual: Prices,
        base: TrainedPolicy | None = None,
    ) -> None:
        """`openings`: prompts of general dialogue; `chat`: how the chat samples; `usual`: the prices where
        the room left is `AIM`. `base`: in a later round, the same policy with the base as its reference."""
        self._policy, self._sampler, self._views = policy, sampler, views(prompts, openings)
        self._chat, self._usual = chat, usual
        self._held_to = [(policy, Bounds())]
        if base is not None:
            self._held_to.append((base, Bounds().twice()))

    @property
    def looked_at(self) -> int:
        """Replies, each time."""
        return SAMPLES * sum(map(len, self._views[0]))

    def at(self, loop: Loop, draw: int) -> Prices:
        """The prices of draw number `draw`."""
        if draw % EVERY == 0 or "prices" not in loop.state:
            view = draw // EVERY % len(self._views)
            parts, references = self._views[view], loop.state.setdefault("references", {})
            with loop.breaking_off() as listen:
                if view not in references:
                    references[view] = [self._reference(whose, parts, listen) for whose, _ in self._held_to]
                looks = self._look(parts, listen)
            found = behaviours(looks)
            left = [
                rooms(now, Behaviour(**before), bounds)
                for (_, bounds), own in zip(self._held_to, references[view], strict=True)
                for now, before in zip(found, own, strict=True)
            ]
            least = [loop.mean([min(each)]) for each in zip(*map(astuple, left), strict=True)]
            factors = [math.exp(GAIN * (AIM - each)) for each in least]
            pairs, whole = (min(max(each, LEAST), MOST) for each in factors)
            self._remember(loop, *least)
            loop.state["prices"] = asdict(Prices(pairs * self._usual.pairs, whole * self._usual.whole))
            loop.state["same"] = same(
                [prompt for part in parts for prompt in part], [own for part in looks for own in part]
            )
        return Prices(**loop.state["prices"])

    def _remember(self, loop: Loop, pairs: float, whole: float) -> None:
        """What is left for pairs of words, and the policy where something is for both."""
        loop.state["room"] = [*loop.state.get("room", ())[-1:], pairs]
        loop.state["alike"] = min(pairs, whole) <= 0
        if not loop.state["alike"]:
            loop.state["varied enough"] = loop.copy()

    def exhausted(self, loop: Loop) -> bool:
        """Whether pairs of words have become too much alike, whatever that cost: by two looks, since one is
        noisy. The policy is then what it was when its replies were varied."""
        last = loop.state.get("room", ())
        return len(last) == 2 and mean(last) <= 0 and self.varied_again(loop)

    def varied_again(self, loop: Loop) -> bool:
        """Whether the last look found replies too much alike, and the policy is now what it was when one did
        not."""
        if not loop.state.get("alike") or "varied enough" not in loop.state:
            return False
        loop.restore(loop.state["varied enough"])
        return True

    def _reference(
        self, whose: TrainedPolicy, parts: Sequence[Sequence[Ids]], listen: Listener
    ) -> list[dict[str, float]]:
        """What the replies of the reference of `whose` look like."""
        with at_reference(whose):
            return [asdict(each) for each in behaviours(self._look(parts, listen))]

    def _look(self, parts: Sequence[Sequence[Ids]], listen: Listener) -> list[list[Sequence[Sampled]]]:
        """Replies to each prompt of each part."""
        prompts = [prompt for part in parts for prompt in part]
        self._sampler.publish(self._policy)
        pace = Pace("price", len(prompts), listen)
        drawn = iter(drawn_in_parts(self._sampler.rollout, prompts, SAMPLES, self._chat, AT_ONCE, pace))
        return [[next(drawn) for _ in part] for part in parts]


def behaviours(looks: Sequence[Sequence[Sequence[Sampled]]]) -> list[Behaviour]:
    """Of the replies to what is learned from, and of those to openings."""
    return [mean_behaviour(part) for part in looks]
