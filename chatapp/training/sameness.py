"""Replies that are the same to different prompts.

At the chat's temperature many replies are the same that hardly ever are at the temperature of RLOO's samples
(two in a hundred), so that what a sample is worth does not reach them. But every few draws the policy is
looked at as it chats (`repetition`). The replies that it gives to another prompt as well are made less
probable, as REINFORCE (Williams 1992) would with a reward of minus the price:

    L = price / n * sum_(y is given to another prompt) max(0, log p(y|x) - log p_ref(y|x))

for the n replies that were looked at; what the reference says again (in later rounds too: the base), the
policy may.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chatapp.training.base import Ids, Sampled, TrainedPolicy, half_precision
from chatapp.training.data import RankingRow
from chatapp.training.evaluate import words
from chatapp.training.packing import pack, per_reply, token_logprobs
from chatapp.training.run import Loop, batches

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 8
"""Of those replies go through the network in one step; each in its turn."""


def same(prompts: Sequence[Ids], replies: Sequence[Sequence[Sampled]]) -> list[tuple[Ids, Ids]]:
    """Each prompt with each of its replies whose words are a reply to another prompt too."""
    said = [[tuple(words(each.text)) for each in own] for own in replies]
    spread = Counter(text for own in said for text in set(own))
    return [
        (tuple(prompt), tuple(each.ids))
        for prompt, own, texts in zip(prompts, replies, said, strict=True)
        for each, text in zip(own, texts, strict=True)
        if spread[text] > 1 and each.ids
    ]


def excess(logprobs: Tensor, reference: Tensor) -> Tensor:
    """The equation's sum. `logprobs`, `reference` (R,): log p(y|x) of each reply, and log p_ref."""
    return (logprobs - reference).relu().sum()


def add(loop: Loop, policy: TrainedPolicy, looked_at: int, seed: int, half: bool) -> None:
    """Add the gradient of L, as some of those replies tell it, which `repetition.Price` left in `loop.state`
    with their price; `looked_at` is n."""
    import torch

    every = [RankingRow(prompt, (reply,), (0,)) for prompt, reply in loop.state.get("same", ())]
    if not every:
        return
    chosen = batches(every, ROWS, loop.step, seed)
    if not (own := loop.share(chosen)):
        return
    packed = pack(own)
    with half_precision(half):
        with torch.no_grad(), policy.reference():
            reference = per_reply(token_logprobs(policy.model, packed), packed)
        found = excess(per_reply(token_logprobs(policy.model, packed), packed), reference)
    loop.backward(loop.state["prices"]["whole"] / looked_at * len(every) / len(chosen) * found)
