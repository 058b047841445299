"""Conversations as Markdown, to read, and the files that conversations are written to."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from chatapp.core.errors import ChatappError
from chatapp.core.sanitize import one_line
from chatapp.core.types import Message
from chatapp.core.whole_file import whole_file


def as_markdown(title: str, path: Sequence[Message]) -> str:
    """What a reader sees of a conversation: its active path."""
    parts = [f"# {one_line(title) or 'Untitled'}"]
    parts += (f"## {author(each)}\n\n{each.text.strip()}" for each in path)
    return "\n\n".join(parts) + "\n"


def author(message: Message) -> str:
    """The name that stands above a message, in one line."""
    if message.role != "assistant":
        return "You" if message.role == "user" else "System"
    return "Reply" if message.provenance is None else shown_name(message.provenance.model)


def shown_name(model: str) -> str:
    """A model's name above what it writes, in one line."""
    name = one_line(model)
    return name.capitalize() if name == "guide" else name


def write_file(file: Path, parts: Iterable[str], hint: str, new: bool = False) -> None:
    """Write a file for its owner alone, there once it is complete; a `new` one replaces none.

    Errors: `ChatappError` with `hint`.
    """
    try:
        if new and os.path.lexists(file):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        with whole_file(file) as part, part.open("w", encoding="utf-8") as out:
            out.writelines(parts)
    except OSError as error:
        raise ChatappError(f"cannot write {file}: {error.strerror}", hint) from error
    except ValueError as error:  # a name with a NUL in it
        raise ChatappError(f"cannot write {str(file)!r}: {error}", hint) from error
