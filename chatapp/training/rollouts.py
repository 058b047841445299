"""Replies sampled from the policy that is being trained, what each is worth, and how far is too far."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Protocol

from chatapp.core.errors import TrainingError
from chatapp.core.types import Sampling
from chatapp.training import sameness
from chatapp.training.base import Ids, Sampled, Sampler, TrainedPolicy, half_precision
from chatapp.training.data import RankingRow, SftRow
from chatapp.training.evaluate import SHORT, mean, words
from chatapp.training.packing import FORWARD, MICRO, alike, pack, source_states
from chatapp.training.repetition import FREE, PRICES, Price, Prices
from chatapp.training.run import Loop

if TYPE_CHECKING:
    from torch import Tensor

UNFILTERED = Sampling(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, repeat_penalty=1.0, max_tokens=64)
"""The policy as it is: only then is log p the probability that a sample was drawn with."""
LONGEST = 256
"""Tokens of a sample at most, where people ranked longer ones than the recipe's own limit."""
NATS = 0.1
"""A token of the mean ranked reply may stray so far from the reference before the run stops."""


class Scorer(Protocol):
    """A reward model, or several."""

    def score(self, rows: Sequence[RankingRow], base: Sequence[Tensor] | None) -> list[list[float]]:
        """Of each reply of each row. `base`: what `source_states` are under the base, (n, width) of each row,
        where that is known."""


@dataclass(frozen=True, slots=True)
class Guards:
    """What a reward model cannot know because it never saw it; rewards are in its own deviations."""

    bound: float = 2.5
    """Rewards beyond this many deviations count as this many: nobody ranked anything out there. A reply that
    was cut off at the limit, one shorter than any that was ranked, or longer, and one of fewer words than
    `words` are worth no more than the worst."""
    words: int = 5
    shortest: int = 1
    longest: int = 10**9
    """Tokens of the shortest and the longest ranked reply, the ending token with them."""
    prices: Prices = PRICES
    """Of saying what is said already: a phrase that fits everywhere is what an over-optimised policy ends
    with. Where it is known how the chat samples, these are the usual prices of `Price`."""

    def of(self, reply: Sampled, score: float, pays: float = 0.0) -> float:
        """The guarded reward; `pays` as `prices` has it."""
        length = self.shortest <= len(reply.ids) <= self.longest
        if reply.finish_reason != "stop" or not length or len(words(reply.text)) < self.words:
            return -self.bound - pays
        return max(-self.bound, min(self.bound, score)) - pays

    def early(self, reply: Sampled) -> int:
        """Before how many of its tokens an ending would have made it too short."""
        few = takewhile(lambda start: len(words(reply.text[:start])) < SHORT, reply.starts)
        return max(len(list(few)), min(self.shortest - 1, len(reply.ids)))


def guards_from(rows: Sequence[RankingRow], share: float = 0.02) -> Guards:
    """The lengths between which all but `share` of the ranked replies lie, at each end. Those that were cut
    off say nothing of it."""
    lengths = sorted(len(reply) for row in rows for reply in row.replies if reply not in row.unfinished)
    if not lengths:
        return Guards()
    at = int(share * len(lengths))
    return Guards(shortest=lengths[at], longest=lengths[-1 - at])


def sample_length(sampling: Sampling, guards: Guards) -> int:
    """Tokens of a sample at most. One that is cut off is worth nothing, so there is room for what people
    ranked."""
    return max(sampling.max_tokens, min(guards.longest, LONGEST))


def stop_kl(usual: float, rows: Sequence[RankingRow]) -> float:
    """Nats a reply at which a run stops: `usual`, or more where the ranked replies are long. What a reply
    strays is the sum over its tokens."""
    return max(usual, NATS * mean([len(reply) for row in rows for reply in row.replies]))


@dataclass(slots=True)
class Rollout:
    """The samples for one prompt. `row` has no order: all its tiers are 0."""

    row: RankingRow
    finished: list[bool]
    rewards: list[float]
    """The reward model's score of each, with the guards."""
    early: list[int]
    """Of each: `Guards.early`."""
    reference: Tensor
    """(n, width) `source_states` under the reference, of the row's n tokens."""


class OnPolicySettings(Protocol):
    """What RLOO and PPO share."""

    @property
    def prompts(self) -> int:
        """A step."""

    @property
    def samples(self) -> int:
        """A prompt."""

    @property
    def sampling(self) -> Sampling: ...
    @property
    def stop_kl(self) -> float:
        """Nats a reply."""

    @property
    def seed(self) -> int: ...
    @property
    def half(self) -> bool: ...


class OnPolicy:
    """The half of a step that RLOO and PPO share: samples of the policy as it is now, and the stop rule."""

    def __init__(
        self,
        policy: TrainedPolicy,
        sampler: Sampler,
        scorer: Scorer,
        prompts: Sequence[Ids],
        guards: Guards,
        settings: OnPolicySettings,
        chat: Sampling | None = None,
        mix: Sequence[SftRow] = (),
        base: TrainedPolicy | None = None,
    ) -> None:
        """`chat`: how the chat samples; without it, repeating others has a fixed price. `mix`: the general
        dialogue. `base`: in a later round, the same policy with the base as its reference."""
        if not prompts:
            raise TrainingError(
                "there is no prompt to sample replies to", "chat first, then rank some alternatives"
            )
        self._policy, self._sampler, self._scorer = policy, sampler, scorer
        self._prompts, self._guards, self._settings, self._base = prompts, guards, settings, base
        self._price = None
        if chat is not None and guards.prices != FREE:
            most = min(chat.max_tokens, settings.sampling.max_tokens)
            looked_at = replace(chat, max_tokens=most, seed=settings.seed)
            openings = [row.opening for row in mix]
            self._price = Price(policy, sampler, prompts, openings, looked_at, guards.prices, base)

    def draw(self, loop: Loop, number: int) -> list[Rollout]:
        """This process's share of draw `number`."""
        settings, guards = self._settings, self._guards
        if self._price is not None:
            guards = replace(guards, prices=self._price.at(loop, number))
        chosen = pick_prompts(self._prompts, settings.prompts, number, settings.seed)
        sampling = replace(settings.sampling, seed=settings.seed * 100_003 + number * 1_009)
        return draw(
            self._policy,
            self._sampler,
            self._scorer,
            loop.share(chosen),
            settings.samples,
            sampling,
            guards,
            half=settings.half,
            later_round=self._base is not None,
        )

    def vary(self, loop: Loop) -> None:
        """Add the gradient of what it costs to say the same to several prompts."""
        if self._price is not None:
            whose, settings = self._base or self._policy, self._settings
            sameness.add(loop, whose, self._price.looked_at, settings.seed, settings.half)

    def too_far(self, loop: Loop, kl: float) -> bool:
        """Whether the samples were more than `stop_kl` nats a reply from the reference, or its replies at the
        chat's temperature are too much alike. The run then goes back to the last state that was neither, as
        far as is known, and ends."""
        if kl > self._settings.stop_kl:
            back = "the state before"
            if self._price is not None and self._price.varied_again(loop):
                back = "where replies were not too much alike"
            elif "good" in loop.state:
                loop.restore(loop.state["good"])
            loop.stop(f"{kl:.2f} nats a reply away; went back to {back}")
        elif self._price is not None and self._price.exhausted(loop):
            loop.stop("its replies became too much alike; went back to where they were not")
        else:
            loop.state["good"] = loop.copy()
            return False
        loop.record({"kl": kl})
        return True


def draw(
    policy: TrainedPolicy,
    sampler: Sampler,
    scorer: Scorer,
    prompts: Sequence[Ids],
    samples: int,
    sampling: Sampling,
    guards: Guards,
    *,
    half: bool = True,
    later_round: bool = False,
) -> list[Rollout]:
    """`samples` replies to each prompt from the policy as it is now, scored; prompts of like length are
    neighbours, so that little of a batch is padding. `later_round`: the policy's reference is not the base
    that the scorer looks at."""
    sampler.publish(policy)
    prompts = sorted(prompts, key=len)
    drawn = sampler.rollout(prompts, samples, sampling)
    kept: list[tuple[RankingRow, list[Sampled]]] = []
    for prompt, replies in zip(prompts, drawn, strict=True):
        full = [reply for reply in replies if reply.ids]
        if len(full) > 1:
            kept.append((RankingRow(prompt, tuple(each.ids for each in full), (0,) * len(full)), full))
    rows = [row for row, _ in kept]
    paid = guards.prices.of([[each.text for each in replies] for _, replies in kept])
    reference = _reference(policy, rows, half)
    scored = scorer.score(rows, None if later_round else reference)
    rollouts = []
    for (row, replies), scores, own, states in zip(kept, scored, paid, reference, strict=True):
        rollouts.append(
            Rollout(
                row,
                [each.finish_reason == "stop" for each in replies],
                [guards.of(*each) for each in zip(replies, scores, own, strict=True)],
                [guards.early(each) for each in replies],
                states,
            )
        )
    return rollouts


def _reference(policy: TrainedPolicy, rows: Sequence[RankingRow], half: bool) -> list[Tensor]:
    """What `Rollout.reference` has, of each row."""
    import torch

    found: dict[int, Tensor] = {}
    with torch.no_grad(), half_precision(half), policy.reference():
        for places in alike(rows, MICRO, FORWARD):
            own = [rows[at] for at in places]
            counts = [sum(map(len, row.replies)) for row in own]
            parts = source_states(policy.model, pack(own)).split(counts)
            found.update(zip(places, parts, strict=True))
    return [found[at] for at in range(len(rows))]


def pick_prompts(prompts: Sequence[Ids], count: int, step: int, seed: int) -> list[Ids]:
    """The prompts of one step: all of them in turn, each time round in a new order. What is left of a round
    and would make a smaller step waits for the next one: few samples say little of how far the policy is."""
    order = list(prompts)
    rounds = max(1, len(order) // count)
    random.Random(f"{seed} {step // rounds}").shuffle(order)
    place = step % rounds * count
    return order[place : place + count]
