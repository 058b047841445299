"""The number of the reply that placed itself: whoever types them all types it when the ranking is over."""

from __future__ import annotations

import time


class SurplusDigit:
    """Made when what follows a ranking appears; the first key then means nothing where it is that digit."""

    PATIENCE = 1.5
    """Seconds in which it comes."""

    def __init__(self, placed_itself: int | None = None) -> None:
        self._digit = None if placed_itself is None else str(placed_itself)
        self._since = time.monotonic()

    def is_it(self, key: str) -> bool:
        """To be asked of every key: only the first one can be it."""
        digit, self._digit = self._digit, None
        return key == digit and time.monotonic() - self._since < self.PATIENCE
