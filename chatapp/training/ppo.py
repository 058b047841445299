"""Proximal policy optimisation against the reward model, as InstructGPT was trained (Ouyang et al. 2022).

    chatapp train ppo

A reply y_1 .. y_T to a prompt x is a chain of actions, one a token. Each step:

1. Samples replies from the policy p as it is now (p_old from here on), and scores each with the reward
   model r.
2. Gives each token a reward: minus what it strays from the base p_ref (the policy with its adapter switched
   off), and the score at the last token (Ziegler et al. 2019, equation 2; Ouyang et al. 2022, equation 2,
   first term):

       r_t = - beta * log [ p_old(y_t) / p_ref(y_t) ]  +  (r(x, y) if t = T else 0)

3. Estimates how much better each token was than the value head V expected (Schulman et al. 2016, generalised
   advantage estimation, equation 16), with V_t the value before token t and V_(T+1) = 0:

       delta_t = r_t + gamma * V_(t+1) - V_t          A_t = sum_(l >= 0) (gamma * lambda)^l * delta_(t+l)

   and what the value should have been: G_t = A_t + V_t. Advantages are scaled to mean 0, deviation 1.
4. Takes a few gradient steps on the same samples, without letting any token's probability run away
   (Schulman et al. 2017, PPO, equation 7). With rho_t = p(y_t) / p_old(y_t):

       L_policy = - mean_t min( rho_t * A_t,  clip(rho_t, 1 - eps, 1 + eps) * A_t )

   The value head learns G_t, clipped in the same manner (Schulman's baselines code; Ziegler et al. 2019,
   code):

       L_value = 1/2 * mean_t max( (V_t - G_t)^2,  (clip(V_t, V_old - eps_v, V_old + eps_v) - G_t)^2 )

5. Mixes general dialogue in: PPO-ptx (Ouyang et al. 2022, equation 2, last term):

       L = L_policy + c_v * L_value - gamma_ptx * mean log p(dialogue)

The value head reads the policy's hidden states and does not change them; `explained` in the metrics is the
share of the variance of new samples' returns that it foresaw. Saying what is said already has its price
(`repetition`); losses on saying the same to several prompts (`sameness`) and on ending too early (`endings`)
stand in for samples too rare to be drawn. When the mean of log p / p_ref over the samples passes `stop_kl`
nats a reply, the run goes back to the last state that had not, and ends there. Both are probabilities at the
temperature of the samples, as in `rloo`.
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
from chatapp.training.packing import Pack, pack, per_reply, source_states, token_logprobs
from chatapp.training.progress import Listener, silent
from chatapp.training.replay import Replay
from chatapp.training.rollouts import UNFILTERED, Guards, OnPolicy, Rollout, Scorer
from chatapp.training.run import Limits, Loop

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class PpoSettings:
    steps: int = 24
    prompts: int = 16
    samples: int = 4
    epochs: int = 2
    """Passes over the samples of one step."""
    minibatch: int = 8
    """Prompts for each gradient step."""
    learning_rate: float = 2e-4
    value_rate: float = 3e-3
    beta: float = 0.05
    gamma: float = 1.0
    lam: float = 0.95
    clip: float = 0.2
    value_clip: float = 0.2
    value_weight: float = 0.5
    ptx: float = 0.3
    """gamma_ptx: weight of general dialogue."""
    mix_rows: int = 8
    ending: float = 1.0
    """Weight of the loss on ending too early."""
    stop_kl: float = 2.5
    """Nats a reply; `rollouts.stop_kl` allows long replies more."""
    sampling: Sampling = UNFILTERED
    seed: int = 0
    half: bool = True


def token_rewards(score: float, logprobs: Tensor, reference: Tensor, beta: float) -> Tensor:
    """(T,) step 2 for one reply."""
    rewards = -beta * (logprobs - reference)
    rewards[-1] += score
    return rewards


def gae(rewards: Tensor, values: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """(T,) advantages and (T,) returns: step 3 for one reply."""
    import torch

    advantages = torch.zeros_like(rewards)
    following_value = following = torch.zeros(())
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + gamma * following_value - values[t]
        following = delta + gamma * lam * following
        advantages[t] = following
        following_value = values[t]
    return advantages, advantages + values


def clipped_policy_loss(logprobs: Tensor, old: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Step 4, equation 7. All (N,)."""
    import torch

    ratio = (logprobs - old).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages).mean()


def clipped_value_loss(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Step 4, the value head. All (N,)."""
    import torch

    near = old + (values - old).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns) ** 2, (near - returns) ** 2).mean()


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """1 - Var(G - V) / Var(G): 1 for a head that foresees every return, 0 for one that knows their mean
    alone, less for one that misleads. Both (N,)."""
    return float(1 - (returns - values).var() / returns.var().clamp_min(1e-6))


class ValueHead:
    """One number for each place: what the rest of the reply is expected to be worth."""

    def __init__(self, policy: TrainedPolicy) -> None:
        import torch

        width = policy.model.get_base_model().get_output_embeddings().weight.shape[1]
        self.weight = torch.nn.Parameter(torch.zeros(width))
        self.bias = torch.nn.Parameter(torch.zeros(()))

    def parameters(self) -> list[tuple[str, Any]]:
        return [("value.weight", self.weight), ("value.bias", self.bias)]

    def __call__(self, hidden: Tensor) -> Tensor:
        """(n,) values of `hidden` (n, width), which gets no gradient."""
        import torch

        fixed = torch.nn.functional.layer_norm(hidden.detach().float(), hidden.shape[-1:])
        return fixed @ self.weight + self.bias


@dataclass(slots=True)
class Experience:
    """What one set of samples said, fixed while it is learned from; (N,) over its tokens."""

    packed: Pack
    logprobs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    end: int | None
    """The token that ends a reply, where one did."""
    early: Tensor
    """(E,) the tokens where an ending would come too early."""
    ended: Tensor
    """(E,) how probable the base finds it there."""


def train(
    policy: TrainedPolicy,
    sampler: Sampler,
    scorer: Scorer,
    prompts: Sequence[Ids],
    folder: Path,
    settings: PpoSettings = PpoSettings(),
    *,
    guards: Guards = Guards(),
    chat: Sampling | None = None,
    mix: Sequence[SftRow] = (),
    base: TrainedPolicy | None = None,
    limits: Limits = Limits(),
    progress: Listener = silent,
) -> Loop:
    """Tune `policy` in place on samples to `prompts`; `chat` is how the chat samples, for the price of
    repeating; `base` is the same policy with the base as its reference, in a later round. A step of the loop
    is one gradient step."""
    source = OnPolicy(policy, sampler, scorer, prompts, guards, settings, chat, mix, base)
    head = ValueHead(policy)
    passes = settings.epochs * -(-min(settings.prompts, len(prompts)) // settings.minibatch)
    loop = Loop(
        "ppo",
        folder,
        [*trainable(policy.model), *head.parameters()],
        steps=settings.steps * passes,
        learning_rate=settings.learning_rate,
        learning_rates={"value.": settings.value_rate},
        decay=False,
        limits=limits,
        progress=progress,
        # A checkpoint between the passes over one set of samples would lose the samples.
        checkpoint_every=passes,
    )
    experiences: list[Experience] = []
    figures: dict[str, float] = {}
    warmth = settings.sampling.temperature
    replay = Replay(policy, mix, settings.ptx, settings.mix_rows, settings.seed, settings.half)
    for step in loop:
        number, of_pass = divmod(step, passes)
        if of_pass == 0:
            rollouts = source.draw(loop, number)
            # With several processes each has its share of every minibatch.
            size = -(-settings.minibatch // loop.processes)
            parts = [rollouts[start : start + size] for start in range(0, len(rollouts), size)]
            experiences, drift = _experience(policy, head, parts, settings)
            _standardise(experiences, loop)
            figures = {
                "reward": loop.mean([each for rollout in rollouts for each in rollout.rewards]),
                "kl": loop.mean(drift),
                "explained": loop.mean(_explained(experiences)),
            }
            if source.too_far(loop, figures["kl"]):
                continue
        if experiences:
            learned = experiences[of_pass % len(experiences)]
            with half_precision(settings.half):
                hidden = source_states(policy.model, learned.packed)
                logprobs = token_logprobs(policy.model, learned.packed, hidden, warmth)
                ended = end_probabilities(policy.model, hidden, learned.early, learned.end, warmth)
            values = head(hidden)
            policy_part = clipped_policy_loss(logprobs, learned.logprobs, learned.advantages, settings.clip)
            value_part = clipped_value_loss(values, learned.values, learned.returns, settings.value_clip)
            ending_part = early_ending_loss(ended, learned.ended, learned.packed.replies)
            loss = policy_part + settings.value_weight * value_part + settings.ending * ending_part
            loop.backward(loss / loop.processes)
            figures |= {"policy": float(policy_part.detach()), "value": float(value_part.detach())}
        source.vary(loop)
        mixed = replay.add(loop, step)
        if mixed is not None:
            figures["mix"] = mixed
        loop.update(figures)
    return loop


def _explained(experiences: Sequence[Experience]) -> list[float]:
    """What the head foresaw of samples that it had not learned from yet."""
    import torch

    if not experiences:
        return []
    values, returns = (
        torch.cat(each) for each in zip(*((e.values, e.returns) for e in experiences), strict=True)
    )
    return [explained_variance(values, returns)]


def _experience(
    policy: TrainedPolicy,
    head: ValueHead,
    parts: Sequence[Sequence[Rollout]],
    settings: PpoSettings,
) -> tuple[list[Experience], list[float]]:
    """Steps 2 and 3 for some samples, and log p / p_ref of each."""
    import torch

    found: list[Experience] = []
    drift: list[float] = []
    warmth = settings.sampling.temperature
    end = ending([rollout for part in parts for rollout in part])
    for part in parts:
        packed = pack([rollout.row for rollout in part])
        with torch.no_grad(), half_precision(settings.half):
            hidden = source_states(policy.model, packed)
            logprobs = token_logprobs(policy.model, packed, hidden, warmth)
            before = torch.cat([rollout.reference for rollout in part])
            places = early(packed, [count for rollout in part for count in rollout.early])
            reference = token_logprobs(policy.model, packed, before, warmth)
            ended = end_probabilities(policy.model, before, places, end, warmth)
        values = head(hidden).detach()
        advantages, returns = torch.zeros_like(logprobs), torch.zeros_like(logprobs)
        for reply, score in enumerate(each for rollout in part for each in rollout.rewards):
            own = packed.reply == reply
            rewards = token_rewards(score, logprobs[own], reference[own], settings.beta)
            advantages[own], returns[own] = gae(rewards, values[own], settings.gamma, settings.lam)
        found.append(Experience(packed, logprobs, values, advantages, returns, end, places, ended))
        drift += per_reply(logprobs - reference, packed).tolist()
    return found, drift


def _standardise(experiences: Sequence[Experience], loop: Loop) -> None:
    """Advantages to mean 0 and deviation 1, over all processes."""
    mean = loop.mean([value for each in experiences for value in each.advantages.tolist()])
    variance = loop.mean([(value - mean) ** 2 for each in experiences for value in each.advantages.tolist()])
    for each in experiences:
        each.advantages = (each.advantages - mean) / max(variance**0.5, 1e-6)
