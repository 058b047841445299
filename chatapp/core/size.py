"""Sizes of files in words."""

from __future__ import annotations


def bytes_in_words(count: int) -> str:
    """A size, for people: `8.7 MB`."""
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
