"""Which keys write a character."""

from __future__ import annotations

from unicodedata import category

from textual import events

from chatapp.core.sanitize import terminal_safe


def character_of(event: events.Key) -> str:
    """The character that a key writes; empty for one that writes none.

    Textual takes printable ones alone. Joiners, spaces other than the common one and what is newer than this
    Python's Unicode are not printable, but are written; controls and what could disguise text are not.
    """
    character = event.character or ""
    if event.is_printable:
        return character
    written = len(character) == 1 and category(character) != "Cc" and terminal_safe(character) == character
    return character if written else ""
