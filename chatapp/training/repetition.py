"""What it costs a sample to say what samples to other prompts say, and how that price is found.

A policy that is paid for asking something back soon asks the same thing everywhere. The reward model looks at
one reply at a time and cannot know. So each sample pays for what it shares with the samples to other prompts,
and the price follows how varied the replies still are where it counts: to prompts that are learned from and
to openings of general dialogue, sampled as the chat samples them. With `room` 1 where they are as varied as
the reference's, and 0 where the gate would refuse them,

    price = usual * exp( GAIN * (AIM - room) )

A fixed price is too low for one taste and too high for another; one that follows what it is there for is what
Ziegler et al. (2019, section 2.2) have for the divergence.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise

from chatapp.core.types import Sampling
from chatapp.training.base import AT_ONCE, Ids, Sampler, TrainedPolicy, drawn_in_parts
from chatapp.training.evaluate import Behaviour, mean_behaviour, words
from chatapp.training.gate import Bounds
from chatapp.training.progress import Listener, Pace
from chatapp.training.run import Loop
from chatapp.training.weight_copy import at_reference

EVERY = 4
"""Draws from one look at the replies to the next."""
PROMPTS, SAMPLES = 128, 2
"""Looked at. Half of the prompts are openings, whose replies are the first to become one and the same."""
AIM = 0.35
GAIN = 1.5
LOWEST, HIGHEST = 1.0, 40.0
"""The price at least and at most."""


def repetition(texts: Sequence[Sequence[str]]) -> list[list[float]]:
    """For each reply to each prompt: in the replies to what share of the other prompts a pair of neighbouring
    words of it stands, averaged over its pairs; 1 where the whole reply stands."""
    pairs = [[set(pairwise(words(text))) for text in own] for own in texts]
    spread = Counter(pair for own in pairs for pair in set().union(*own))
    wholes = [[tuple(words(text)) for text in own] for own in texts]
    said = Counter(whole for own in wholes for whole in set(own))
    others = max(len(texts) - 1, 1)
    return [
        [
            1.0 if said[whole] > 1 else sum(spread[pair] - 1 for pair in each) / (others * max(len(each), 1))
            for whole, each in zip(whole_replies, own, strict=True)
        ]
        for whole_replies, own in zip(wholes, pairs, strict=True)
    ]


def room(now: Behaviour, reference: Behaviour, bounds: Bounds = Bounds()) -> float:
    """1 where replies repeat each other no more than the reference's, 0 where the gate would refuse them,
    less beyond."""
    distinct = now.distinct / max(reference.distinct, 1e-9)
    variety = (distinct - bounds.distinct) / (1 - bounds.distinct)
    return min(variety, 1 - (now.duplicates - reference.duplicates) / bounds.duplicates)


class Price:
    """What it costs a sample to repeat others; looked up every few draws, and remembered in `loop.state`."""

    def __init__(
        self,
        policy: TrainedPolicy,
        sampler: Sampler,
        prompts: Sequence[Ids],
        openings: Sequence[Ids],
        chat: Sampling,
        usual: float,
    ) -> None:
        """`openings`: prompts of general dialogue; `chat`: how the chat samples; `usual`: the price where the
        room left is `AIM`."""
        half = PROMPTS // 2
        every = dict.fromkeys([*prompts[:half], *openings[:half], *prompts, *openings])
        self._policy, self._sampler, self._prompts = policy, sampler, list(every)[:PROMPTS]
        self._chat, self._usual = chat, usual

    def at(self, loop: Loop, draw: int) -> float:
        """The price of draw number `draw`."""
        if draw % EVERY == 0 or "price" not in loop.state:
            with loop.breaking_off() as listen:
                if "varied" not in loop.state:
                    with at_reference(self._policy):
                        loop.state["varied"] = asdict(self._look(listen))
                now = self._look(listen)
            left = loop.mean([room(now, Behaviour(**loop.state["varied"]))])
            price = self._usual * math.exp(GAIN * (AIM - left))
            loop.state["price"] = min(max(price, LOWEST), HIGHEST)
        return float(loop.state["price"])

    def _look(self, listen: Listener) -> Behaviour:
        self._sampler.publish(self._policy)
        pace = Pace("price", len(self._prompts), listen)
        drawn = drawn_in_parts(self._sampler.rollout, self._prompts, SAMPLES, self._chat, AT_ONCE, pace)
        return mean_behaviour(drawn)
