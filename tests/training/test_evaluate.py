"""Figures, their intervals, and the verdict."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.training import evaluate
from chatapp.training.data import SftRow
from chatapp.training.evaluate import Behaviour, Figure, behaviour, bootstrap, mean_figure, win
from chatapp.training.gate import Bounds, Evidence, damages, judge


def test_the_interval_covers_as_often_as_it_says() -> None:
    source, inside = random.Random(1), 0
    for trial in range(200):
        values = [source.gauss(0.3, 1.0) for _ in range(40)]
        figure = bootstrap(values, evaluate.mean, draws=300, seed=trial)
        inside += figure.low <= 0.3 <= figure.high
    assert 0.88 <= inside / 200 <= 0.99


def test_a_sure_thing_has_no_width_and_nothing_has_no_value() -> None:
    assert mean_figure([0.7] * 9) == Figure(pytest.approx(0.7), pytest.approx(0.7), pytest.approx(0.7), 9)  # type: ignore[arg-type]
    assert mean_figure([]).n == 0
    assert math.isnan(mean_figure([]).value)


def test_wins_count_ties_half_near_ones_little_and_favour_no_side() -> None:
    assert win([1.0, 3.0], [1.0, -9.0]) == pytest.approx((0.5 + 1 + 0.982 + 1) / 4, abs=1e-3)
    assert 0.5 < win([0.01], [0.0]) < 0.51 and win([1.0], [0.0]) == pytest.approx(0.881, abs=1e-3)
    a, b = [0.1, 0.5, 0.5], [0.5, 0.2]
    assert win(a, b) + win(b, a) == pytest.approx(1.0)


def test_wins_that_mean_something_are_seen_sooner_than_by_counting() -> None:
    """Half of the prompts get the same reply in other words, half of the others a better one."""
    source = random.Random(5)
    leads = [source.gauss(0, 0.05) if n % 2 else source.gauss(0.3, 0.6) for n in range(200)]
    shares = [float(lead > 0) for lead in leads]
    own, counted = mean_figure([win([lead], [0.0]) for lead in leads]), mean_figure(shares)

    def sureness(figure: Figure) -> float:
        return (figure.value - 0.5) / (figure.value - figure.low)

    assert sureness(own) > 1.2 * sureness(counted)


def test_perplexity_ratio_weighs_by_tokens() -> None:
    tuned, base = [(22.0, 10), (9.0, 30)], [(20.0, 10), (9.0, 30)]
    # 2 nats more over 40 tokens.
    assert evaluate.perplexity_ratio(tuned, base).value == pytest.approx(math.exp(2 / 40))
    assert evaluate.perplexity_ratio(base, base) == Figure(1.0, 1.0, 1.0, 2)


def test_what_replies_look_like() -> None:
    found = behaviour(["Oh no", "a b a b", "OH, no!", "one two three four"], [True, False, True, True])
    # Pairs: oh no twice, a b twice, b a, one two, two three, three four -> 6 of 8 differ.
    assert found == Behaviour(words=3.0, distinct=0.75, duplicates=0.5, short=0.5, unfinished=0.25)
    assert behaviour([], []).words == 0


GOOD = Evidence(
    wins=Figure(0.62, 0.55, 0.69, 80),
    judge=Figure(0.66, 0.6, 0.7, 75),
    preference=Figure(0.6, 0.48, 0.7, 25),
    perplexity=Figure(1.04, 1.0, 1.08, 80),
    tuned=Behaviour(9, 0.5, 0.1, 0.0, 0.0),
    base=Behaviour(10, 0.5, 0.1, 0.0, 0.0),
)


def test_better_and_whole_is_accepted() -> None:
    verdict = judge(GOOD)
    assert verdict.accepted
    assert "62%" in verdict.reason


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"perplexity": Figure(1.2, 1.1, 1.3, 80)}, "perplexity"),
        ({"perplexity": Figure(math.nan, math.nan, math.nan, 80)}, "perplexity"),
        ({"tuned": Behaviour(4, 0.5, 0.1, 0.0, 0.0)}, "as long"),
        ({"tuned": Behaviour(14, 0.5, 0.1, 0.0, 0.0)}, "as long"),
        ({"tuned": Behaviour(9, 0.4, 0.1, 0.0, 0.0)}, "variety"),
        ({"tuned": Behaviour(9, 0.5, 0.2, 0.0, 0.0)}, "repeat"),
        ({"tuned": Behaviour(9, 0.5, 0.1, 0.1, 0.0)}, "under 3 words"),
        ({"tuned": Behaviour(9, 0.5, 0.1, 0.0, 0.1)}, "without an end"),
    ],
)
def test_what_is_damaged_is_refused_however_much_it_wins(change: dict[str, object], word: str) -> None:
    verdict = judge(replace(GOOD, wins=Figure(0.99, 0.98, 1.0, 80), **change))  # type: ignore[arg-type]
    assert not verdict.accepted
    assert word in verdict.reason
    assert damages(GOOD) == []


def test_a_later_round_may_lose_half_of_what_is_left() -> None:
    """All rounds together: 10 points of duplicates, 0.7225 of the variety, 1.21 times the perplexity."""

    def lost(duplicates: float, distinct: float = 0.5, since: float = 1.0, perplexity: float = 1.0) -> str:
        return "; ".join(
            damages(
                replace(
                    GOOD,
                    against="r2",
                    base=Behaviour(9, 0.5, 0.1, 0.0, 0.0),
                    start=Behaviour(9, 0.44, 0.14, 0.0, 0.0),
                    tuned=Behaviour(9, distinct, duplicates, 0.0, 0.0),
                    since=Figure(since, since, since, 80),
                    perplexity=Figure(perplexity, perplexity, perplexity, 80),
                )
            )
        )

    # 3 points of 6; the root of 0.7225 / 0.88, which is 0.906; the root of 1.21 / 1.10, which is 1.049.
    assert lost(0.16) == lost(0.16, distinct=0.40) == lost(0.16, since=1.04, perplexity=1.1 * 1.04) == ""
    assert "18% instead of 14%" in lost(0.18)
    assert "0.89 of r2's" in lost(0.16, distinct=0.39)
    assert "1.06 times r2's" in lost(0.16, since=1.06, perplexity=1.1 * 1.06)
    # A round that begins better than the base may lose as much as the first, not more.
    assert lost(0.16, since=1.09, perplexity=0.9 * 1.09) == ""
    assert "1.11 times r2's" in lost(0.16, since=1.11, perplexity=0.9 * 1.11)


def test_all_rounds_together_may_lose_twice_what_one_may() -> None:
    far = replace(GOOD, start=Behaviour(9, 0.35, 0.21, 0.0, 0.0), since=Figure(1.0, 1.0, 1.0, 80))
    gone = replace(far, tuned=far.start, perplexity=Figure(1.22, 1.2, 1.3, 80))
    assert [each.split(" of the base's")[0] for each in damages(gone)] == [
        "perplexity of other dialogue is 1.22 times the base's",
        "variety of words fell to 0.70",
        "replies that repeat another: 21% instead of 10%",
    ]


@given(st.lists(st.lists(st.floats(0, 1), min_size=7, max_size=7), max_size=12))
def test_there_is_always_a_next_step_and_never_too_many(rounds: list[list[float]]) -> None:
    base, perplexity, bounds = Behaviour(10, 0.5, 0.1, 0.0, 0.0), 1.0, Bounds()
    now, most = base, bounds.twice()
    for used in rounds:
        own = bounds.next(now, base, perplexity)
        assert 1 < own.perplexity <= 1.1 and 1 > own.distinct >= 0.85 and 0 < own.duplicates <= 0.05
        assert 1 > own.shortest >= 0.6 and 1 < own.longest <= 1.35
        assert 0 < own.short <= 0.01 and 0 < own.unfinished <= 0.02
        perplexity *= own.perplexity ** used[0]
        now = Behaviour(
            now.words * own.shortest ** used[1] * own.longest ** used[2],
            now.distinct * own.distinct ** used[3],
            now.duplicates + own.duplicates * used[4],
            now.short + own.short * used[5],
            now.unfinished + own.unfinished * used[6],
        )
        hair = 1e-6
        assert perplexity < most.perplexity + hair and now.distinct > most.distinct * base.distinct - hair
        assert now.duplicates - base.duplicates < most.duplicates + hair
        assert most.shortest - hair < now.words / base.words < most.longest + hair
        assert now.short < most.short + hair and now.unfinished < most.unfinished + hair


def test_a_round_that_begins_beyond_all_bounds_may_lose_nothing() -> None:
    base, ruined = Behaviour(10, 0.5, 0.1, 0.0, 0.0), Behaviour(1, 0.1, 0.9, 0.5, 0.5)
    assert Bounds().next(ruined, base, 2.0) == Bounds(1.0, 1.0, 0.0, 1.0, 1.35, 0.0, 0.0)


def test_no_better_is_refused() -> None:
    verdict = judge(replace(GOOD, wins=Figure(0.52, 0.47, 0.57, 80)))
    assert not verdict.accepted
    assert "no better" in verdict.reason


def test_a_judge_that_guesses_does_not_count() -> None:
    guessing = replace(GOOD, judge=Figure(0.52, 0.45, 0.59, 75))
    assert "agree too little" in judge(guessing).reason
    # Of a handful of rankings it is their number.
    assert "too few" in judge(replace(guessing, preference=Figure(0.5, 0.3, 0.7, 9))).reason
    assert judge(replace(guessing, preference=Figure(0.7, 0.6, 0.8, 25))).accepted
    assert not judge(Evidence()).accepted


def test_bounds_are_those_of_the_file() -> None:
    assert damages(replace(GOOD, perplexity=Figure(1.2, 1.1, 1.3, 80)), Bounds(perplexity=1.3)) == []


@pytest.mark.train
def test_losses_of_dialogue() -> None:
    from tests.training.tiny import tiny_policy

    rows = [SftRow((5, 6, 7, 2), (0, 0, 1, 1)), SftRow((5, 6, 7, 8, 9, 2), (0, 1, 1, 0, 0, 1))]
    model = tiny_policy().model
    found = evaluate.losses(model, rows)
    assert [n for _, n in found] == [2, 3]
    assert found[0][0] == pytest.approx(2 * math.log(260), rel=0.3)


def test_an_interval_leaves_out_what_is_not_defined() -> None:
    """One thumb down among four: many a resample holds no thumb down at all."""
    units = [(0.9, True), (0.8, True), (0.7, True), (0.6, True), (0.1, False)]

    def area(drawn: Sequence[tuple[float, bool]]) -> float:
        return evaluate.auc([score for score, _ in drawn], [good for _, good in drawn])

    assert evaluate.bootstrap(units, area) == Figure(1.0, 1.0, 1.0, 5)
    assert evaluate.bootstrap(units[:4], area) is evaluate.UNKNOWN


def test_equal_marks_say_no_more_than_guessing_would() -> None:
    assert evaluate.agreement([1.0] * 4) == Figure(1.0, pytest.approx(1 - 1.96 / 4), 1.0, 4)  # type: ignore[arg-type]
    # Of one conversation all four are right or wrong together.
    assert evaluate.agreement([1.0] * 4, ["a"] * 4).low == pytest.approx(1 - 1.96 / 2)
    assert evaluate.agreement([1.0, 0.0], ["a", "a"]).low == evaluate.agreement([1.0, 0.0]).low < 0.5
    alike = evaluate.lead([0.0] * 10)
    assert (alike.value, alike.low, alike.high) == (0.0, pytest.approx(-0.196), pytest.approx(0.196))
    assert evaluate.lead([1.0] * 3).low < 0 < evaluate.lead([1.0] * 30).low
