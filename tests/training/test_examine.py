"""What the judge is asked of two sides' replies."""

from collections.abc import Sequence

import pytest

from chatapp.training.data import RankingRow
from chatapp.training.examine import _scored
from tests.training.tiny import TinySampled

pytestmark = pytest.mark.train


class Judge:
    """A reply's score is its prompt's first token and its own ids, so that no two are mixed up."""

    def __init__(self) -> None:
        self.asked: list[RankingRow] = []

    def score(self, rows: Sequence[RankingRow]) -> list[list[float]]:
        self.asked += rows
        return [[1000 * row.prompt[0] + sum(reply) for reply in row.replies] for row in rows]


def test_both_sides_are_scored_with_each_prompt_read_once() -> None:
    def said(*ids: int) -> TinySampled:
        return TinySampled(ids, "", "stop")

    prompts = [(1, 2), (3, 4)]
    tuned = [[said(5), said(6, 7)], [said(8), said(8)]]
    base = [[said(6, 7), said(9)], [said(5), said(10)]]
    judge = Judge()
    ours, theirs = _scored(judge, prompts, tuned, base)  # type: ignore[arg-type]
    assert ours == [[1005, 1013], [3008, 3008]]
    assert theirs == [[1013, 1009], [3005, 3010]]
    assert [row.prompt for row in judge.asked] == prompts
    assert [row.replies for row in judge.asked] == [((5,), (6, 7), (9,)), ((8,), (5,), (10,))]
    assert _scored(judge, prompts, tuned) == [ours]  # type: ignore[arg-type]
