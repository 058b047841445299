"""Replies that end too early are held down without one being drawn."""

import pytest
import torch

from chatapp.training import rloo, rollouts
from chatapp.training.base import trainable
from chatapp.training.data import RankingRow
from chatapp.training.endings import early, early_ending_loss, ending
from chatapp.training.packing import pack, source_states
from tests.training.tiny import END, TinySampled, tiny_policy

pytestmark = pytest.mark.train

ROWS = [
    RankingRow((1, 2), ((5, 6, 7, END), (5, END)), (0, 0)),
    RankingRow((1,), ((8, 9, 10, 11, END),), (0,)),
]


def test_early_places_are_those_where_an_end_makes_a_reply_too_short() -> None:
    packed = pack(ROWS)
    # Two places in each reply: before its first token and before its second.
    assert packed.targets[early(packed, [2, 2, 2])].tolist() == [5, 6, 5, END, 8, 9]
    assert packed.targets[early(packed, [0, 1, 3])].tolist() == [5, 8, 9, 10]
    assert early(packed, [0, 0, 0]).tolist() == []
    assert len(early(packed, [99, 99, 99])) == len(packed.targets)


def test_a_reply_is_too_short_by_its_tokens_or_by_its_words() -> None:
    def sampled(text: str) -> TinySampled:
        return TinySampled((*(each + 3 for each in text.encode()), END), text, "stop")

    # "It" is a word as soon as it has a letter, and "it's" one word: the third begins behind "It's me ".
    assert rollouts.Guards().early(sampled("It's me again.")) == len("It's me ") + 1
    assert rollouts.Guards().early(sampled("It's me.")) == len("It's me.") + 1
    assert rollouts.Guards(shortest=4).early(sampled("a b c d e f")) == len("a b ") + 1
    assert rollouts.Guards(shortest=9).early(sampled("a b c d e f")) == 8
    assert rollouts.Guards(shortest=9).early(sampled("a")) == 2


def test_only_what_is_more_than_a_quarter_of_the_base_costs() -> None:
    own, reference = torch.tensor([0.5, 0.1, 0.2]), torch.tensor([0.2, 0.3, 0.2])
    assert float(early_ending_loss(own, reference, 2)) == pytest.approx((0.45 + 0.025 + 0.15) / 2)


def test_the_token_that_ends_replies() -> None:
    finished = rollouts.Rollout(ROWS[0], [True, True], [0.0, 0.0], [0, 0], torch.zeros(6, 1))
    cut = rollouts.Rollout(ROWS[1], [False], [0.0], [0], torch.zeros(5, 1))
    assert ending([cut, finished]) == END
    assert ending([cut]) is None


def end_after_a_word(weight: float) -> float:
    """Probability of the end after the first token, where a short reply is worth more than a long one."""
    policy = tiny_policy()
    row = RankingRow((5, 6), ((70, END), (70, 71, 72, END)), (0, 0))
    with torch.no_grad():
        base = source_states(policy.model, pack([row]))
    drawn = rollouts.Rollout(row, [True, True], [1.0, -1.0], [2, 3], base)
    settings = rloo.RlooSettings(beta=0.0, half=False, ending=weight)
    optimizer = torch.optim.AdamW([each for _, each in trainable(policy.model)], lr=2e-2)
    for _ in range(25):
        optimizer.zero_grad()
        loss, _ = rloo._loss(policy, [drawn], settings)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        logits = policy.model(input_ids=torch.tensor([[5, 6, 70]])).logits[0, -1]
    return float(logits.softmax(-1)[END])


def test_a_reward_for_short_replies_does_not_end_in_none() -> None:
    assert end_after_a_word(0.0) > 0.1
    assert end_after_a_word(30.0) < 0.05
