"""What is known of a composed turn because it was composed."""
from __future__ import annotations

from typing import Self


class Known(str):
    """A turn with something that is known of it. The network learns from it
    (see train.py); the written file has none of it."""

    known: str

    def __new__(cls, text: str, known: str) -> Self:
        """`text` with what is known of it."""
        made = super().__new__(cls, text)
        made.known = known
        return made

    @classmethod
    def of(cls, text: str) -> str:
        """What is known of a turn in this way, "" where nothing is."""
        return text.known if isinstance(text, cls) else ""


class Meant(Known):
    """A user turn with the name of its meaning: two turns of the same meaning
    may have the same reply. The network learns to tell the meanings apart
    while it learns to reply."""


class Copied(Known):
    """A reply with what it takes over, word for word, from an earlier turn of
    the user, if it holds it: where the network should look is known."""
