"""Reads a guide file back, so that training goes on from it."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf_write import NAMES, SECONDS, TOKENS
from tokenizer import SPECIAL, byte_pairs


@dataclass(frozen=True)
class Start:
    """A guide that is there already.

    `weights` fit `Guide.load_state_dict`; `tokens` and `seconds` are what it
    was trained on and for (0 where the file does not say).
    """

    weights: dict[str, torch.Tensor]
    tokens: int
    seconds: float


def unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k from the paired to the half-split rotary layout."""
    rows = weight.shape[0]
    return (weight.reshape(heads, rows // heads // 2, 2, -1)
            .swapaxes(1, 2).reshape(weight.shape))


def read(path: Path) -> Start:
    """Weights of `path` in float32, whatever it is quantised as."""
    file = gguf.GGUFReader(path)
    heads = file.fields["llama.attention.head_count"].contents()
    theirs = {theirs: ours for ours, theirs in NAMES.items()}
    weights = {}
    for tensor in file.tensors:
        array = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        parts = tensor.name.split(".")
        if parts[0] == "blk":
            own = theirs[parts[2]]
            if own in ("q", "k"):
                array = unpermute(array, heads)
            name = f"blocks.{parts[1]}.{own}.weight"
        else:
            name = {"token_embd": "embed.weight", "output_norm": "norm.weight"}[parts[0]]
        weights[name] = torch.from_numpy(np.array(array, np.float32))
    trained = [file.fields[key].contents() if key in file.fields else 0
               for key in (TOKENS, SECONDS)]
    return Start(weights, int(trained[0]), float(trained[1]))


def grown(weights: dict[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    """The weights of a network of `layers` blocks that computes the same.

    The added ones stand evenly among the others; each is a copy of the one
    before it that adds nothing yet, its `o` and `down` being zero (as the
    expanded blocks of LLaMA Pro, arXiv 2401.02415).
    """
    blocks: dict[int, dict[str, torch.Tensor]] = {}
    out = {}
    for name, weight in weights.items():
        if name.startswith("blocks."):
            _, number, rest = name.split(".", 2)
            blocks.setdefault(int(number), {})[rest] = weight
        else:
            out[name] = weight
    if not len(blocks) <= layers <= 2 * len(blocks):
        raise ValueError(f"{len(blocks)} blocks cannot grow to {layers}")
    at = 0
    for number in range(len(blocks)):
        copies = (number + 1) * layers // len(blocks) - at
        for copy in range(copies):
            for rest, weight in blocks[number].items():
                silent = copy and rest in ("o.weight", "down.weight")
                out[f"blocks.{at}.{rest}"] = torch.zeros_like(weight) if silent else weight.clone()
            at += 1
    return out


def tokenizer(path: Path, out: Path) -> None:
    """Write the tokenizer of `path` as tokenizer.json."""
    file = gguf.GGUFReader(path)
    tokens = file.fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(m.split(" ")) for m in file.fields["tokenizer.ggml.merges"].contents()]
    made = byte_pairs({token: number for number, token in enumerate(tokens)}, merges)
    made.add_special_tokens(SPECIAL)
    made.save(str(out))
