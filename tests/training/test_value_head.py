"""PPO on the embedded guide, through its engine: the value head learns what to expect of a reply."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from chatapp.core.paths import embedded_model
from chatapp.core.types import Turn
from chatapp.engine.base import ModelSpec
from chatapp.engine.tuning import TuningClient
from chatapp.training import ppo, run
from chatapp.training.data import RankingRow, encode_reply
from chatapp.training.model import load_policy
from chatapp.training.repetition import FREE
from chatapp.training.rollouts import Guards
from chatapp.training.sampler import EngineSampler

pytestmark = pytest.mark.train

ASKED = (
    "Hello there",
    "I need a place to eat tonight",
    "Can you find me a bus to Fresno?",
    "What is your name?",
    "Do you like music?",
    "I want to book a room for two",
    "Play me a song please",
    "How is the weather in Paris?",
)


class Likes:
    """Scores a reply by whether it holds a token."""

    def __init__(self, token: int) -> None:
        self.token = token

    def score(self, rows: Sequence[RankingRow], base: Any = None) -> list[list[float]]:
        return [[2.0 * (self.token in reply) - 1.0 for reply in row.replies] for row in rows]


def test_the_value_head_learns_what_to_expect(tmp_path: Path) -> None:
    model = embedded_model()
    engine = TuningClient(tmp_path)
    engine.load(ModelSpec(model, "guide", threads=1))
    try:
        prompts = [engine.encode([Turn("user", text)]).ids for text in ASKED]
        mark = encode_reply(engine, [Turn("user", ASKED[0])], prompts[0], "Are you there?")[-2]
        ppo.train(
            load_policy(model, seed=0),
            EngineSampler([engine], tmp_path / "rollout.gguf"),
            Likes(mark),
            prompts,
            tmp_path / "ppo",
            ppo.PpoSettings(steps=4, prompts=8, samples=6, epochs=1, minibatch=2),
            guards=Guards(words=0, prices=FREE),
        )
    finally:
        engine.close()
    foreseen = [line["explained"] for line in run.metrics(tmp_path / "ppo")][::4]
    # It starts at zero, knowing nothing; the samples of each step are new to it.
    assert foreseen[0] == pytest.approx(0.0, abs=1e-3)
    assert sum(foreseen[-2:]) / 2 > 0.1
