"""Reinforcement learning from the reward model, with the other samples of a prompt as the baseline (RLOO).

    chatapp train rloo

Each step samples k replies y_1 .. y_k to each of some prompts x from the policy p as it is now. The reward
R of a reply is the reward model's score r, less what it strays from the base p_ref (the policy with its
adapter switched off), as in InstructGPT's objective (Ouyang et al. 2022, equation 2, first term):

    R(x, y) = r(x, y) - beta * D(x, y),    D(x, y) = log [ p(y|x) / p_ref(y|x) ]

REINFORCE (Williams 1992) makes a reply more probable by its advantage. Leave-one-out (Kool et al. 2019;
Ahmadian et al. 2024, "Back to basics", equation 8) takes the mean of the other k - 1 rewards of the same
prompt as the baseline, so that no value network is needed:

    A_i  = R_i - 1 / (k - 1) * sum_(j != i) R_j
    grad = 1 / k * sum_i A_i * grad log p(y_i|x)

The mean of D is the divergence KL(p || p_ref), in nats a reply. A single D is a noisy figure of it: what the
next token might have been is known as well. So in its place stands its mean over that token, place by place
(Rao-Blackwell), whose mean is the same; since it depends on p itself, its own gradient is added:

    D(x, y) = sum_t sum_v p(v|x, y_<t) * log [ p(v|x, y_<t) / p_ref(v|x, y_<t) ]
    grad    = 1 / k * sum_i [ A_i * grad log p(y_i|x) - beta * grad D(x, y_i) ]

The whole reply is one action: log p(y|x) is the sum over its tokens. Advantages are clipped at +-2, since
one lucky outlier otherwise turns the policy round. One step is taken per sample (on-policy), so no ratio
has to be clipped.

Sampling at a temperature T other than 1 is sampling another policy, softmax(logits / T), and log p is that
policy's (Huang et al. 2024, "The N+ implementation details of RLHF with PPO"). A model that is sure of itself
says nearly the same each time at the chat's temperature, and then there is nothing to choose from: samples
are drawn at 1, which is the policy as it is.

What keeps it from ruining the model: beta; a price on saying what is said already (`repetition`); losses on
saying the same to several prompts (`sameness`) and on ending too early (`endings`); general dialogue mixed in
(InstructGPT's PPO-ptx, equation 2, last term); and a hard stop. When the mean of D over the samples has
passed `stop_kl` nats, the run goes back to the last state that had not, and ends there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatapp.core.types import Sampling
from chatapp.training.base import Ids, Sampler, TrainedPolicy, half_precision, trainable
from chatapp.training.data import SftRow
from chatapp.training.endings import early, early_ending_loss, end_probabilities, ending
from chatapp.training.packing import MICRO, alike, pack, per_reply, source_states, token_logits, vocabulary
from chatapp.training.progress import Listener, silent
from chatapp.training.recompute import in_parts
from chatapp.training.replay import Replay
from chatapp.training.rollouts import UNFILTERED, Guards, OnPolicy, Rollout, Scorer
from chatapp.training.run import Limits, Loop

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class RlooSettings:
    steps: int = 60
    prompts: int = 16
    samples: int = 4
    learning_rate: float = 5e-4
    beta: float = 0.1
    clip: float = 2.0
    stop_kl: float = 2.5
    """Nats a reply; `rollouts.stop_kl` allows long replies more."""
    ending: float = 30.0
    """Weight of the loss on ending too early: what such a reply costs, in deviations of the reward model."""
    mix: float = 1.0
    """Weight of the supervised loss on general dialogue."""
    mix_rows: int = 8
    micro: int = MICRO
    """Prompts whose samples go through the network at once, at most."""
    sampling: Sampling = UNFILTERED
    seed: int = 0
    half: bool = True


def advantages(rewards: Tensor, clip: float) -> Tensor:
    """(k,) leave-one-out advantages of the k rewards of one prompt, clipped."""
    k = len(rewards)
    others = (rewards.sum() - rewards) / (k - 1)
    return (rewards - others).clamp(-clip, clip)


def policy_loss(logprobs: Tensor, advantage: Tensor) -> Tensor:
    """Its gradient is minus the equation's. `logprobs` (k,): log p(y_i|x); `advantage` (k,) is a constant."""
    return -(advantage.detach() * logprobs).mean()


def train(
    policy: TrainedPolicy,
    sampler: Sampler,
    scorer: Scorer,
    prompts: Sequence[Ids],
    folder: Path,
    settings: RlooSettings = RlooSettings(),
    *,
    guards: Guards = Guards(),
    chat: Sampling | None = None,
    mix: Sequence[SftRow] = (),
    base: TrainedPolicy | None = None,
    limits: Limits = Limits(),
    progress: Listener = silent,
) -> Loop:
    """Tune `policy` in place on samples to `prompts`; `chat` is how the chat samples, for the prices of
    repeating; `base` is the same policy with the base as its reference, in a later round."""
    source = OnPolicy(policy, sampler, scorer, prompts, guards, settings, chat, mix, base)
    loop = Loop(
        "rloo",
        folder,
        trainable(policy.model),
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        decay=False,
        limits=limits,
        progress=progress,
    )
    replay = Replay(policy, mix, settings.mix, settings.mix_rows, settings.seed, settings.half)
    for step in loop:
        rollouts = source.draw(loop, step)
        kl, rewards = [0.0], [0.0]
        for places in alike([rollout.row for rollout in rollouts], settings.micro):
            part = [rollouts[at] for at in places]
            loss, drift = _loss(policy, part, settings)
            loop.backward(loss * len(part) / min(settings.prompts, len(prompts)))
            kl += drift
            rewards += [each for rollout in part for each in rollout.rewards]
        drifted = loop.mean(kl[1:])
        if source.too_far(loop, drifted):
            continue
        source.vary(loop)
        mixed = replay.add(loop, step)
        loop.update({"reward": loop.mean(rewards[1:]), "kl": drifted, "mix": mixed or 0.0})
    return loop


def _loss(
    policy: TrainedPolicy, rollouts: Sequence[Rollout], settings: RlooSettings
) -> tuple[Tensor, list[float]]:
    """The mean loss over some prompts, and how far each sample strays."""
    import torch

    packed, warmth = pack([rollout.row for rollout in rollouts]), settings.sampling.temperature
    model, end = policy.model, ending(rollouts)
    places = early(packed, [count for rollout in rollouts for count in rollout.early])
    reference = torch.cat([rollout.reference for rollout in rollouts])
    with half_precision(settings.half):
        own = source_states(model, packed)
        found = compared(model, own, reference, packed.targets, warmth)
        ended, before = (end_probabilities(model, each, places, end, warmth) for each in (own, reference))
    logprobs, drift = (per_reply(each, packed) for each in found.unbind(1))
    rewards = torch.tensor([each for rollout in rollouts for each in rollout.rewards])
    rewards = rewards - settings.beta * drift.detach()
    losses, start = [], 0
    for rollout in rollouts:
        its = slice(start, start + len(rollout.rewards))
        losses.append(policy_loss(logprobs[its], advantages(rewards[its], settings.clip)))
        start += len(rollout.rewards)
    loss = torch.stack(losses).mean() + settings.beta * drift.mean()
    if settings.ending:
        loss = loss + settings.ending * early_ending_loss(ended, before, packed.replies)
    return loss, drift.tolist()


def compared(model: Any, hidden: Tensor, reference: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """(N, 2) of N places whose (N, width) last states are `hidden` under p and `reference` under p_ref: log p
    of the token that follows there, and the place's share of D. Both have the base's output layer."""

    def each(hidden: Tensor, reference: Tensor, targets: Tensor) -> Tensor:
        import torch

        own, others = (
            (token_logits(model, states) / temperature).log_softmax(-1) for states in (hidden, reference)
        )
        chosen = own.gather(1, targets[:, None]).squeeze(1)
        return torch.stack([chosen, (own.exp() * (own - others)).sum(-1)], 1)

    return in_parts(each, 2 * vocabulary(model), hidden, reference, targets)
