"""What the reference finds of samples is found once, for whoever needs it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from chatapp.core.paths import embedded_model
from chatapp.core.types import Sampling, Turn
from chatapp.engine.base import AdapterSpec, ModelSpec
from chatapp.engine.tuning import TuningClient
from chatapp.training import packing, reward, rollouts
from chatapp.training.data import RankingRow
from chatapp.training.export import write_adapter
from chatapp.training.model import load_policy
from chatapp.training.packing import pack, source_states
from chatapp.training.sampler import EngineSampler
from tests.training.rows import question_rows
from tests.training.test_parity import changed
from tests.training.tiny import TorchSampler, tiny_policy

pytestmark = pytest.mark.train


class Spy:
    """A scorer that keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    def score(self, rows: Sequence[RankingRow], base: Any = None) -> list[list[float]]:
        self.given.append(base)
        return [[0.0 for _ in row.replies] for row in rows]


@pytest.mark.parametrize("later", [False, True])
def test_each_rollout_has_the_states_of_its_own_row(later: bool) -> None:
    policy, spy = tiny_policy(learned=0.5), Spy()
    prompts = [row.prompt[: 3 + number] for number, row in enumerate(question_rows()[:12])]
    drawn = rollouts.draw(
        policy,
        TorchSampler(),
        spy,
        prompts,
        3,
        Sampling(temperature=1.0, max_tokens=9),
        rollouts.Guards(),
        half=False,
        later_round=later,
    )
    assert len(drawn) == len(prompts)
    for one in drawn:
        with torch.no_grad(), policy.reference():
            alone = source_states(policy.model, pack([one.row]))
        torch.testing.assert_close(one.reference, alone, atol=1e-4, rtol=1e-4)
        with torch.no_grad():
            assert not torch.allclose(one.reference, source_states(policy.model, pack([one.row])), atol=1e-2)
    # In a later round the policy's reference is another than the base.
    assert (spy.given[0] is None) == later


def test_a_reward_model_need_not_look_at_the_base_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, rows = tiny_policy(learned=0.5), question_rows()
    model = reward.RewardModel(policy, reward.RewardSettings(learning_rate=1e-2, half=False))
    reward.train(model, rows, tmp_path)
    with torch.no_grad(), policy.reference():
        base = [source_states(policy.model, pack([row])) for row in rows]
    looks: list[Any] = []

    def states(network: Any, packed: Any) -> Any:
        looks.append(packed)
        return packing.states(network, packed)

    monkeypatch.setattr(reward, "states", states)
    found = model.score(rows)
    twice = len(looks)
    known = model.score(rows, base)
    assert len(looks) == 1.5 * twice
    assert known == [pytest.approx(own, abs=1e-4) for own in found]
    # It is what it is given that it goes by.
    assert model.score(rows, [-each for each in base]) != [pytest.approx(own, abs=1e-2) for own in found]


class Remembering(TuningClient):
    """An engine that knows which adapters were set."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.adapters: list[AdapterSpec | None] = []

    def set_adapter(self, adapter: AdapterSpec | None) -> None:
        self.adapters.append(adapter)
        super().set_adapter(adapter)


def test_an_adapter_that_adds_nothing_is_left_off(tmp_path: Path) -> None:
    engine = Remembering(tmp_path)
    engine.load(ModelSpec(embedded_model(), "guide", threads=1))
    try:
        prompts = [engine.encode([Turn("user", text)]).ids for text in ("Hello there", "Do you like music?")]
        policy = load_policy(embedded_model(), seed=0)
        sampler = EngineSampler([engine], tmp_path / "rollout.gguf")
        chat = Sampling(temperature=0.4, max_tokens=24, seed=3)

        def drawn() -> list[list[Any]]:
            return [[each.ids for each in own] for own in sampler.rollout(prompts, 4, chat)]

        engine.set_adapter(AdapterSpec("nothing", write_adapter(policy, tmp_path / "nothing.gguf", {})))
        under_nothing = drawn()
        sampler.publish(policy)
        assert engine.adapters[-1] is None
        assert drawn() == under_nothing
        changed(policy)
        sampler.publish(policy)
        assert engine.adapters[-1] is not None
        assert drawn() != under_nothing
    finally:
        engine.close()
