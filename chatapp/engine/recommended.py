"""The sampling that a model file recommends for itself: `general.sampling.*` of its metadata.

The keys are those of llama.cpp and of its `gguf` package (`gguf.constants.Keys.General`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chatapp.core.types import Sampling

_KEYS: dict[str, tuple[str, float, float]] = {
    "temperature": ("temp", 0.0, 5.0),
    "top_k": ("top_k", 0, 1_000_000),
    "top_p": ("top_p", 0.01, 1.0),
    "min_p": ("min_p", 0.0, 0.99),
    "repeat_penalty": ("penalty_repeat", 0.5, 2.0),
    "xtc_probability": ("xtc_probability", 0.0, 1.0),
    "xtc_threshold": ("xtc_threshold", 0.0, 1.0),
}
"""For each field of `Sampling` the end of its key, and what is sensible, ends included."""


def recommended_sampling(metadata: Mapping[str, Any]) -> Sampling:
    """The program's default with what `metadata` recommends instead; anything out of bounds is left out."""
    usual, found = Sampling(), dict[str, Any]()
    for name, (key, low, high) in _KEYS.items():
        value = metadata.get(f"general.sampling.{key}")
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            # a float32 of the file has more digits than were meant
            found[name] = type(getattr(usual, name))(round(value, 6))
    return replace(usual, **found)
