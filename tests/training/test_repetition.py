"""What replies share with each other costs, and the price follows how varied they still are."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from chatapp.core.types import Sampling
from chatapp.training import repetition, rloo, rollouts, run
from chatapp.training.base import Ids, Sampled, TrainedPolicy, trainable
from chatapp.training.data import RankingRow
from chatapp.training.evaluate import Behaviour
from chatapp.training.repetition import AIM, GAIN, LEAST, MOST, Prices
from tests.training.tiny import END, Begun, TinySampled, TorchSampler, tiny_policy

pytestmark = pytest.mark.train

BASE = Behaviour(words=9.0, distinct=0.5, duplicates=0.1, short=0.0, unfinished=0.0)


def test_what_is_said_already_costs() -> None:
    texts = [["how are you", "yes"], ["how are they", "how are you"], ["no idea", "what is it"]]
    # "how are" and "are you" stand in the replies to two prompts: 5 of 9 pairs are said already, 1 - U/N is
    # taken as 4/9, and a reply has 1.5 pairs on average.
    pays = [[(2 - 8 / 9) / 1.5, 0.0], [(1 - 8 / 9) / 1.5, (2 - 8 / 9) / 1.5], [-4 / 9 / 1.5, -8 / 9 / 1.5]]
    assert Prices(1.0, 0.0).of(texts) == [pytest.approx(each) for each in pays]
    assert Prices(2.0, 3.0).of(texts)[0] == pytest.approx([2 * pays[0][0], 0.0])
    # Of the five pairs of a reply that turns round in a circle three are its own again.
    [[circle, straight], _] = Prices(1.0, 0.0).of([["a b a b a b", "a b c d e f"], ["x y"]])
    assert circle - straight == pytest.approx(3 / (11 / 3))
    assert Prices().of([]) == [] and Prices().of([["yes"]]) == [[0.0]]
    sampled = TorchSampler()._cut([9, 9, 9, END])
    guards = rollouts.Guards()
    assert guards.of(sampled, 1.0) - guards.of(sampled, 1.0, 1.5) == 1.5


def test_the_room_that_is_left() -> None:
    assert astuple(repetition.rooms(BASE, BASE)) == pytest.approx((1.0, 1.0))
    # The gate refuses less than 0.85 of the base's variety, and 5 points more that repeat another.
    assert repetition.rooms(replace(BASE, distinct=0.425), BASE).pairs == pytest.approx(0.0)
    assert repetition.rooms(replace(BASE, duplicates=0.15), BASE).whole == pytest.approx(0.0)
    # A gain in one does not make up for the other.
    both = repetition.rooms(replace(BASE, distinct=0.9, duplicates=0.125), BASE)
    assert astuple(both) == pytest.approx(((1.8 - 0.85) / 0.15, 0.5))


@dataclass
class Says:
    """A sampler whose replies are all different, but for `same` of them from `start` on; of the policy as the
    base, none are the same."""

    same: int = 0
    start: int = 0
    asked: list[Sampling] = field(default_factory=list)
    learned: bool = True

    def publish(self, policy: TrainedPolicy) -> None:
        self.learned = any(bool(each.any()) for name, each in trainable(policy.model) if "lora_B" in name)

    def rollout(self, prompts: Sequence[Ids], samples: int, sampling: Sampling) -> list[list[Sampled]]:
        self.asked.append(sampling)
        assert len(set(prompts)) == len(prompts) == 80
        same = range(self.start, self.start + (self.same if self.learned else 0))
        texts = ["one and all" if at in same else f"reply {at} of {at}" for at, _ in enumerate(prompts)]
        return [[TinySampled((9,), text, "stop")] * samples for text in texts]


def test_the_price_follows_what_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repetition, "AT_ONCE", 80)
    policy = tiny_policy(learned=0.1)
    before = {name: each.clone() for name, each in trainable(policy.model)}
    loop = run.Loop("rloo", tmp_path, trainable(policy.model), steps=1, learning_rate=0.1)
    sampler, chat = Says(), Sampling(temperature=0.4, seed=5)
    usual = Prices(10.0, 5.0)
    own, openings = [(1, at) for at in range(40)], [(1, at) for at in range(30, 80)]
    price = repetition.Price(policy, sampler, own, openings, chat, usual)
    ample = price.at(loop, 0)
    # Looked at as the chat samples: the base once, then the policy.
    assert sampler.asked == [chat, chat]
    # Two of 40 of the one kind say the same: 5 points more, all that the gate allows; the variety of words
    # suffers little.
    sampler.same = 2
    every = repetition.EVERY
    assert [price.at(loop, draw) for draw in range(1, every)] == [ample] * (every - 1)
    exhausted = price.at(loop, every)
    # Neither kind makes up for the other.
    sampler.start = 40
    assert astuple(price.at(loop, 2 * every)) == pytest.approx(astuple(exhausted))
    sampler.same = 20
    beyond = price.at(loop, 3 * every)
    assert LEAST * 5.0 < ample.whole < 5.0 < exhausted.whole < beyond.whole == MOST * 5.0
    assert LEAST * 10.0 < ample.pairs < exhausted.pairs < 10.0 < beyond.pairs == MOST * 10.0
    # The two that say the same, and nothing else, are there to be said less often.
    sampler.start, sampler.same = 10, 2
    price.at(loop, 4 * every)
    assert [prompt for prompt, _ in loop.state["same"]] == [prompt for prompt in own[10:12] for _ in (1, 2)]
    assert price.looked_at == 160
    sampler.same = 20
    beyond = price.at(loop, 5 * every)
    # A run that is resumed goes on at the price that it had, and compares with the same base.
    loop.save()
    again = run.Loop("rloo", tmp_path, trainable(policy.model), steps=1, learning_rate=0.1)
    sampler.asked.clear()
    assert repetition.Price(policy, sampler, own, openings, chat, usual).at(again, 5 * every + 1) == beyond
    assert sampler.asked == []
    assert all(before[name].equal(each) for name, each in trainable(policy.model))


def test_own_prompts_of_all_kinds_are_looked_at(tmp_path: Path) -> None:
    policy, asked = tiny_policy(), []

    class Listening(TorchSampler):
        def rollout(
            self, prompts: Sequence[Ids], samples: int, sampling: Sampling
        ) -> list[list[TinySampled]]:
            asked.extend(prompts)
            return [[TinySampled((9,), f"reply {prompt}", "stop")] * samples for prompt in prompts]

    ranked, earlier = [(1, 5, at) for at in range(100)], [(1, 6, at) for at in range(100)]
    openings = [(1, 7, at) for at in range(300)]
    price = repetition.Price(policy, Listening(), [*ranked, *earlier], openings, Sampling(), Prices())
    price.at(run.Loop("rloo", tmp_path, trainable(policy.model), steps=1, learning_rate=0.1), 0)
    # The base and the policy.
    assert len(asked) == 2 * repetition.PROMPTS
    kinds = Counter(prompt[1] for prompt in asked[: repetition.PROMPTS])
    assert kinds == {5: 32, 6: 32, 7: 64}


def test_in_a_later_round_what_was_lost_before_counts_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repetition, "AT_ONCE", 80)
    own, openings = [(1, at) for at in range(40)], [(1, at) for at in range(40, 80)]
    base = tiny_policy(learned=0.1)
    policy = Begun(base.model)

    def price(folder: str, base: TrainedPolicy | None) -> float:
        loop = run.Loop("rloo", tmp_path / folder, trainable(policy.model), steps=1, learning_rate=0.1)
        # 3 of 40 say the same, as when the round began, and none of the base's: 7.5 of the 10 points that all
        # rounds may lose.
        made = repetition.Price(
            *(policy, Says(same=3), own, openings, Sampling(), Prices(10.0, 5.0)), base=base
        )
        return made.at(loop, 0).whole

    assert price("alone", None) == pytest.approx(5.0 * math.exp(GAIN * (AIM - 1)))
    assert price("both", base) == pytest.approx(5.0 * math.exp(GAIN * (AIM - 0.25)))


def test_looks_in_turn_have_other_prompts(tmp_path: Path) -> None:
    policy, looks = tiny_policy(learned=0.1), []

    class Listening(TorchSampler):
        def rollout(
            self, prompts: Sequence[Ids], samples: int, sampling: Sampling
        ) -> list[list[TinySampled]]:
            looks.append(set(prompts))
            return [[TinySampled((9,), f"reply {prompt}", "stop")] * samples for prompt in prompts]

    own, openings = [(1, 5, at) for at in range(130)], [(1, 7, at) for at in range(300)]
    loop = run.Loop("rloo", tmp_path, trainable(policy.model), steps=1, learning_rate=0.1)
    price = repetition.Price(policy, Listening(), own, openings, Sampling(), Prices())
    for draw in range(0, 6 * repetition.EVERY, repetition.EVERY):
        price.at(loop, draw)
    # The base's replies to the same prompts once, then the policy's.
    seen = [set().union(*looks[at : at + 4]) for at in range(0, len(looks), 4)]
    assert [len(each) for each in seen] == [128] * 10
    assert seen[::2][:4] == seen[1::2][:4] and seen[8:] == seen[:3:2]
    first, second, third, fourth = seen[:8:2]
    assert not first & second and first & third == {each for each in first if each[1] == 5}
    assert len(first | second | third | fourth) == 6 * 64


@pytest.mark.parametrize("few", [(0, 10), (10, 0), (3, 400), (400, 3), (100, 40), (0, 0)])
def test_one_kind_of_prompt_makes_up_for_the_other(few: tuple[int, int]) -> None:
    prompts, openings = ([(kind, at) for at in range(count)] for kind, count in enumerate(few))
    found = repetition.views(prompts, openings)
    assert all(sum(map(len, each)) == min(sum(few), repetition.PROMPTS) for each in found)
    assert all(part for each in found for part in each)
    assert bool(found) == bool(sum(few))


@pytest.mark.parametrize("parts", [1, 6])
def test_a_look_ends_soon_after_somebody_asked_for_it(tmp_path: Path, parts: int) -> None:
    policy, stop = tiny_policy(learned=0.1), Event()
    before = {name: each.clone() for name, each in trainable(policy.model)}

    class Stopping(TorchSampler):
        def rollout(
            self, prompts: Sequence[Ids], samples: int, sampling: Sampling
        ) -> list[list[TinySampled]]:
            drawn.append(len(prompts))
            if len(drawn) == parts:
                stop.set()
            return [[TinySampled((9,), f"reply {at}", "stop")] * samples for at, _ in enumerate(prompts)]

    def price() -> repetition.Price:
        prompts = [(1, at, at) for at in range(repetition.PROMPTS)]
        return repetition.Price(policy, Stopping(), prompts, [], Sampling(seed=5), Prices())

    drawn: list[int] = []
    parameters = [*trainable(policy.model)]
    loop = run.Loop("rloo", tmp_path, parameters, steps=1, learning_rate=0.1, limits=run.Limits(stop=stop))
    with pytest.raises(run.Interrupted):
        price().at(loop, 0)
    assert len(drawn) == parts and sum(drawn) < 2 * repetition.PROMPTS
    assert all(before[name].equal(each) for name, each in parameters)
    # It goes on with that step; what was found out by then is known.
    stop.clear()
    again = run.Loop("rloo", tmp_path, parameters, steps=1, learning_rate=0.1)
    assert again.step == 0 and (0 in again.state["references"]) == (parts > 4)
    price().at(again, 0)
    assert sum(drawn[parts:]) == repetition.PROMPTS * (1 if parts > 4 else 2)


class Flat:
    """A scorer that likes all replies alike."""

    def score(self, rows: Sequence[RankingRow], base: Any = None) -> list[list[float]]:
        return [[0.0 for _ in row.replies] for row in rows]


class Run:
    """An on-policy run that is told how many of 80 prompts get the same reply."""

    def __init__(self, folder: Path) -> None:
        policy, prompts = tiny_policy(learned=0.1), [(1, at) for at in range(80)]
        self.sampler, self._parameters = Says(), [*trainable(policy.model)]
        settings = rloo.RlooSettings(prompts=2, samples=2)
        self.loop = run.Loop("rloo", folder, self._parameters, steps=99, learning_rate=0.1)
        self.source = rollouts.OnPolicy(
            *(policy, self.sampler, Flat(), prompts, rollouts.Guards(), settings), Sampling(max_tokens=8)
        )

    def goes_on(self, draw: int, same: int, kl: float = 0.1) -> bool:
        self.sampler.same = same
        assert self.source._price is not None
        self.source._price.at(self.loop, draw)
        return not self.source.too_far(self.loop, kl)

    @property
    def place(self) -> float:
        return float(sum(each.detach().sum() for _, each in self._parameters))

    def moves(self) -> float:
        with torch.no_grad():
            for _, each in self._parameters:
                each += 0.1
        return self.place


def test_a_run_whose_replies_are_too_much_alike_goes_back_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repetition, "AT_ONCE", 80)
    own, every = Run(tmp_path), repetition.EVERY
    assert own.goes_on(0, 0) and own.goes_on(every, 5)
    own.moves()
    # One look may be wrong.
    assert own.goes_on(2 * every, 20) and own.goes_on(3 * every, 0)
    varied = own.place
    assert own.moves() != varied and own.goes_on(4 * every, 20)
    own.moves()
    assert not own.goes_on(5 * every, 20)
    assert own.place == varied
    assert own.loop.stopped is not None and "too much alike" in own.loop.stopped


@pytest.mark.parametrize("alike", [False, True])
def test_the_hard_stop_goes_back_to_where_replies_were_varied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alike: bool
) -> None:
    monkeypatch.setattr(repetition, "AT_ONCE", 80)
    own, every = Run(tmp_path), repetition.EVERY
    assert own.goes_on(0, 0)
    varied = own.place
    own.moves()
    assert own.goes_on(every, 20 if alike else 0)
    before = own.moves()
    assert own.goes_on(every + 1, 0)
    own.moves()
    assert not own.goes_on(every + 2, 0, kl=3.0)
    assert own.place == (varied if alike else before) != (before if alike else varied)
    assert own.loop.stopped is not None and ("alike" in own.loop.stopped) == alike
