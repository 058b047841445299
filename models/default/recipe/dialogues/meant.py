"""What is known of a composed turn because it was composed."""
from __future__ import annotations


class Meant(str):
    """A user turn with the name of its meaning: two turns of the same meaning
    may have the same reply. The network learns to tell the meanings apart
    while it learns to reply (see train.py); the written file has none of it."""

    meaning: str

    def __new__(cls, text: str, meaning: str) -> Meant:
        """`text` with the name of what it means."""
        made = super().__new__(cls, text)
        made.meaning = meaning
        return made

    @staticmethod
    def of(text: str) -> str:
        """The meaning of a turn, "" where none is known."""
        return text.meaning if isinstance(text, Meant) else ""


class Copied(str):
    """A reply with what it takes over, word for word, from an earlier turn of
    the user: where the network should look is known (see train.py)."""

    value: str

    def __new__(cls, text: str, value: str) -> Copied:
        """`text`, a part of which is `value`."""
        made = super().__new__(cls, text)
        made.value = value
        return made

    @staticmethod
    def of(text: str) -> str:
        """What a reply takes over, "" where nothing is known."""
        return text.value if isinstance(text, Copied) else ""
