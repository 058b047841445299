"""The byte-level BPE of the guide and the layout of its turns."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from clean import Turn
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
END, IM_START, IM_END = 0, 1, 2
ASSISTANT_WEIGHT, OTHER_WEIGHT = 2, 1  # halves: 1.0 and 0.5


def byte_pairs(vocab: dict[str, int] | None = None,
               merges: list[tuple[str, str]] | None = None) -> Tokenizer:
    """A byte-level BPE, empty where nothing is given."""
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train_tokenizer(texts: Iterable[str], size: int, path: Path) -> Tokenizer:
    """Learn `size` tokens from `texts` and write them to `path`."""
    tokenizer = byte_pairs()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIAL, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(path))
    return tokenizer


def opening(tokenizer: Tokenizer, role: str) -> list[int]:
    """The ids that open a turn."""
    return [IM_START, *tokenizer.encode(role + "\n").ids]


def encode(tokenizer: Tokenizer, turns: list[Turn],
           ) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Token ids, loss weights (in halves) and starts of the turns.

    Text never becomes a special token: turns are encoded piece by piece and
    the specials put between them by hand.
    """
    ids: list[int] = []
    weights: list[int] = []
    starts: list[int] = []
    for role, text in turns:
        starts.append(len(ids))
        head = opening(tokenizer, role)
        text = text.replace("<|", "< |")
        body = [*tokenizer.encode(text).ids, IM_END]
        tail = tokenizer.encode("\n").ids
        weight = ASSISTANT_WEIGHT if role == "assistant" else OTHER_WEIGHT
        ids += head + body + tail
        weights += ([OTHER_WEIGHT] * len(head) + [weight] * len(body)
                    + [OTHER_WEIGHT] * len(tail))
    ids.append(END)
    weights.append(OTHER_WEIGHT)
    return (np.array(ids, np.uint16), np.array(weights, np.uint8), starts)


def prompt_ids(tokenizer: Tokenizer, turns: list[Turn]) -> list[int]:
    """The ids before a reply to `turns`."""
    ids, _, _ = encode(tokenizer, [*turns, ("assistant", "")])
    return ids[:-3].tolist()
