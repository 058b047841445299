"""Direct preference optimisation, one whole ranking at a time, with a supervised term on the best reply.

    chatapp train dpo

For a prompt x, a better reply y_w and a worse one y_l, the policy p and the base p_ref (the policy with its
adapter switched off), Rafailov et al. 2023 (equation 7) minimise

    L_DPO = - log sigmoid( beta * [ log p(y_w|x) / p_ref(y_w|x)  -  log p(y_l|x) / p_ref(y_l|x) ] )

A person who ranks K replies gives up to K (K - 1) / 2 such pairs, and they hang together: as in
InstructGPT's reward model (Ouyang et al. 2022, equation 1) the loss is averaged over the pairs of one
ranking first, so that a ranking counts as one judgement however many replies it has. Ties give no pair.

DPO alone may lower the probability of both replies, the worse one a little more. The supervised term holds
the best reply up (Pang et al. 2024, "Iterative reasoning preference optimization", equation 2):

    L = L_DPO - alpha * log p(y_best|x) / |y_best|

Judgements are noisy. When a share `noise` of them is taken to be the wrong way round, the pair's loss
becomes its expectation (Mitchell 2023, "A note on DPO with noisy preferences", equation 3):

    (1 - noise) * L_DPO(w, l) + noise * L_DPO(l, w)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.core.errors import TrainingError
from chatapp.training.base import TrainedPolicy, half_precision, trainable
from chatapp.training.data import RankingRow, SftRow
from chatapp.training.packing import Pack, pack, per_reply, token_logprobs
from chatapp.training.progress import Listener, silent
from chatapp.training.replay import Replay
from chatapp.training.run import Limits, Loop, batches

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class DpoSettings:
    beta: float = 0.1
    supervised: float = 0.2
    """alpha above; 0 is plain DPO."""
    noise: float = 0.0
    epochs: float = 2
    batch: int = 2
    """Rankings a step; with 8 a hundred rankings make so few steps that hardly anything is learned."""
    learning_rate: float = 3e-4
    mix: float = 0.0
    """Weight of the supervised loss on general dialogue, where there is some."""
    mix_rows: int = 4
    seed: int = 0
    half: bool = True


def pair_indices(rows: Sequence[RankingRow]) -> tuple[Tensor, Tensor, Tensor]:
    """(P,) better, worse: indices among the replies of all rows; and each pair's weight, 1 in all for each
    row."""
    import torch

    better, worse, weight = [], [], []
    start = 0
    for row in rows:
        found = row.pairs()
        better += [start + i for i, _ in found]
        worse += [start + j for _, j in found]
        weight += [row.weight / len(found)] * len(found)
        start += len(row.replies)
    return torch.tensor(better), torch.tensor(worse), torch.tensor(weight)


def pair_losses(
    policy: Tensor, reference: Tensor, better: Tensor, worse: Tensor, beta: float, noise: float
) -> Tensor:
    """(P,) equation 7 for each pair. `policy`, `reference` (R,): log p(y|x) of whole replies."""
    from torch.nn.functional import logsigmoid

    gain = policy - reference
    logit = beta * (gain[better] - gain[worse])
    return -(1 - noise) * logsigmoid(logit) - noise * logsigmoid(-logit)


def supervised_losses(policy: Tensor, packed: Pack, rows: Sequence[RankingRow]) -> Tensor:
    """(rows,) - log p(y_best|x) / |y_best|, the mean over the replies that share the first place."""
    import torch

    per_token = -policy / packed.lengths
    start, losses = 0, []
    for row in rows:
        places = [start + at for at, tier in enumerate(row.tiers) if tier == min(row.tiers)]
        losses.append(row.weight * per_token[places].mean())
        start += len(row.replies)
    return torch.stack(losses)


def train(
    policy: TrainedPolicy,
    rows: Sequence[RankingRow],
    folder: Path,
    settings: DpoSettings = DpoSettings(),
    *,
    mix: Sequence[SftRow] = (),
    limits: Limits = Limits(),
    progress: Listener = silent,
) -> Loop:
    """Tune `policy` in place on `rows`."""
    import torch

    if not rows:
        raise TrainingError(
            "there is no ranking to learn from", "rank some alternatives first (Ctrl+R in the chat)"
        )
    loop = Loop(
        "dpo",
        folder,
        trainable(policy.model),
        steps=max(1, round(settings.epochs * len(rows) / settings.batch)),
        learning_rate=settings.learning_rate,
        limits=limits,
        progress=progress,
    )
    replay = Replay(policy, mix, settings.mix, settings.mix_rows, settings.seed, settings.half)
    for step in loop:
        batch = batches(rows, settings.batch, step, settings.seed)
        figures = {"loss": 0.0, "margin": 0.0, "accuracy": 0.0, "chosen_gain": 0.0}
        if own := loop.share(batch):
            packed = pack(own)
            with half_precision(settings.half):
                with torch.no_grad(), policy.reference():
                    reference = per_reply(token_logprobs(policy.model, packed), packed)
                logprobs = per_reply(token_logprobs(policy.model, packed), packed)
            better, worse, weight = pair_indices(own)
            pairs = pair_losses(logprobs, reference, better, worse, settings.beta, settings.noise)
            loss = (weight * pairs).sum() / len(batch)
            if settings.supervised:
                loss = loss + settings.supervised * supervised_losses(logprobs, packed, own).sum() / len(
                    batch
                )
            loop.backward(loss)
            gain = (logprobs - reference).detach()
            margin = gain[better] - gain[worse]
            figures = {
                "loss": float(loss.detach()),
                "margin": float(settings.beta * margin.mean()),
                "accuracy": float((margin > 0).float().mean()),
                "chosen_gain": float(gain[better].mean()),
            }
        mixed = replay.add(loop, step)
        if mixed is not None:
            figures["mix"] = settings.mix * mixed
        loop.update(figures)
    return loop
