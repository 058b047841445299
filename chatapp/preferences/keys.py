"""The keys of ranking, without a screen: what each press means, and what stands in the order so far."""

from __future__ import annotations

from collections.abc import Sequence

from chatapp.core.errors import UsageError
from chatapp.core.types import Tiers

_TIE = "="
_ALL_BAD = "x"


class Ordering:
    """Orders replies 1 to `n` (their numbers on the screen, at most 9).

    A digit is the best, the next best, and so on; the last reply places itself, until `=` says that it is
    tied. `=` before a digit ties it with the one before; `==` ties all that are left with each other. `x`
    says that all are bad. A press that means nothing now is ignored: the methods return whether it counted.
    `backspace` takes back the last one that did.
    """

    def __init__(self, n: int) -> None:
        if not 1 <= n <= 9:
            raise UsageError(f"1 to 9 replies can be ranked with keys, not {n}")
        self.n = n
        self._keys: list[str] = []
        self._tiers: list[list[int]] = []
        self._tie = False
        self.all_bad = False

    @classmethod
    def of(cls, n: int, tiers: Sequence[Sequence[int]], all_bad: bool = False) -> Ordering:
        """The order that stands when these `tiers` have been pressed; none of them is empty."""
        ordering = cls(n)
        for tier in tiers:
            for at, number in enumerate(tier):
                if at:
                    ordering.press_equals()
                ordering.press_digit(number)
        if all_bad:
            ordering.press_all_bad()
        return ordering

    def press_digit(self, number: int) -> bool:
        """`number`: which reply, from 1."""
        if self.complete or number not in self._unplaced():
            return False
        return self._press(str(number))

    def press_equals(self) -> bool:
        return (not self.complete or self.placed_itself is not None) and self._press(_TIE)

    def press_all_bad(self) -> bool:
        return not self.all_bad and self._press(_ALL_BAD)

    def backspace(self) -> bool:
        """Undo the last press that counted."""
        if not self._keys:
            return False
        keys = self._keys[:-1]
        self._keys, self._tiers, self._tie, self.all_bad = [], [], False, False
        for key in keys:
            self._press(key)
        return True

    def _press(self, key: str) -> bool:
        self._keys.append(key)
        if key == _ALL_BAD:
            self.all_bad = True
        elif key == _TIE and not self._tie:
            if self.placed_itself is not None:
                self._tiers.pop()
            self._tie = True
        elif key == _TIE:
            self._tie = False
            if len(left := self._unplaced()) == 1 and self._tiers:
                self._tiers[-1] += left
            else:
                self._tiers.append(left)
        else:
            if self._tie and self._tiers:
                self._tiers[-1].append(int(key))
            else:
                self._tiers.append([int(key)])
            self._tie = False
            if len(left := self._unplaced()) == 1:
                self._tiers.append(left)
        return True

    def _unplaced(self) -> list[int]:
        placed = {number for tier in self._tiers for number in tier}
        return [number for number in range(1, self.n + 1) if number not in placed]

    @property
    def complete(self) -> bool:
        """Whether nothing is left to say: every reply is placed, or all are bad."""
        return self.all_bad or not self._unplaced()

    @property
    def placed_itself(self) -> int | None:
        """The last reply, where no digit placed it."""
        last = self._tiers[-1] if self.complete and not self.all_bad else []
        return last[0] if len(last) == 1 and str(last[0]) not in self._keys else None

    @property
    def ends_in_tie(self) -> bool:
        """Whether the last reply placed itself below a tie, which it may as well belong to."""
        return self.placed_itself is not None and any(len(tier) > 1 for tier in self._tiers[-2:-1])

    @property
    def started(self) -> bool:
        """Whether any press counts so far."""
        return bool(self._keys)

    def tiers(self, replies: Sequence[int] | None = None) -> Tiers:
        """The order so far, as numbers on the screen, or as the `replies` (ids in screen order) behind them.

        Empty when all are bad.
        """
        if self.all_bad:
            return ()
        named = range(1, self.n + 1) if replies is None else replies
        return tuple(tuple(named[number - 1] for number in tier) for tier in self._tiers)

    def place_of(self, number: int) -> str | None:
        """`1st`, `2nd`, ... of a reply by its number on the screen; ties share it; None where it has none."""
        for place, tier in enumerate(self.tiers(), start=1):
            if number in tier:
                return ordinal(place)
        return None

    @property
    def text(self) -> str:
        """`2 › 4 = 1 › _`; the underscore is where the next digit goes."""
        if self.all_bad:
            return "all bad"
        order = " › ".join(" = ".join(str(number) for number in tier) for tier in self._tiers)
        if self.complete:
            return order
        sign = " = " if self._tie else " › " if order else ""
        return f"{order}{sign}_".lstrip()


def ordinal(place: int) -> str:
    """`1st`, `2nd`, `3rd`, `4th`, ..."""
    suffix = "th" if 10 <= place % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{suffix}"
