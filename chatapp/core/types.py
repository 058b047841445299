"""The nouns that cross from one room to another: frozen dataclasses, no behaviour to speak of.

Units: times are seconds since the epoch as floats in memory (ISO 8601 UTC text in the database),
durations are seconds, sizes are bytes. Ids are SQLite row ids (integers from 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
Origin = Literal["typed", "model", "edit", "import"]
"""Who wrote a message: a person at the prompt, a model, a person correcting a model, a file."""
FinishReason = Literal["stop", "length", "cancelled", "error", "interrupted"]
"""Why a reply ended. `interrupted`: the program died while it was being written (found on opening)."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a prompt, as a chat template sees it."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling settings of one request, named as llama.cpp names them.

    `temperature` 0 is greedy. `top_k` 0, `top_p` 1, `min_p` 0, `repeat_penalty` 1 and `xtc_probability` 0
    switch each filter off. XTC ("exclude top choices"): with this probability, at each token, only the least
    likely of those above `xtc_threshold` is kept; where the model knows just one way to go on, it stays.
    `seed` None draws one; the seed that was used is in the reply's provenance.
    """

    seed: int | None = None
    temperature: float = 0.7
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.1
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    max_tokens: int = 512
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a model-written reply came from; all of it is stored with the reply."""

    model: str
    """Name of the model in the catalogue."""
    model_sha256: str | None = None
    adapter: str | None = None
    template_sha256: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    """With the seed that was really used."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """How many of the prompt tokens were already in the KV cache."""
    completion_tokens: int = 0
    first_token_seconds: float | None = None
    seconds: float | None = None
    dropped_turns: int = 0
    """How many of the oldest turns did not fit into n_ctx and were left out."""


@dataclass(frozen=True, slots=True)
class Message:
    """One node of a conversation's message tree."""

    id: int
    conversation: int
    parent: int | None
    role: Role
    text: str
    origin: Origin
    active: bool
    """Whether it is the chosen one among its siblings (not: whether it is on the active path)."""
    created: float
    finish_reason: FinishReason | None = None
    """None for a message that is still being written, and for a typed one."""
    provenance: Provenance | None = None
    deleted: bool = False
    system: str | None = None
    """The system prompt that a reply was written under; None: the one that its conversation has."""


@dataclass(frozen=True, slots=True)
class Conversation:
    id: int
    title: str
    system: str
    created: float
    updated: float
    messages: int = 0
    """How many messages are on all of its branches, deleted ones left out."""
    model: str | None = None
    """The model of its newest reply."""


Tiers = tuple[tuple[int, ...], ...]
"""Reply ids from best to worst; ids within one tier are tied."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """One immutable ranking event: what was shown and how it was ordered."""

    id: int
    prompt: int
    """Id of the message that the replies answer."""
    shown: tuple[int, ...]
    """Reply ids in the order in which they stood on the screen."""
    tiers: Tiers
    """Empty when `all_bad`. Replies that were shown and are in no tier were not ranked."""
    all_bad: bool = False
    tags: tuple[str, ...] = ()
    milliseconds: int | None = None
    created: float = 0.0
    source: str = "chat"
    """`chat`, `cli`, or `import:FILE`."""


@dataclass(frozen=True, slots=True)
class Thumb:
    id: int
    reply: int
    value: Literal[-1, 0, 1]
    """0 takes an earlier thumb back."""
    created: float = 0.0


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A reply that a person wrote by correcting a model's."""

    id: int
    prompt: int
    reply: int
    replaces: tuple[int, ...]
    """The model-written replies that it is better than."""
    created: float = 0.0


@dataclass(frozen=True, slots=True)
class GroupReply:
    """One reply of a preference group."""

    text: str
    origin: Origin = "import"
    model: str | None = None
    """Name of the model that wrote it, where that is known."""
    thumb: Literal[-1, 0, 1] = 0
    adapter: str | None = None
    """Name of the adapter that the model wrote it with."""
    finished: bool = field(default=True, repr=False)
    """False where it was cut off. The digest of judgements, which is made of what is shown of this, leaves it
    out: people said the same."""


@dataclass(frozen=True, slots=True)
class Group:
    """One thing that a person said of replies to one prompt, without any database ids: what files hold.

    It is a ranking (`tiers` or `all_bad`), a demonstration (`demonstration` is set), or thumbs (neither).
    """

    prompt: tuple[Turn, ...]
    """Oldest first; a system prompt is its first turn."""
    replies: tuple[GroupReply, ...]
    """In the order in which they were shown."""
    tiers: Tiers = ()
    """Places in `replies`, from 0, best first."""
    all_bad: bool = False
    demonstration: int | None = None
    """Place in `replies` of the one that a person wrote; it is better than all the others."""
    tags: tuple[str, ...] = ()
    milliseconds: int | None = None
    created: float | None = None
    source: str = "chat"


@dataclass(frozen=True, slots=True)
class Adapter:
    """What one training made: LoRA weights that fit one base file."""

    name: str
    """`r1`, `r2`, ...; never given twice."""
    method: str
    """How it was trained, for example `ppo` or `dpo at 0.6 of its scale`."""
    model: str
    """Name of the base in the catalogue when it was trained."""
    model_sha256: str
    parent: str | None
    """The adapter that the training started from; None: the base."""
    created: float
    accepted: bool
    """Whether the gate let it through."""
    reason: str
    """The verdict in one line."""
    run: str
    """Name of the run's folder."""
    data_sha256: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    """The figures of the gate."""
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Wins:
    """Two adapters side by side in rankings of people: the best reply of each, one count a ranking."""

    a: int
    b: int
    ties: int

    @property
    def rankings(self) -> int:
        return self.a + self.b + self.ties
