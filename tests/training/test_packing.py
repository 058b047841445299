"""A packed ranking gives what separate rows give."""

import math
from collections.abc import Sequence
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chatapp.training.data import RankingRow, SftRow
from chatapp.training.packing import GROUP, alike, pack, per_reply, token_logprobs, tokens, visible
from tests.training.tiny import tiny_policy

pytestmark = pytest.mark.train

ROWS = [
    RankingRow((5, 6, 7, 8), ((9, 10, 2), (11, 2), (12, 13, 14, 15, 2)), (0, 1, 1)),
    RankingRow((20, 21, 22, 23, 24, 25, 26, 27, 28), ((30, 31, 32, 2), (2,)), (1, 0)),
]


def separately(model, rows: list[RankingRow]) -> list[float]:
    found = []
    for row in rows:
        for reply in row.replies:
            ids = torch.tensor([row.prompt + reply])
            logits = model(input_ids=ids).logits.log_softmax(-1)[0, len(row.prompt) - 1 : -1]
            found.append(float(logits.gather(1, torch.tensor(reply)[:, None]).sum()))
    return found


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_equals_separate_rows(kind: str) -> None:
    """gemma2: sliding windows shorter than the rows and capped logits."""
    model = tiny_policy(kind=kind, learned=0.3).model
    packed = pack(ROWS)
    with torch.no_grad():
        together = per_reply(token_logprobs(model, packed), packed)
        apart = separately(model, ROWS)
    assert together.tolist() == pytest.approx(apart, abs=1e-4)
    assert packed.lengths.tolist() == [3, 2, 5, 4, 1]
    assert packed.rows.tolist() == [0, 0, 0, 1, 1]


def test_order_and_padding_do_not_matter() -> None:
    model = tiny_policy(learned=0.3).model
    with torch.no_grad():
        small, large = pack(ROWS, 1), pack(ROWS[::-1], 64)
        a = per_reply(token_logprobs(model, small), small).tolist()
        b = per_reply(token_logprobs(model, large), large).tolist()
    assert a == pytest.approx(b[2:] + b[:2], abs=1e-4)


def test_a_reply_sees_the_prompt_and_itself_alone() -> None:
    packed = pack([RankingRow((5, 6), ((7, 2), (8, 2)), (0, 1))], 1)
    seen = visible(packed)[0, 0].int().tolist()
    assert seen == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 1, 1],
    ]
    assert packed.positions[0].tolist() == [0, 1, 2, 3, 2, 3]
    assert packed.lasts.tolist() == [3, 5]


def test_a_conversation_learns_its_masked_tokens() -> None:
    row = SftRow((5, 6, 7, 2, 5, 8, 2), (0, 0, 1, 1, 0, 1, 1))
    packed = pack([row])
    assert packed.targets.tolist() == [7, 2, 8, 2]
    assert packed.sources.tolist() == [1, 2, 4, 5]
    model = tiny_policy().model
    with torch.no_grad():
        whole = model(input_ids=torch.tensor([row.ids])).logits.log_softmax(-1)[0]
        found = token_logprobs(model, packed)
    expected = [float(whole[s, t]) for s, t in zip([1, 2, 4, 5], [7, 2, 8, 2], strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def row_of(length: int) -> SftRow:
    return SftRow((1,) * length, (1,) * length)


def test_long_rows_go_through_by_themselves() -> None:
    rows = [row_of(length) for length in (200, 30, 900, 30, 200, 30, 200, 30, 30)]
    assert alike(rows, 5) == [[1, 3, 5, 7, 8], [0, 4, 6], [2]]
    # Another group costs more than a little padding, and less than much of it.
    assert alike([row_of(60), row_of(70)], 4) == [[0, 1]]
    assert alike([row_of(60), row_of(260)], 4) == [[0], [1]]
    assert alike([], 4) == []


@given(st.lists(st.integers(1, 300), min_size=1, max_size=9), st.integers(1, 5), st.sampled_from([200, 700]))
def test_no_other_groups_are_cheaper(lengths: list[int], size: int, places: int) -> None:
    rows = [row_of(length) for length in lengths]

    def cost(groups: Sequence[Sequence[int]]) -> float:
        allowed = all(len(g) == 1 or tokens([rows[at] for at in g]) <= places for g in groups)
        allowed = allowed and all(len(g) <= size for g in groups)
        return sum(tokens([rows[at] for at in g]) + GROUP for g in groups) if allowed else math.inf

    found = alike(rows, size, places)
    assert sorted(at for group in found for at in group) == list(range(len(rows)))
    order = sorted(range(len(rows)), key=lengths.__getitem__)
    others = []
    for cuts in product([False, True], repeat=len(rows) - 1):
        groups = [[order[0]]]
        for at, cut in zip(order[1:], cuts, strict=True):
            groups.append([at]) if cut else groups[-1].append(at)
        others.append(cost(groups))
    assert cost(found) == min(others) < math.inf
