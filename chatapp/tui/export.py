"""The active path of a conversation as a Markdown file."""

from __future__ import annotations

from pathlib import Path

from chatapp.core.paths import expanded
from chatapp.tui.snapshot import Snapshot
from chatapp.tui.widgets.heading import author


def write_markdown(file: str, shown: Snapshot) -> Path:
    """Write what is on the screen. Never replaces a file: `FileExistsError`."""
    path = expanded(file)
    title = shown.conversation.title if shown.conversation else ""
    parts = [f"# {title or 'Conversation'}"]
    for item in shown.items:
        parts.append(f"## {author(item.message)}\n\n{item.message.text.strip()}")
    with path.open("x", encoding="utf-8") as handle:
        handle.write("\n\n".join(parts) + "\n")
    return path
