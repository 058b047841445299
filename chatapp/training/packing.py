"""One ranking as one row: the prompt once, all its replies after it, none of which sees another.

    prompt  p0 p1 p2 | reply A  a0 a1 | reply B  b0 b1 b2
    position 0  1  2 |          3  4  |          3  4  5

The block mask lets a reply see the prompt and itself, and positions start again after the prompt for each
reply, so the log-probabilities equal those of separate rows while the prompt is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatapp.training.data import RankingRow, SftRow
from chatapp.training.recompute import in_parts

if TYPE_CHECKING:
    from torch import Tensor

MULTIPLE = 32
"""Rows are padded to multiples of this, so that only few shapes occur (each new shape costs memory)."""
MICRO = 8
"""Rows of a batch that go through the network at once, those of like length: less of it is padding."""
PLACES = 2048
"""Places of a group of rows at most, padding with them, where one of its rows alone has fewer."""
FORWARD = 8 * PLACES
"""The same where no gradient is wanted: what a layer computes is gone after it."""
GROUP = 100
"""Places that take about as long as it takes to begin with a group."""


@dataclass(slots=True)
class Pack:
    """Several rows as tensors. B rows of length L hold R replies with N learned tokens in all."""

    ids: Tensor
    """(B, L) int64"""
    positions: Tensor
    """(B, L) int64"""
    segments: Tensor
    """(B, L) int64: -1 padding, 0 prompt, k reply number k of its row"""
    sources: Tensor
    """(N,) flat index of the place that predicts each learned token"""
    targets: Tensor
    """(N,) the learned tokens"""
    reply: Tensor
    """(N,) which of the R replies each learned token belongs to"""
    lasts: Tensor
    """(R,) flat index of the last token of each reply"""
    rows: Tensor
    """(R,) which of the B rows each reply belongs to"""
    lengths: Tensor
    """(R,) how many learned tokens each reply has"""

    @property
    def replies(self) -> int:
        return len(self.lasts)


def pack(rows: Sequence[RankingRow | SftRow], multiple: int = MULTIPLE) -> Pack:
    """Lay out `rows`; each `RankingRow` gives as many replies as it has, each `SftRow` one."""
    import torch

    longest = max(_length(row) for row in rows)
    width = -(-longest // multiple) * multiple
    ids, positions, segments = ([[fill] * width for _ in rows] for fill in (0, 0, -1))
    sources: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    lasts: list[int] = []
    of_row: list[int] = []
    for b, row in enumerate(rows):
        base = b * width
        if isinstance(row, SftRow):
            n = len(row.ids)
            ids[b][:n], positions[b][:n], segments[b][:n] = row.ids, range(n), [0] * n
            learned = [at for at in range(1, n) if row.mask[at]]
            sources += [base + at - 1 for at in learned]
            targets += [row.ids[at] for at in learned]
            owners += [len(lasts)] * len(learned)
            lasts.append(base + n - 1)
            of_row.append(b)
            continue
        start = len(row.prompt)
        ids[b][:start], positions[b][:start], segments[b][:start] = row.prompt, range(start), [0] * start
        place = start
        for number, reply in enumerate(row.replies, start=1):
            end = place + len(reply)
            ids[b][place:end] = reply
            positions[b][place:end] = range(start, start + len(reply))
            segments[b][place:end] = [number] * len(reply)
            # The first token of every reply is predicted by the last one of the prompt.
            sources += [base + start - 1, *range(base + place, base + end - 1)]
            targets += reply
            owners += [len(lasts)] * len(reply)
            lasts.append(base + end - 1)
            of_row.append(b)
            place = end
    owner = torch.tensor(owners)
    return Pack(
        torch.tensor(ids),
        torch.tensor(positions),
        torch.tensor(segments),
        torch.tensor(sources),
        torch.tensor(targets),
        owner,
        torch.tensor(lasts),
        torch.tensor(of_row),
        torch.bincount(owner, minlength=len(lasts)),
    )


def _length(row: RankingRow | SftRow) -> int:
    if isinstance(row, SftRow):
        return len(row.ids)
    return len(row.prompt) + sum(map(len, row.replies))


def alike(rows: Sequence[RankingRow | SftRow], size: int, places: int = PLACES) -> list[list[int]]:
    """The numbers of `rows` in groups of at most `size`, those of like length together: another group is
    begun where it saves more padding than it costs. A group has at most `places` places, or one row."""
    order = sorted(range(len(rows)), key=lambda at: _length(rows[at]))
    cheapest, begins = [0], [0]
    for end in range(1, len(rows) + 1):
        width = _padded(_length(rows[order[end - 1]]))
        costs = {
            start: cheapest[start] + width * (end - start) + GROUP
            for start in range(max(0, end - size), end)
            if end - start == 1 or width * (end - start) <= places
        }
        begins.append(min(costs, key=costs.__getitem__))
        cheapest.append(costs[begins[end]])
    groups: list[list[int]] = []
    end = len(rows)
    while end:
        groups.append(order[begins[end] : end])
        end = begins[end]
    return groups[::-1]


def tokens(rows: Sequence[RankingRow | SftRow]) -> int:
    """How many places `rows` take once padded."""
    return _padded(max(map(_length, rows))) * len(rows)


def _padded(length: int) -> int:
    return -(-length // MULTIPLE) * MULTIPLE


def visible(packed: Pack, window: int | None = None) -> Tensor:
    """(B, 1, L, L) bool: which place (row) may look at which (column). `window`: at most so many positions
    back."""
    import torch

    segments, length = packed.segments, packed.segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    looking, seen = segments[:, :, None], segments[:, None, :]
    allowed = causal & (seen >= 0) & ((seen == 0) | (seen == looking))
    if window is not None:
        allowed &= packed.positions[:, :, None] - packed.positions[:, None, :] < window
    # Padding looks at itself: a row that may look nowhere would give NaN.
    return (allowed | torch.eye(length, dtype=torch.bool)).unsqueeze(1)


def states(model: Any, packed: Pack) -> Tensor:
    """(B * L, width) last hidden states of a causal language model, with peft adapters or without."""
    import torch

    decoder = _plain(model).get_decoder()
    config = decoder.config
    window = getattr(config, "sliding_window", None)

    def shown(window: int | None) -> Tensor:
        allowed = visible(packed, window)
        if config._attn_implementation == "sdpa":
            return allowed
        # Other implementations add their mask to the scores instead of selecting by it.
        return torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)

    mask: Any
    if kinds := getattr(config, "layer_types", None):
        mask = {kind: shown(window if kind == "sliding_attention" else None) for kind in set(kinds)}
    else:
        mask = shown(window)
    hidden = decoder(
        input_ids=packed.ids, position_ids=packed.positions, attention_mask=mask, use_cache=False
    ).last_hidden_state
    return hidden.flatten(0, 1)


def source_states(model: Any, packed: Pack) -> Tensor:
    """(N, width) last hidden states at the places that predict the learned tokens."""
    return states(model, packed)[packed.sources]


def token_logits(model: Any, hidden: Tensor) -> Tensor:
    """(n, vocabulary) float32 logits of `hidden` (n, width)."""
    import torch

    plain = _plain(model)
    logits = plain.get_output_embeddings()(hidden).float()
    cap = getattr(plain.config.get_text_config(), "final_logit_softcapping", None)
    return logits if cap is None else torch.tanh(logits / cap) * cap


def token_logprobs(
    model: Any, packed: Pack, hidden: Tensor | None = None, temperature: float = 1.0
) -> Tensor:
    """(N,) log-probability of each learned token, as sampling at `temperature` draws it. `hidden`: what
    `source_states` gives, where it is known."""
    if hidden is None:
        hidden = source_states(model, packed)

    def chosen(hidden: Tensor, targets: Tensor) -> Tensor:
        logits = token_logits(model, hidden) / temperature
        return logits.log_softmax(-1).gather(1, targets[:, None]).squeeze(1)

    return in_parts(chosen, vocabulary(model), hidden, packed.targets)


def vocabulary(model: Any) -> int:
    """How many tokens `model` tells apart."""
    return int(_plain(model).get_output_embeddings().weight.shape[0])


def per_reply(values: Tensor, packed: Pack) -> Tensor:
    """(R,) sums over the tokens of each reply of `values` (N,)."""
    return values.new_zeros(packed.replies).index_add(0, packed.reply, values)


def _plain(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model
