"""Which format a row is in, told by its columns."""

from __future__ import annotations

from typing import Any

from chatapp.preferences.formats.hh_rlhf import is_transcript


def detect(row: dict[str, Any]) -> str | None:
    """Name of the format that `load` reads, or None."""
    if "replies" in row and "prompt" in row:
        return "rankings"
    if isinstance(row.get("prompt"), dict) and "replies" in row["prompt"]:
        return "oasst"
    if {"context", "generation", "reward"} <= row.keys():
        return "taskmaster"
    if {"chosen", "rejected"} <= row.keys():
        transcripts = is_transcript(row["chosen"]) and is_transcript(row["rejected"])
        return "hh-rlhf" if transcripts and row.get("prompt") is None else "trl-preference"
    if {"prompt", "completion"} <= row.keys():
        return "trl-unpaired" if "label" in row else "trl-sft"
    return None
