"""What replies share with each other costs, and the price follows how varied they still are."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

import pytest

from chatapp.core.types import Sampling
from chatapp.training import repetition, rollouts, run
from chatapp.training.base import Ids, Sampled, TrainedPolicy, trainable
from chatapp.training.evaluate import Behaviour
from tests.training.tiny import END, TinySampled, TorchSampler, tiny_policy

pytestmark = pytest.mark.train

BASE = Behaviour(words=9.0, distinct=0.5, duplicates=0.1, short=0.0, unfinished=0.0)


def test_a_phrase_that_is_everywhere_costs() -> None:
    texts = [["how are you", "yes"], ["how are they", "how are you"], ["no idea", "what is it"]]
    found = repetition.repetition(texts)
    # "how are" stands in one of two other prompts' replies, "are you" too; "are they" in none.
    # "how are you" stands word for word among another prompt's.
    assert found == [[1.0, 0.0], [0.25, 1.0], [0.0, 0.0]]
    sampled = TorchSampler()._cut([9, 9, 9, END])
    guards = rollouts.Guards(repeated=3.0)
    assert guards.of(sampled, 1.0) - guards.of(sampled, 1.0, 0.5) == 1.5


def test_the_room_that_is_left() -> None:
    assert repetition.room(BASE, BASE) == pytest.approx(1.0)
    # The gate refuses less than 0.85 of the base's variety, and 5 points more that repeat another.
    assert repetition.room(replace(BASE, distinct=0.425), BASE) == pytest.approx(0.0)
    assert repetition.room(replace(BASE, duplicates=0.15), BASE) == pytest.approx(0.0)
    # The scarcer of the two counts; a gain in one does not make up for the other.
    assert repetition.room(replace(BASE, distinct=0.9, duplicates=0.125), BASE) == pytest.approx(0.5)


@dataclass
class Says:
    """A sampler whose replies are all different, but for the first `same`; of the policy as the base, none
    are the same."""

    same: int = 0
    asked: list[Sampling] = field(default_factory=list)
    learned: bool = True

    def publish(self, policy: TrainedPolicy) -> None:
        self.learned = any(bool(each.any()) for name, each in trainable(policy.model) if "lora_B" in name)

    def rollout(self, prompts: Sequence[Ids], samples: int, sampling: Sampling) -> list[list[Sampled]]:
        self.asked.append(sampling)
        assert len(set(prompts)) == len(prompts) == 40
        same = self.same if self.learned else 0
        return [
            [TinySampled((9,), "one and all" if at < same else f"reply {at} of {sample}", "stop")] * samples
            for at, _ in enumerate(prompts)
            for sample in [at]
        ]


def test_the_price_follows_what_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repetition, "AT_ONCE", 40)
    policy = tiny_policy(learned=0.1)
    before = {name: each.clone() for name, each in trainable(policy.model)}
    loop = run.Loop("rloo", tmp_path, trainable(policy.model), steps=1, learning_rate=0.1)
    sampler, chat = Says(), Sampling(temperature=0.4, seed=5)
    own, openings = [(1, at) for at in range(20)], [(1, at) for at in range(15, 40)]
    price = repetition.Price(policy, sampler, own, openings, chat, 10.0)
    ample = price.at(loop, 0)
    # Looked at as the chat samples: the base once, then the policy.
    assert sampler.asked == [chat, chat]
    sampler.same = 2
    every = repetition.EVERY
    assert [price.at(loop, draw) for draw in range(1, every)] == [ample] * (every - 1)
    exhausted = price.at(loop, every)
    sampler.same = 20
    beyond = price.at(loop, 2 * every)
    assert repetition.LOWEST < ample < 10.0 < exhausted < beyond == repetition.HIGHEST
    # A run that is resumed goes on at the price that it had, and compares with the same base.
    loop.save()
    again = run.Loop("rloo", tmp_path, trainable(policy.model), steps=1, learning_rate=0.1)
    sampler.asked.clear()
    assert repetition.Price(policy, sampler, own, openings, chat, 10.0).at(again, 2 * every + 1) == beyond
    assert sampler.asked == []
    assert all(before[name].equal(each) for name, each in trainable(policy.model))


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
        return repetition.Price(policy, Stopping(), prompts, [], Sampling(seed=5), 10.0)

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
    assert again.step == 0 and ("varied" in again.state) == (parts > 4)
    price().at(again, 0)
    assert sum(drawn[parts:]) == repetition.PROMPTS * (1 if parts > 4 else 2)
