"""Each loss against numbers that were worked out by hand."""

import math

import pytest
import torch

from chatapp.training import dpo, ppo, reward, rloo, sft
from chatapp.training.data import RankingRow
from chatapp.training.packing import pack, token_logits
from tests.training.tiny import tiny_policy

pytestmark = pytest.mark.train


def row(*tiers: int, weight: float = 1.0) -> RankingRow:
    return RankingRow((5, 6), tuple((10 + n, 2) for n in range(len(tiers))), tiers, weight=weight)


def test_supervised_is_the_mean_over_tokens() -> None:
    # Tokens of probability 1/2 and 1/8: (ln 2 + ln 8) / 2 = 2 ln 2.
    assert float(sft.nll(torch.tensor([0.5, 0.125]).log())) == pytest.approx(2 * math.log(2))


def test_dpo_pair() -> None:
    # beta 0.5, gains 2 and -2: sigmoid(0.5 * 4 = 2) = 0.880797; -ln of it is 0.126928.
    policy, reference = torch.tensor([-3.0, -9.0]), torch.tensor([-5.0, -7.0])
    better, worse = torch.tensor([0]), torch.tensor([1])
    loss = dpo.pair_losses(policy, reference, better, worse, beta=0.5, noise=0.0)
    assert float(loss) == pytest.approx(0.126928, abs=1e-6)
    # A quarter of the judgements the wrong way round: 0.75 * 0.126928 + 0.25 * 2.126928 = 0.626928.
    noisy = dpo.pair_losses(policy, reference, better, worse, beta=0.5, noise=0.25)
    assert float(noisy) == pytest.approx(0.626928, abs=1e-6)
    # At the start policy and reference are equal: ln 2.
    assert float(dpo.pair_losses(policy, policy, better, worse, 0.5, 0.0)) == pytest.approx(math.log(2))


def test_dpo_counts_a_ranking_once() -> None:
    # 1 > 0 = 2 gives two pairs of weight 1/2; 0 > 1 one pair of weight 1, its replies numbered on.
    better, worse, weight = dpo.pair_indices([row(1, 0, 1), row(0, 1)])
    assert better.tolist() == [1, 1, 3]
    assert worse.tolist() == [0, 2, 4]
    assert weight.tolist() == [0.5, 0.5, 1.0]


def test_dpo_supervised_term_holds_the_best_up() -> None:
    rows = [row(1, 0), row(0, 0, 1)]
    policy = torch.tensor([-1.0, -4.0, -2.0, -6.0, -8.0])
    # Two tokens a reply: 4 / 2; and the mean of 2 / 2 and 6 / 2.
    assert dpo.supervised_losses(policy, pack(rows), rows).tolist() == [2.0, 2.0]


def test_reward_is_instructgpts_mean_over_pairs() -> None:
    # Scores 2, 1, 0 in this order: leads 1, 2, 1 -> (2 * 0.313262 + 0.126928) / 3 = 0.251151.
    scores = torch.tensor([2.0, 1.0, 0.0])
    assert float(reward.ranking_loss(scores, row(0, 1, 2))) == pytest.approx(0.251151, abs=1e-6)
    # Tied: one lead of 2 and one of 1 -> (0.126928 + 0.313262) / 2 = 0.220095.
    assert float(reward.ranking_loss(scores, row(0, 1, 1))) == pytest.approx(0.220095, abs=1e-6)
    # A margin of 1 for each place leaves leads of 0, 0, 0: ln 2.
    assert float(reward.ranking_loss(scores, row(0, 1, 2), margin=1.0)) == pytest.approx(math.log(2))
    # Noise of one half: nothing is to be learned, so the loss is least at equal scores.
    flat = reward.ranking_loss(torch.zeros(2), row(0, 1), noise=0.5)
    assert float(flat) < float(reward.ranking_loss(torch.tensor([1.0, 0.0]), row(0, 1), noise=0.5))


def test_plackett_luce() -> None:
    # exp(r) = 1, 2, 3 in the order 2 > 1 > 0: 3/6 then 2/3; (ln 2 + ln 1.5) / 2 = ln(3) / 2.
    scores = torch.tensor([1.0, 2.0, 3.0]).log()
    assert float(reward.plackett_luce_loss(scores, row(2, 1, 0))) == pytest.approx(math.log(3) / 2)
    # 2 = 1 > 0: one of them comes first with (3 + 2) / 6.
    assert float(reward.plackett_luce_loss(scores, row(1, 0, 0))) == pytest.approx(math.log(6 / 5))


def test_features_of_a_reply() -> None:
    packed = pack([RankingRow((5,), ((7, 8, 2), (9, 2)), (0, 1))])
    found = reward.features(torch.tensor([-1.0, -5.0, -3.0, -2.0, -4.0]), packed)
    assert found[0].tolist() == pytest.approx([math.log(4), -9, -3, -5, -3, -1])
    assert found[1].tolist() == pytest.approx([math.log(3), -6, -3, -4, -4, -2])


def test_leave_one_out() -> None:
    # Rewards 1, 2, 6: 1 - 4, 2 - 3.5, 6 - 1.5.
    rewards = torch.tensor([1.0, 2.0, 6.0])
    assert rloo.advantages(rewards, 10.0).tolist() == [-3.0, -1.5, 4.5]
    assert rloo.advantages(rewards, 2.0).tolist() == [-2.0, -1.5, 2.0]
    assert rloo.advantages(torch.full((4,), 3.0), 2.0).tolist() == [0.0] * 4


def test_reinforce_gradient() -> None:
    # d/dlogp of -(1/k) sum A logp is -A / k.
    logprobs = torch.tensor([-1.0, -2.0], requires_grad=True)
    rloo.policy_loss(logprobs, torch.tensor([1.5, -1.5])).backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [-0.75, 0.75]


def test_ppo_token_rewards() -> None:
    found = ppo.token_rewards(2.0, torch.tensor([-1.0, -2.0]), torch.tensor([-2.0, -1.0]), beta=0.1)
    assert found.tolist() == pytest.approx([-0.1, 2.1])


def test_gae() -> None:
    # gamma 0.5, lambda 0.5. delta_2 = 2 - 1 = 1, delta_1 = 0 + 0.5 * 1 - 1 = -0.5; A_1 = -0.5 + 0.25 * 1.
    advantages, returns = ppo.gae(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0]), 0.5, 0.5)
    assert advantages.tolist() == [-0.25, 1.0]
    assert returns.tolist() == [0.75, 2.0]
    # gamma = lambda = 1: what came after, less what was expected.
    advantages, _ = ppo.gae(torch.tensor([1.0, 1.0, 1.0]), torch.tensor([0.5, 0.5, 0.5]), 1.0, 1.0)
    assert advantages.tolist() == [2.5, 1.5, 0.5]


def test_ppo_policy_clips_the_winning_side_alone() -> None:
    old = torch.zeros(4)
    ratio = torch.tensor([1.5, 1.5, 0.5, 0.5])
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0])
    # min(1.5, 1.2) + min(-1.5, -1.2) + min(0.5, 0.8) + min(-0.5, -0.8) = 1.2 - 1.5 + 0.5 - 0.8 = -0.6.
    assert float(ppo.clipped_policy_loss(ratio.log(), old, advantages, 0.2)) == pytest.approx(0.6 / 4)
    moving = ratio.log().requires_grad_()
    ppo.clipped_policy_loss(moving, old, advantages, 0.2).backward()
    assert moving.grad is not None
    assert (moving.grad != 0).tolist() == [False, True, True, False]


def test_ppo_value_takes_the_worse() -> None:
    # V 1, was 0, G 1: without the clip 0, with it (0.2 - 1)^2 = 0.64; half of it.
    loss = ppo.clipped_value_loss(torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([1.0]), 0.2)
    assert float(loss) == pytest.approx(0.32)
    # V -1: without the clip 4, with it (-0.2 - 1)^2 = 1.44; half of the larger.
    loss = ppo.clipped_value_loss(torch.tensor([-1.0]), torch.tensor([0.0]), torch.tensor([1.0]), 0.2)
    assert float(loss) == pytest.approx(2.0)


def test_explained_variance() -> None:
    # Returns 0, 2, 4 have variance 4; errors 1, 0, -1 have variance 1.
    returns = torch.tensor([0.0, 2.0, 4.0])
    assert ppo.explained_variance(torch.tensor([-1.0, 2.0, 5.0]), returns) == pytest.approx(0.75)
    assert ppo.explained_variance(torch.full((3,), 9.0), returns) == pytest.approx(0.0)
    assert ppo.explained_variance(-returns, returns) == pytest.approx(-3.0)


def test_what_a_place_strays_is_the_mean_over_what_might_follow_there() -> None:
    torch.manual_seed(0)
    model = tiny_policy(learned=0.5).model
    width = model.get_base_model().get_output_embeddings().weight.shape[1]
    hidden, reference = torch.randn(3, width, requires_grad=True), torch.randn(3, width)
    targets, temperature = torch.tensor([5, 0, 7]), 0.7
    found = rloo.compared(model, hidden, reference, targets, temperature)
    with torch.no_grad():
        for at, target in enumerate(targets.tolist()):
            own, others = (
                (token_logits(model, each) / temperature).softmax(-1)[at] for each in (hidden, reference)
            )
            share = sum(float(p) * math.log(p / q) for p, q in zip(own, others, strict=True))
            assert found[at].tolist() == pytest.approx([math.log(own[target]), share], rel=1e-4)
    found[:, 1].sum().backward()
    assert hidden.grad is not None and float(hidden.grad.norm()) > 0
    same = rloo.compared(model, reference, reference, targets, temperature)
    assert same[:, 1].tolist() == pytest.approx([0.0] * 3, abs=1e-6)
