"""The guide's network: a small llama-shaped transformer in plain torch."""
from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; every row length divides by 32 for Q8_0."""

    vocab: int = 4096
    width: int = 256
    layers: int = 9
    heads: int = 4
    ffn: int = 704
    context: int = 1024
    rope_base: float = 10000.0
    eps: float = 1e-5

    @property
    def middle(self) -> int:
        """The block (from 1) whose output tells what a turn means: at two
        thirds, so that what is said is known before its words are picked."""
        return 2 * self.layers // 3

    def as_dict(self) -> dict:
        """The sizes as a plain dictionary, for checkpoints."""
        return asdict(self)


def rope_tables(shape: Shape, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary position code, (length, head size)."""
    half = shape.width // shape.heads // 2
    freq = shape.rope_base ** (-torch.arange(half).float() / half)
    angle = torch.outer(torch.arange(length).float(), freq)
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn queries or keys by their positions (half-split layout)."""
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-b, a], dim=-1) * sin


class Norm(nn.Module):
    """Root-mean-square norm, computed in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)
        return y * self.weight


class Block(nn.Module):
    """Attention and gated feed-forward, each on the normed residual."""

    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.heads = s.heads
        self.norm1, self.norm2 = Norm(s.width, s.eps), Norm(s.width, s.eps)
        self.q = nn.Linear(s.width, s.width, bias=False)
        self.k = nn.Linear(s.width, s.width, bias=False)
        self.v = nn.Linear(s.width, s.width, bias=False)
        self.o = nn.Linear(s.width, s.width, bias=False)
        self.gate = nn.Linear(s.width, s.ffn, bias=False)
        self.up = nn.Linear(s.width, s.ffn, bias=False)
        self.down = nn.Linear(s.ffn, s.width, bias=False)

    def looks(self, x: Tensor, cos: Tensor, sin: Tensor, head: int) -> tuple[Tensor, Tensor]:
        """The turned queries and keys of one head, both (rows, length, size)."""
        h = self.norm1(x)
        size = x.shape[-1] // self.heads
        part = slice(head * size, (head + 1) * size)
        return (rotate(functional.linear(h, self.q.weight[part]), cos, sin),
                rotate(functional.linear(h, self.k.weight[part]), cos, sin))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor,
                mask: Tensor | None, drop: float) -> Tensor:
        """One layer; `mask` is added to the scores, None means causal.
        `drop` is the share of what each half adds that is left out."""
        rows, length, width = x.shape
        h = self.norm1(x)

        def split(y: Tensor) -> Tensor:
            return y.view(rows, length, self.heads, -1).transpose(1, 2)

        q = rotate(split(self.q(h)), cos, sin)
        k = rotate(split(self.k(h)), cos, sin)
        v = split(self.v(h))
        q, k = q.to(v.dtype), k.to(v.dtype)
        if mask is None or x.is_cuda:
            y = functional.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=mask is None)
        else:  # on a CPU plain matrix products are three times as fast
            score = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
            y = (score.float() + mask).softmax(-1).to(v.dtype) @ v
        y = self.o(y.transpose(1, 2).reshape(rows, length, width))
        x = x + functional.dropout(y, drop)
        h = self.norm2(x)
        y = self.down(functional.silu(self.gate(h)) * self.up(h))
        return x + functional.dropout(y, drop)


class Guide(nn.Module):
    """The language model; the output matrix is the embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.dropout = 0.0  # in training only
        self.embed = nn.Embedding(shape.vocab, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.width, shape.eps)
        cos, sin = rope_tables(shape, shape.context)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        nn.init.normal_(self.embed.weight, std=0.02)
        for block in self.blocks:
            for name, p in block.named_parameters():
                if p.ndim == 2:
                    out = name.startswith(("o.", "down."))
                    std = 1 / math.sqrt(p.shape[1])
                    if out:
                        std /= math.sqrt(2 * shape.layers)
                    nn.init.normal_(p, std=std)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits for each position of `ids`, (rows, length, vocab)."""
        return functional.linear(self.states(ids, mask)[0], self.embed.weight)

    def states(self, ids: Tensor, mask: Tensor | None = None,
               middle: int = 1) -> tuple[Tensor, Tensor]:
        """The normed last states, and what the block number `middle` (from 1)
        hands on, both (rows, length, width)."""
        length = ids.shape[1]
        cos, sin = self.cos[:length], self.sin[:length]
        drop = self.dropout if self.training else 0.0
        x = functional.dropout(self.embed(ids), drop)
        for number, block in enumerate(self.blocks, 1):
            x = block(x, cos, sin, mask, drop)
            if number == middle:
                within = x
        return self.norm(x), within

    def count(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.parameters())


def sight_mask(sight: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive mask (rows, 1, T, T): each place sees from `sight` (rows, T)
    up to itself."""
    place = torch.arange(sight.shape[1], device=sight.device)
    seen = (place[None, None] >= sight[:, :, None]) & (place[None, None] <= place[None, :, None])
    mask = torch.zeros(seen.shape, dtype=dtype, device=sight.device)
    return mask.masked_fill_(~seen, float("-inf"))[:, None]
