"""How lanes share the screen: columns when it is wide, a stack with one of them open when it is narrow."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

WIDE = 100
"""Columns from which lanes stand side by side."""
_LEAST_COLUMN = 22
_LEAST_HEIGHT = 5
_FOLDED = 3
"""Lines of a folded lane: its title and two lines of text."""


def columns(width: int, lanes: int) -> int:
    """How many lanes stand in a row, so that the rows are about equally long."""
    fit = max(1, (width + 1) // (_LEAST_COLUMN + 1))
    return ceil(lanes / ceil(lanes / fit))


def row_height(lines: Sequence[int], available: int, rows: int) -> int:
    """Height of every lane, borders included: as the longest text needs, at most what there is."""
    most = max(available // rows, _LEAST_HEIGHT)
    return min(max(max(lines, default=0) + 2, _LEAST_HEIGHT), most)


def stacked_heights(lines: Sequence[int], available: int, open_lane: int) -> list[int]:
    """Height of each lane of a stack, its title line included; texts are whole where there is room."""
    wanted = [max(each, 1) + 1 for each in lines]
    if sum(wanted) + len(lines) <= available:
        return [each + 1 for each in wanted]  # a line of air under each
    if sum(wanted) <= available:
        return wanted
    heights = [min(each, _FOLDED) for each in wanted]
    heights[open_lane] = max(_FOLDED, available - sum(heights) + heights[open_lane])
    return heights
