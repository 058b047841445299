"""What stood in the prompt when the program ended, however it did: the next start finds it there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def keep_draft(file: Path, text: str) -> None:
    """Add `text` to what another chat may have left there; only its owner can read it. An end is no time for
    errors: what cannot be written is lost."""
    if not text.strip():
        return
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(file, "a", encoding="utf-8", errors="replace", newline="", opener=_private) as end:
            end.write(f"{text}\n")


def take_draft(file: Path) -> str:
    """What was kept, which is then gone from `file`; nothing where another chat has taken it."""
    try:
        with file.open(encoding="utf-8", errors="replace", newline="") as kept:
            text = kept.read()
        file.unlink()
    except OSError:
        return ""
    return text.removesuffix("\n")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
