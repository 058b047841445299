"""Thumbs to scores: wording, spoilt replies, folds, figures, the forest."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.core.errors import TrainingError
from chatapp.core.types import Turn
from chatapp.training import overlap, rating
from chatapp.training.corruptions import Corruptor, normalised
from chatapp.training.data import RankingRow, split_key
from chatapp.training.folds import folds
from chatapp.training.wording import plain
from tests.training.tiny import ByteEncoder, tiny_policy

DRINKS = ("espresso", "mocha", "latte", "cortado", "tea", "cocoa", "cider", "juice")


def test_json_becomes_words_and_identifiers_numbers():
    turns = [
        Turn(
            "assistant",
            '{"add_item":{"id":"4299f6a2946644cf9e28","with":[{"name":"milk","of":["oat","soy"]}]}}',
        ),
        Turn("user", 'order 38566\n{"order":"4299f6a2946644cf9e28"}'),
        Turn("user", "{not json} in 2026"),
    ]
    assert [turn.text for turn in plain(turns)] == [
        "add item (id: #1, with (name: milk, of: oat | soy))",
        "order #2\norder: #1",
        "{not json} in 2026",
    ]


def test_equal_dialogues_with_other_identifiers_read_the_same():
    one, other = (
        plain([Turn("user", "hi"), Turn("assistant", f'{{"finish":{{"id":"{id}"}}}}')])
        for id in ("9caad54304794fb894ac5a4ec598b4ef", "0c5d91a3816f4329b5bf778498087a47")
    )
    assert one == other


@given(st.text())
@settings(max_examples=200)
def test_any_text_has_a_wording(text: str):
    assert plain([Turn("user", text)])[0].role == "user"


@given(st.integers(0, 10_000), st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=6))
@settings(max_examples=150)
def test_a_spoilt_reply_never_says_what_the_good_one_says(seed: int, texts: list[str]):
    made = Corruptor(texts, seed).corruptions(texts[0], " ".join(texts), texts[1:], 4)
    said = [normalised(each) for each in [texts[0], *made]]
    assert len(made) <= 4
    assert len(set(said)) == len(said)
    assert all(said[1:])


def test_spoilt_replies_are_repeatable_and_plenty():
    replies = [f"get items (query: {drink} OR {other})" for drink in DRINKS for other in DRINKS]
    made = [
        Corruptor(replies, 3).corruptions(replies[5], "may I have an espresso with cocoa", ["thank you"], 3)
        for _ in range(2)
    ]
    assert made[0] == made[1]
    assert len(made[0]) == 3


def test_no_group_is_in_two_folds():
    spellings = ("A {} please", "a  {}, please!", "a {} Please")
    keys = [split_key([Turn("user", each.format(drink))]) for drink in DRINKS for each in spellings]
    of = folds(keys, 5, seed=1)
    assert all(len(set(of[at : at + 3])) == 1 for at in range(0, len(of), 3))
    assert len(set(of)) > 2
    assert of != folds(keys, 5, seed=2)


def test_the_oldest_turns_go_first_and_never_the_last_of_the_user():
    turns = [
        Turn("assistant", "welcome " * 9),
        Turn("user", "old"),
        Turn("user", "a cortado"),
        Turn("assistant", "so"),
    ]
    encoder = ByteEncoder()
    whole = rating.encode(encoder, turns, "ok", 1000)
    cut = rating.encode(encoder, turns, "ok", 50)
    assert whole is not None and cut is not None
    assert whole[0] == encoder.encode(turns).ids
    assert cut == (encoder.encode(turns[1:]).ids, whole[1])
    least = rating.encode(encoder, turns, "ok", 24)
    assert least is not None and least[0] == encoder.encode(turns[2:]).ids
    assert rating.encode(encoder, turns, "ok", 12) is None


def test_figures_of_log_probabilities_by_hand():
    found = rating.probability_features([-0.5, -4.0, -1.5, -0.1], [-2.5, -4.0, -1.0, -0.5])
    assert found[:6] == pytest.approx([math.log(4), -6.1, -1.525, -4.0, -0.1, -0.5])
    assert found[8] == pytest.approx(-1.0)
    assert found[9:13] == pytest.approx([-6.0, 2, 1, -5.6])
    assert found[13:] == pytest.approx([1.9, 1.9 / 4, -0.5, 0.4, -8.0, -2.0])


def test_alone_a_reply_stands_after_an_empty_turn():
    encoder = ByteEncoder()
    row = RankingRow((1, 5, 9), ((7, 8, 2), (9, 2)), (0, 1))
    assert rating.alone(encoder, [row]) == [
        RankingRow(encoder.encode([Turn("user", "")]).ids, row.replies, (0, 1))
    ]


def test_figures_of_words_by_hand():
    rarity = overlap.Rarity(["a latte", "a mocha", "a tea"])
    assert rarity.of("latte") == pytest.approx(math.log(4 / 2))
    assert rarity.of("a") == 0.0
    turns = [Turn("user", "A latte, decaf")]
    found = overlap.overlap_features(turns, "one Latte", rarity)
    assert len(found) == 41
    assert found[:4] == pytest.approx(
        [1 / 3, math.log(2) / (math.log(2) + math.log(4)), 1 / 2, math.log(2) / (math.log(2) + math.log(4))]
    )
    # Left out: "decaf" (and "a", which everyone says); made up: "one".
    assert found[12:16] == pytest.approx([math.log(4), math.log(4), 2, math.log(4)])
    assert found[16:19] == pytest.approx([1, math.log(4), math.log(4)])
    # With its capital "Latte" is copied from nowhere.
    assert found[25] == 2
    assert overlap.overlap_features([], "", rarity) == [0.0] * 41


def test_beside_those_that_begin_alike():
    import numpy as np

    openings = [("get",)] * 20 + [("ok",)]
    beside = rating.Beside(openings, np.arange(21.0)[:, None])
    assert beside.of(("get",), [10.0]) == pytest.approx([10.5 / 20])
    assert beside.of(("ok",), [20.0]) == pytest.approx([20.5 / 21])
    assert beside.of(("never seen",), [-1.0]) == [0.0]


def _rated(count: int, seed: int, informative: bool = True) -> tuple[list[rating.Rated], list[bool]]:
    """Good replies take up the drink that was asked for and are probable."""
    source = random.Random(seed)
    rows, good = [], []
    for _ in range(count):
        asked, up = source.choice(DRINKS), source.random() < 0.7
        said = asked if up or not informative else source.choice(DRINKS)
        low = -1.0 if up or not informative else -2.5
        logprobs = tuple(low + source.gauss(0, 1) for _ in range(6))
        rows.append(
            rating.Rated((Turn("user", f"a {asked} please"),), f"query: {said}", logprobs, (-2.0,) * 6)
        )
        good.append(up)
    return rows, good


def _auc(scores: list[float], good: list[bool]) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(good, scores))


RARITY = overlap.Rarity([f"a {drink} please" for drink in DRINKS])
SMALL = rating.RatingSettings(trees=40)


def test_the_forest_learns_what_thumbs_say_and_nothing_where_they_say_nothing():
    fresh, truth = _rated(200, 9)
    scores = rating.RatingModel(RARITY, SMALL).fit(*_rated(120, 1)).score(fresh)
    assert _auc(scores, truth) > 0.85
    assert all(0 <= score <= 1 for score in scores)
    none, of_none = _rated(200, 9, informative=False)
    scores = rating.RatingModel(RARITY, SMALL).fit(*_rated(120, 1, informative=False)).score(none)
    assert 0.35 < _auc(scores, of_none) < 0.65


def test_a_prior_from_free_comparisons_helps_ten_thumbs_and_is_left_as_it_was():
    prior = rating.RatingModel(RARITY, SMALL).fit(*_rated(300, 2))
    fresh, truth = _rated(200, 9)
    before = prior.score(fresh)
    few, thumbs = _rated(10, 4)
    alone = rating.RatingModel(RARITY, SMALL).fit(few, thumbs)
    both = rating.RatingModel(RARITY, SMALL, prior).fit(few, thumbs, _rated(100, 5)[0])
    assert _auc(both.score(fresh), truth) > _auc(alone.score(fresh), truth)
    assert prior.score(fresh) == before


def test_thumbs_that_all_point_one_way_teach_nothing():
    rows, _ = _rated(5, 1)
    with pytest.raises(TrainingError, match="same way"):
        rating.RatingModel(RARITY, SMALL).fit(rows, [True] * 5)


def test_log_probabilities_come_back_in_the_order_of_the_rows():
    policy = tiny_policy(learned=0.1)
    rows = [RankingRow((1, 5, 9), ((7, 8, 2), (9, 2)), (0, 0)), RankingRow((1, 4), ((6, 2),), (0,))]
    together = rating.reply_logprobs(policy, rows)
    assert [[len(each) for each in own] for own in together] == [[3, 2], [2]]
    for row, own in zip(rows, together, strict=True):
        alone = rating.reply_logprobs(policy, [row])[0]
        for a, b in zip(own, alone, strict=True):
            assert a == pytest.approx(b, abs=0.05)
    with policy.reference():
        assert rating.reply_logprobs(policy, rows) != together
