"""What a running request tells whoever shows it, in the order in which it happens."""

from __future__ import annotations

from dataclasses import dataclass

from chatapp.core.types import Message


@dataclass(frozen=True, slots=True)
class Dropped:
    """The oldest `turns` turns did not fit into the context and the model does not see them."""

    turns: int


@dataclass(frozen=True, slots=True)
class Began:
    """A reply was written to the store, with the text that it goes on from or empty, and more text comes
    next; or it is brought back, and `Finished` has all of its text."""

    reply: Message
    lane: int


@dataclass(frozen=True, slots=True)
class Text:
    """More text of a reply. Raw: make it terminal-safe before showing it."""

    reply_id: int
    lane: int
    delta: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A reply is complete and sealed in the store; `reply.text` is all of it."""

    reply: Message
    lane: int


@dataclass(frozen=True, slots=True)
class Replaced:
    """This lane's reply said what another one says (or nearly that, or nothing) and is shown no longer; a
    `Began` for the lane follows."""

    reply_id: int
    lane: int


@dataclass(frozen=True, slots=True)
class Removed:
    """This lane's reply was taken out and nothing replaces it: no different one came in the last round."""

    reply_id: int
    lane: int


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """More text of a reply that is not stored."""

    prompt: int
    """Its place among those that were asked for, from 0."""
    adapter: int
    """Likewise."""
    delta: str


@dataclass(frozen=True, slots=True)
class Scored:
    """Replies to one prompt, best first."""

    replies: tuple[Message, ...]
    scores: tuple[float, ...]
    adapter: str
    """Whose reward model it was."""

    @property
    def in_words(self) -> str:
        """`best of 4 by the reward model of r3: 1.2 › 0.4 › −0.1 › −0.8`"""
        order = " › ".join(f"{score:.1f}".replace("-", "−") for score in self.scores)
        return f"best of {len(self.replies)} by the reward model of {self.adapter}: {order}"


Update = Dropped | Began | Text | Finished | Replaced | Removed | Rehearsed | Scored
