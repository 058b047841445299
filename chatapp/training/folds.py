"""Folds for cross-validation that no group is in two of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def folds(keys: Sequence[str], count: int, seed: int = 0) -> list[int]:
    """Which of `count` folds each row is in. Rows of equal key share one; it depends on nothing but the key
    and the seed."""
    return [int(hashlib.sha256(f"fold {seed} {key}".encode()).hexdigest()[:8], 16) % count for key in keys]
