"""The seam between the program and whatever writes the replies.

An engine is used from one thread at a time, except `cancel`, which any thread may call. `client.LlamaClient`
runs llama.cpp in a child process; `scripted.ScriptedEngine` answers from a script.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from chatapp.core.errors import PromptTooLong
from chatapp.core.types import FinishReason, Sampling, Turn


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which file to load and how."""

    path: Path
    name: str
    n_ctx: int = 0
    """Tokens; 0 takes the model's own training context, at most 8192."""
    threads: int = 0
    """0 measures which count is fastest on this machine, once, and remembers it."""
    gpu_layers: int = 0
    lanes: int = 9
    """How many replies can be sampled at once (n_seq_max)."""
    sampling: Sampling = field(default_factory=Sampling)
    """What the model's file recommends; settings and flags come before it."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the engine says of the model that it loaded."""

    name: str
    path: Path
    sha256: str
    architecture: str
    description: str
    """Architecture, count of weights, quantisation: `llama 8.7M Q8_0`. Made terminal-safe."""
    size: int
    """Bytes of the file."""
    parameters: int
    n_ctx: int
    cells: int
    """Tokens that the KV cache holds, of all lanes together; some models rotate otherwise in a longer one."""
    n_ctx_train: int
    template_sha256: str
    notice: str | None = None
    """One line for the user when something was worked around (extra buffers off, no chat template, ...)."""


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    """A LoRA adapter in GGUF form."""

    name: str
    path: Path
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """`lanes` replies to one prompt. Lane i samples with `sampling.seed + i`.

    The same request gives the same replies again. A lane alone follows the same random numbers, but numbers
    round otherwise than in a batch, so it may part from its twin after some tokens (hardly at temperature 0).
    """

    turns: Sequence[Turn]
    """The active path, oldest first; the last turn is the user's. A leading system turn is kept when old
    turns are dropped to fit."""
    sampling: Sampling
    lanes: int = 1
    first_lane: int = 0
    """Added to the lane number when the seed of a lane is made: replaces one duplicate lane without
    repeating the others."""
    past_end: bool = False
    """Write on to `max_tokens` where the reply has ended, so that its length is known: to measure speed."""
    begun: str = ""
    """What the replies begin with: it is written on from there. Their deltas hold all of the text, this too;
    `max_tokens` counts what is new."""


@dataclass(frozen=True, slots=True)
class Started:
    """The prompt is in the KV cache and sampling begins. Sent once for each request, first."""

    prompt_tokens: int
    cached_tokens: int
    dropped_turns: int
    n_ctx: int
    seed: int
    """The seed of lane 0: the one asked for, or the one drawn."""


@dataclass(frozen=True, slots=True)
class Delta:
    """Some text of one lane. Complete Unicode characters only. Raw: make it terminal-safe to show it."""

    lane: int
    text: str


@dataclass(frozen=True, slots=True)
class LaneDone:
    """One reply is complete; the last event of its lane."""

    lane: int
    finish_reason: FinishReason
    completion_tokens: int
    first_token_seconds: float | None
    """From the request to the first token; None when there was none."""
    seconds: float
    """From the request to the end of this lane."""
    seed: int


Event = Started | Delta | LaneDone


@dataclass(frozen=True, slots=True)
class Encoded:
    """A conversation as the model sees it."""

    ids: tuple[int, ...]
    mask: tuple[int, ...]
    """1 on the tokens of assistant replies and on the token that ends each, 0 elsewhere."""


@dataclass(frozen=True, slots=True)
class RowScore:
    """A row of n token ids under the model."""

    logprobs: tuple[float, ...]
    """n - 1 values, nats: log p(ids[t + 1] | ids[: t + 1])."""
    top: tuple[int, ...]
    """n values: the most probable next token after each prefix."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One reply that was sampled to token ids."""

    ids: tuple[int, ...]
    """As they were drawn, the token that ends the reply with them when it ended by itself."""
    text: str
    starts: tuple[int, ...]
    """Characters of `text` that were known before each of `ids` was drawn."""
    finish_reason: FinishReason


def room_for_prompt(n_ctx: int, cells: int, max_tokens: int, lanes: int = 1) -> int:
    """Tokens that are free for a prompt: the replies have room kept for them, at most half of all."""
    wanted = max(1, max_tokens)
    return min(n_ctx - min(wanted, n_ctx // 2), cells - min(wanted * lanes, cells // 2))


def too_long(
    tokens: int, n_ctx: int, cells: int, n_ctx_train: int, max_tokens: int, lanes: int = 1, begun: int = 0
) -> PromptTooLong:
    """Of a prompt of so many `tokens`, which `room_for_prompt` has no room for beside the `begun` ones of a
    reply that is written on."""
    n_ctx, cells = n_ctx - begun, cells - begun
    room = room_for_prompt(n_ctx, cells, max_tokens, lanes)
    if begun:
        way = "edit the reply to be shorter"
        if n_ctx_train > n_ctx + begun:
            way += f", or raise n_ctx in config.toml (the model takes up to {n_ctx_train})"
        return PromptTooLong(
            f"the message takes {tokens} tokens and the reply so far {begun}: the context of {n_ctx + begun} "
            "has no room to go on",
            way,
        )
    ways = ["shorten the message"]
    fitting = min(n_ctx - tokens, (cells - tokens) // lanes)
    if fitting > 0:
        flag = f"--max-tokens {fitting}, a flag of `chatapp ask`"
        ways.append(f"have a shorter reply ({flag}, or max_tokens in config.toml)")
    if n_ctx_train > n_ctx:
        ways.append(f"raise n_ctx in config.toml (the model takes up to {n_ctx_train})")
    return PromptTooLong(
        f"the message takes {tokens} tokens, and the context holds {n_ctx}, "
        f"of which at most {room} are free for the prompt",
        ", or ".join(ways),
    )


class Engine(Protocol):
    """What writes replies. Every method may raise `EngineError`, `EngineDied` or `ModelError`."""

    @property
    def info(self) -> ModelInfo | None:
        """What is loaded, or None."""

    def load(self, spec: ModelSpec, progress: Callable[[float], None] | None = None) -> ModelInfo:
        """Load a model in place of the one that is loaded. `progress` gets fractions from 0 to 1."""

    def set_adapter(self, adapter: AdapterSpec | None) -> None:
        """Switch the LoRA adapter without a reload; None is the base. Clears the KV cache."""

    def generate(self, request: Request) -> Iterator[Event]:
        """Stream one request: `Started`, then the `Delta`s of all lanes, one `LaneDone` for each lane.

        Closing the iterator early cancels the request. A request while another runs raises `EngineError`.
        """

    def count(self, turns: Sequence[Turn]) -> int:
        """Tokens of this prompt, template included."""

    def cancel(self) -> None:
        """Stop the running request within 200 ms; its lanes end with reason `cancelled`. Any thread."""

    def close(self) -> None:
        """End the engine; idempotent."""


@dataclass(slots=True)
class Reply:
    """One lane, gathered."""

    lane: int
    text: str = ""
    done: LaneDone | None = None


@dataclass(slots=True)
class Gathered:
    """All that one request gave; for callers that do not stream."""

    started: Started | None = None
    replies: list[Reply] = field(default_factory=list)


def gather(events: Iterator[Event], lanes: int) -> Gathered:
    """Run a request to its end."""
    result = Gathered(replies=[Reply(lane) for lane in range(lanes)])
    for event in events:
        match event:
            case Started():
                result.started = event
            case Delta(lane, text):
                result.replies[lane].text += text
            case LaneDone(lane=lane):
                result.replies[lane].done = event
    return result
