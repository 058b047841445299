"""A reward model gives the same scores from the engine as in the trainer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.core.errors import ModelError
from chatapp.engine.base import AdapterSpec, ModelSpec
from chatapp.engine.tuning import TuningClient
from chatapp.training import reward
from chatapp.training.data import RankingRow
from chatapp.training.export import write_adapter
from chatapp.training.model import load_policy
from chatapp.training.serve import ServedReward, write_reward
from tests.training.architectures import make
from tests.training.test_parity import changed

pytestmark = pytest.mark.train


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[TuningClient]:
    client = TuningClient(tmp_path / "cache")
    yield client
    client.close()


def test_served_scores_equal_the_trainers(tmp_path: Path, engine: TuningClient) -> None:
    file = make(tmp_path / "model.gguf", "llama")
    policy = changed(load_policy(file))
    rows = [
        RankingRow((30 + n, 31, 32), ((40, 41, 42, 43), (50, 51 + n, 43), (43,)), (0, 1, 2)) for n in range(6)
    ]
    settings = reward.RewardSettings(epochs=6, batch=2, learning_rate=1e-2, head_rate=1e-2, half=False)
    model = reward.RewardModel(policy, settings)
    reward.train(model, rows, tmp_path / "run")
    expected = model.score(rows[:2])
    served = ServedReward(write_reward(policy, model, tmp_path / "reward.gguf", {"round": 1}))
    engine.load(ModelSpec(file, "model", threads=1))
    chat = AdapterSpec("chat", write_adapter(policy, tmp_path / "chat.gguf", {}))
    engine.set_adapter(chat)
    before = engine.logprobs([rows[0].prompt])
    for row, scores in zip(rows, expected, strict=False):
        found = served.score(engine, row.prompt, row.replies, chat)
        assert found == pytest.approx(scores, abs=0.02)
    assert max(expected[0]) - min(expected[0]) > 0.5
    # The chat's own adapter is on again.
    assert engine.logprobs([rows[0].prompt]) == before


def test_another_adapter_is_no_reward_model(tmp_path: Path) -> None:
    policy = load_policy(make(tmp_path / "model.gguf", "llama"))
    with pytest.raises(ModelError, match="no reward model"):
        ServedReward(write_adapter(policy, tmp_path / "a.gguf", {}))
