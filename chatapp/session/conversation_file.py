"""Conversations as Markdown, to read, or as jsonl, to be read in again, and the files that hold them."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from chatapp.core.errors import ChatappError
from chatapp.core.sanitize import one_line
from chatapp.core.types import Conversation, Message
from chatapp.core.whole_file import whole_file

if TYPE_CHECKING:
    from chatapp.store.database import Store

_ENDINGS: dict[str, Literal["jsonl", "markdown"]] = {
    ".md": "markdown",
    ".jsonl": "jsonl",
    ".json": "jsonl",
}


def format_of(file: Path) -> Literal["jsonl", "markdown"] | None:
    """What the ending of `file` stands for; None for another one, or none."""
    return _ENDINGS.get(file.suffix.lower())


def as_jsonl(store: Store, conversations: Iterable[Conversation]) -> Iterator[str]:
    """One line for each conversation, with all of its branches."""
    for each in conversations:
        yield json.dumps(store.archive.record(each.id)) + "\n"


def as_markdown(conversation: Conversation, path: Sequence[Message]) -> str:
    """What a reader sees of a conversation: its system prompt and its active path."""
    parts = [f"# {one_line(conversation.title) or 'Untitled'}"]
    if conversation.system:
        parts.append(f"## System\n\n{conversation.system.strip()}")
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
