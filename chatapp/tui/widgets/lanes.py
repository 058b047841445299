"""How lanes share the screen: columns when there is room, else a stack with one of them open."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

_WIDE = 100
"""Columns of the terminal from which lanes stand side by side."""
_LEAST_COLUMN = 22
_LEAST_HEIGHT = 5
_FOLDED = 3
"""Lines of a folded lane, its title and two lines of text; fewer where there are many."""
_LEAST_OPEN = 5
"""Lines that the open one has before the others are folded further."""


def side_by_side(terminal: int, width: int, available: int, lanes: int) -> bool:
    """Whether lanes stand in columns: in a wide terminal, as long as all of their rows are on the screen."""
    return terminal >= _WIDE and _rows(width, lanes) * _LEAST_HEIGHT <= available


def columns(width: int, lanes: int) -> int:
    """How many lanes stand in a row, so that the rows are about equally long."""
    fit = max(1, (width + 1) // (_LEAST_COLUMN + 1))
    return ceil(lanes / ceil(lanes / fit))


def _rows(width: int, lanes: int) -> int:
    return ceil(lanes / columns(width, lanes))


def row_height(lines: Sequence[int], available: int, rows: int) -> int:
    """Height of every lane, borders included: as the longest text needs, at most what there is."""
    most = max(available // rows, _LEAST_HEIGHT)
    return min(max(max(lines, default=0) + 2, _LEAST_HEIGHT), most)


def stacked_heights(lines: Sequence[int], available: int, open_lane: int) -> list[int]:
    """Height of each lane of a stack, its title line included; texts are whole where there is room.

    Else the open one has what it needs, as far as there is room, and the others share what is left. They are
    more than `available` together only where there are more titles than lines.
    """
    wanted = [max(each, 1) + 1 for each in lines]
    if sum(wanted) + len(lines) <= available:
        return [each + 1 for each in wanted]  # a line of air under each
    if sum(wanted) <= available:
        return wanted
    heights: list[int] = []
    for folded in range(_FOLDED, 0, -1):
        heights = [min(each, folded) for each in wanted]
        heights[open_lane] = min(wanted[open_lane], _LEAST_OPEN)
        if sum(heights) <= available:
            break
    else:
        heights[open_lane] = max(2, heights[open_lane] + min(0, available - sum(heights)))
    heights[open_lane] = min(wanted[open_lane], heights[open_lane] + max(0, available - sum(heights)))
    while sum(heights) < available:
        for at, want in enumerate(wanted):
            if heights[at] < want and sum(heights) < available:
                heights[at] += 1
    return heights
