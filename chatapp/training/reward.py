"""The reward model: the same network with a LoRA of its own and a head that gives a reply one number.

    chatapp train reward

It learns what people prefer from their rankings. With r(x, y) the score of reply y to prompt x, one ranking
of K replies costs (Ouyang et al. 2022, InstructGPT, equation 1) the mean over its pairs (w better than l)

    L = - 1 / C(K, 2) * sum_(w,l) log sigmoid( r(x, y_w) - r(x, y_l) )

Only pairs that the person ordered count; ties give none and the mean is over those that are left.

Options. `margin`: a better reply has to lead by m for each place between them (Touvron et al. 2023, Llama
2, equation 2: log sigmoid(r_w - r_l - m)). `noise`: a share of the judgements is taken to be the wrong way
round, and the loss is its expectation. `plackett_luce`: the probability of the whole order instead of its
pairs (Plackett 1975; Luce 1959): the best of all is drawn by softmax, then the best of the rest, and so on;
where replies are tied, any of them may come first (their probabilities are added, and both are taken away
before the next draw)

    L = - 1 / (tiers - 1) * sum_tiers log [ sum_(i in tier) exp r_i / sum_(j not placed yet) exp r_j ]

The score is read off two things: the last hidden state of the reply's last token, and how probable the
model finds the reply (its length, its log-probability: sum, mean, least, last, under the base). With few
rankings the second is what carries it.

    r(x, y) = u . state(x, y) + v . features(x, y)

u and v begin as the most probable ones while the network is the base (`heads`); what is left is the LoRA's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from chatapp.core.errors import TrainingError
from chatapp.training.base import TrainedPolicy, half_precision
from chatapp.training.data import RankingRow
from chatapp.training.heads import most_probable
from chatapp.training.packing import FORWARD, MICRO, Pack, alike, pack, states, token_logprobs
from chatapp.training.progress import Listener, silent
from chatapp.training.run import Limits, Loop, batches
from chatapp.training.serve import FEATURES
from chatapp.training.serve import features as features_of
from chatapp.training.switch import using

if TYPE_CHECKING:
    from torch import Tensor


SCORED = 8
"""Rows that are scored at once."""


@dataclass(frozen=True, slots=True)
class RewardSettings:
    epochs: float = 1
    batch: int = 8
    learning_rate: float = 3e-4
    head_rate: float = 3e-4
    rank: int = 8
    alpha: int = 16
    margin: float = 0.0
    noise: float = 0.0
    plackett_luce: bool = False
    use_features: bool = True
    seed: int = 0
    half: bool = True


def ranking_loss(scores: Tensor, row: RankingRow, *, margin: float = 0.0, noise: float = 0.0) -> Tensor:
    """InstructGPT's equation 1 for one ranking. `scores` (K,)."""
    import torch
    from torch.nn.functional import logsigmoid

    pairs = row.pairs()
    lead = torch.stack([scores[i] - scores[j] - margin * (row.tiers[j] - row.tiers[i]) for i, j in pairs])
    return -((1 - noise) * logsigmoid(lead) + noise * logsigmoid(-lead)).mean()


def plackett_luce_loss(scores: Tensor, row: RankingRow) -> Tensor:
    """The equation with the softmax draws, ties within a tier added up. `scores` (K,)."""
    import torch

    tiers = sorted(set(row.tiers))
    losses = []
    for tier in tiers[:-1]:
        members = [at for at, own in enumerate(row.tiers) if own == tier]
        left = [at for at, own in enumerate(row.tiers) if own >= tier]
        losses.append(torch.logsumexp(scores[left], 0) - torch.logsumexp(scores[members], 0))
    return torch.stack(losses).mean()


def features(logprobs: Tensor, packed: Pack) -> Tensor:
    """(R, 6) what `FEATURES` names, of `logprobs` (N,): how probable the base finds each token of a reply."""
    import torch

    own = logprobs.split(packed.lengths.tolist())
    return torch.tensor([features_of(each.tolist()) for each in own])


class Found(NamedTuple):
    """What the base finds of R replies."""

    features: Tensor
    """(R, 6)"""
    states: Tensor
    """(R, width) of their last tokens, as directions"""


class RewardModel:
    """A scorer that shares the base's weights with the policy; its LoRA is a second adapter named `name`."""

    def __init__(
        self, policy: TrainedPolicy, settings: RewardSettings = RewardSettings(), name: str = "reward"
    ):
        import torch
        from peft import LoraConfig

        self.policy, self.settings, self.name = policy, settings, name
        config: Any = policy.model.peft_config["default"]
        if name in policy.model.peft_config:
            policy.model.delete_adapter(name)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            policy.model.add_adapter(
                name,
                LoraConfig(
                    r=settings.rank,
                    lora_alpha=settings.alpha,
                    target_modules=config.target_modules,
                    lora_dropout=0.0,
                    bias="none",
                ),
            )
        policy.model.set_adapter("default")
        width = policy.model.get_base_model().get_output_embeddings().weight.shape[1]
        self.head = torch.nn.Parameter(torch.zeros(width))
        self.weights = torch.nn.Parameter(torch.zeros(len(FEATURES)))
        self.mean = torch.zeros(len(FEATURES))
        """Of the features, over the rankings it was trained on."""
        self.spread = torch.ones(len(FEATURES))
        self.offset = 0.0
        """Mean score of the replies it was trained on: taken off, so that an average reply scores 0."""
        self.scale = 1.0
        """Their standard deviation: divided by."""

    def remove(self) -> None:
        """Take its LoRA out of the network: it is not used any more."""
        self.policy.model.delete_adapter(self.name)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within it the network runs with the reward LoRA instead of the policy's."""
        with using(self.policy.model, self.name):
            yield

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Within it the parameters get gradients; outside of it those of the policy alone do."""
        own = [each for _, each in self.parameters()]
        for each in own:
            each.requires_grad_(True)
        try:
            yield
        finally:
            for each in own:
                each.requires_grad_(False)

    def parameters(self) -> list[tuple[str, Any]]:
        """What is trained: the LoRA named `name`, and the two heads."""
        own = f".{self.name}."
        lora = [(key, each) for key, each in self.policy.model.named_parameters() if own in key]
        return [*lora, ("head", self.head), ("weights", self.weights)]

    def found(self, packed: Pack) -> Found:
        """Under the base, without gradient."""
        import torch

        with torch.no_grad(), half_precision(self.settings.half), self.policy.reference():
            hidden = states(self.policy.model, packed)
            own = self._features(packed, hidden[packed.sources])
        return Found(own, _direction(hidden[packed.lasts]))

    def _features(self, packed: Pack, base: Tensor) -> Tensor:
        """(R, 6) by the (N, width) states of the base where it predicts each token."""
        with half_precision(self.settings.half):
            return features(token_logprobs(self.policy.model, packed, base), packed)

    def begin(self, rows: Sequence[RankingRow], known: Mapping[RankingRow, Found]) -> None:
        """Take the heads that are most probable by `rows`, whose features are measured by what they are among
        them."""
        import torch

        every = torch.cat([known[row].features for row in rows])
        self.mean, self.spread = every.mean(0), every.std(0).clamp_min(1e-3)
        used = len(FEATURES) if self.settings.use_features else 0
        own = [(((known[row].features - self.mean) / self.spread)[:, :used]) for row in rows]
        weights, head = most_probable(rows, own, [known[row].states for row in rows])
        with torch.no_grad():
            self.weights[:used].copy_(weights)
            self.head.copy_(head)

    def raw(self, packed: Pack, given: Tensor | None = None) -> Tensor:
        """(R,) scores with gradient, neither shifted nor scaled. `given`: the features, where they are
        known."""
        with self.active(), half_precision(self.settings.half):
            last = states(self.policy.model, packed)[packed.lasts]
        scores = _direction(last) @ self.head
        if self.settings.use_features:
            given = self.found(packed).features if given is None else given
            scores = scores + ((given - self.mean) / self.spread) @ self.weights
        return scores

    def score(self, rows: Sequence[RankingRow], base: Sequence[Tensor] | None = None) -> list[list[float]]:
        """Scores of the replies of each row: 0 is the average of what it was trained on, 1 one deviation
        more. `base`: of each row, the (n, width) states of the base where it predicts each token, if they are
        known."""
        import torch

        found: list[list[float]] = [[] for _ in rows]
        with torch.no_grad():
            for places in alike(rows, SCORED, FORWARD):
                packed, given = pack([rows[at] for at in places]), None
                if base is not None:
                    given = self._features(packed, torch.cat([base[at] for at in places]))
                scores = self.raw(packed, given)
                values = iter(((scores - self.offset) / self.scale).tolist())
                for at in places:
                    found[at] = [next(values) for _ in rows[at].replies]
        return found

    def state(self) -> dict[str, Any]:
        """All that `restore` needs, as tensors and numbers."""
        return {
            "parameters": {key: each.detach().clone() for key, each in self.parameters()},
            "mean": self.mean,
            "spread": self.spread,
            "offset": self.offset,
            "scale": self.scale,
        }

    def restore(self, state: dict[str, Any]) -> None:
        import torch

        with torch.no_grad():
            for key, each in self.parameters():
                each.copy_(state["parameters"][key])
        self.mean, self.spread = state["mean"], state["spread"]
        self.offset, self.scale = state["offset"], state["scale"]


def train(
    model: RewardModel,
    rows: Sequence[RankingRow],
    folder: Path,
    *,
    known: dict[RankingRow, Found] | None = None,
    limits: Limits = Limits(),
    progress: Listener = silent,
) -> Loop:
    """Train `model` in place on `rows`, then measure its offset and scale on them. `known`: what this base
    finds of rows, to be shared by all that learn from them."""
    import torch

    if not rows:
        raise TrainingError(
            "there is no ranking to learn from", "rank some alternatives first (Ctrl+R in the chat)"
        )
    settings = model.settings
    known = {} if known is None else known
    _find(model, rows, known)
    model.begin(rows, known)
    loop = Loop(
        "reward",
        folder,
        model.parameters(),
        steps=max(1, round(settings.epochs * len(rows) / settings.batch)),
        learning_rate=settings.learning_rate,
        learning_rates={"head": settings.head_rate, "weights": settings.head_rate},
        limits=limits,
        progress=progress,
    )
    with model.learning():
        for step in loop:
            batch = batches(rows, settings.batch, step, settings.seed)
            shared, loss_sum, marks = loop.share(batch), 0.0, []
            for places in alike(shared, MICRO):
                own = [shared[at] for at in places]
                scores = model.raw(pack(own), torch.cat([known[row].features for row in own]))
                parts = scores.split([len(row.replies) for row in own])
                losses = [_loss(*each, settings) for each in zip(parts, own, strict=True)]
                loss = torch.stack(losses).sum() / len(batch)
                loop.backward(loss)
                loss_sum += float(loss.detach())
                for part, row in zip(parts, own, strict=True):
                    marks += [bool(part[i] > part[j]) for i, j in row.pairs()]
            loop.update({"loss": loss_sum, "accuracy": sum(marks) / max(len(marks), 1)})
    with torch.no_grad():
        found = []
        for places in alike(rows, SCORED, FORWARD):
            own = [rows[at] for at in places]
            found.append(model.raw(pack(own), torch.cat([known[row].features for row in own])))
    scores = torch.cat(found)
    model.offset, model.scale = float(scores.mean()), max(float(scores.std()), 1e-3)
    return loop


def _loss(scores: Tensor, row: RankingRow, settings: RewardSettings) -> Tensor:
    """Of one ranking, as the settings want it."""
    if settings.plackett_luce:
        return row.weight * plackett_luce_loss(scores, row)
    return row.weight * ranking_loss(scores, row, margin=settings.margin, noise=settings.noise)


def _find(model: RewardModel, rows: Sequence[RankingRow], known: dict[RankingRow, Found]) -> None:
    """Add what is not known yet."""
    new = [row for row in dict.fromkeys(rows) if row not in known]
    for places in alike(new, SCORED, FORWARD):
        own = [new[at] for at in places]
        counts = [len(row.replies) for row in own]
        found = model.found(pack(own))
        known.update(zip(own, map(Found, *(each.split(counts) for each in found)), strict=True))


def _direction(last: Tensor) -> Tensor:
    """(R, width) of hidden states: those of small models are large numbers, and a head of fixed scale learns
    from directions."""
    from torch.nn.functional import layer_norm

    return layer_norm(last.float(), last.shape[-1:])


def pair_accuracy(scores: Sequence[Sequence[float]], rows: Sequence[RankingRow]) -> list[float]:
    """For each row the share of its pairs that `scores` order as the person did (equal scores are half
    right)."""
    found = []
    for own, row in zip(scores, rows, strict=True):
        marks = [1.0 if own[i] > own[j] else 0.5 if own[i] == own[j] else 0.0 for i, j in row.pairs()]
        found.append(sum(marks) / len(marks))
    return found
