"""What is said before anything is done."""

from dataclasses import replace

import psutil
import pytest

from chatapp.core.errors import TrainingError
from chatapp.core.types import Group, GroupReply, Turn
from chatapp.training import data
from chatapp.training.data import Data
from chatapp.training.memory import Estimate, largest_batch, peak, require
from chatapp.training.packing import MICRO, PLACES
from chatapp.training.plan import plan
from chatapp.training.settings import Settings
from tests.training.tiny import ByteEncoder


def rankings(count: int, *, tied: int = 0, edits: int = 0) -> Data:
    replies = (GroupReply("a"), GroupReply("b"))
    groups = [Group((Turn("user", f"question {n}"),), replies, ((0,), (1,))) for n in range(count)]
    groups += [Group((Turn("user", f"tied {n}"),), replies, ((0, 1),)) for n in range(tied)]
    groups += [Group((Turn("user", f"edit {n}"),), replies, demonstration=0) for n in range(edits)]
    return data.build(groups, ByteEncoder())


def test_stages_follow_the_amount() -> None:
    assert plan(rankings(0)).stages == ()
    assert plan(rankings(4)).stages == ()
    assert plan(rankings(16)).stages == ("dpo",)
    assert plan(rankings(100)).stages == ("reward", "rloo")
    assert plan(rankings(0, edits=4)).stages == ("sft",)
    assert plan(rankings(100), "ppo").stages == ("reward", "ppo")
    assert plan(rankings(1), "dpo").stages == ("dpo",)


def test_it_says_what_there_is_and_what_is_wrong() -> None:
    text = "\n".join(plan(rankings(34, tied=66)).lines)
    assert "34 rankings" in text
    assert "34 of your 100 rankings could tell the replies apart; sample hotter" in text
    assert plan(rankings(34, tied=66)).lines[0].startswith("there are 34 rankings with an order")
    assert plan(rankings(1)).lines[0].startswith("there is 1 ranking,")
    assert "with an order" not in plan(rankings(34)).lines[0]
    assert "too few" in "\n".join(plan(rankings(3)).lines)
    assert "about 14 in all" in "\n".join(plan(rankings(3)).lines)
    assert "expect to be asked for more" in "\n".join(plan(rankings(34)).lines)
    assert "expect to be asked for more" not in "\n".join(plan(rankings(100)).lines)
    assert "nothing will be trained" in "\n".join(plan(rankings(0)).lines)


def test_few_rankings_are_all_accounted_for() -> None:
    few = rankings(9)
    assert plan(few).lines[1].startswith("7 rankings to learn from, 2 held out to judge by: too few")
    few.train.rankings.clear()
    assert plan(few).lines[1].startswith("0 rankings to learn from, 2 held out to judge by: too few")
    assert "held out" not in plan(rankings(0)).lines[1]


def test_one_of_a_kind_is_said_of_one() -> None:
    one = replace(rankings(0, tied=1), all_bad=1, too_long=1, cut=1, empty=1)
    text = "\n".join(plan(one).lines)
    assert "; 1 time all replies were bad" in text
    assert "1 was longer than 2048 tokens and left out" in text
    assert "1 reply was longer than 2048 tokens, the prompt with it, and left out" in text
    assert "1 held a reply without a word and was left out" in text
    assert "0 of your 1 ranking could tell the replies apart" in text
    held = rankings(40)
    del held.held_out.rankings[1:]
    assert "judged by 1 ranking that is never trained on" in "\n".join(plan(held).lines)
    many = "\n".join(plan(replace(one, all_bad=2, too_long=2, cut=2, limit=700, empty=2)).lines)
    assert "; 2 times all replies were bad" in many
    assert "2 were longer than 700 tokens" in many and "2 replies were longer than 700" in many
    assert "word and were left out" in many


def test_contradictions_and_repeats_are_said() -> None:
    replies = (GroupReply("a"), GroupReply("b"))
    prompt = (Turn("user", "q"),)
    both = [Group(prompt, replies, ((0,), (1,))), Group(prompt, replies, ((1,), (0,)))]
    text = "\n".join(plan(data.build([*both, both[0]], ByteEncoder())).lines)
    assert "1 pair of replies stand both ways round" in text
    assert "1 judgement came twice" in text


def test_one_conversation_cannot_be_held_out() -> None:
    prompt = Turn("user", "question 0")
    groups = [
        Group(
            (prompt, Turn("assistant", "x"), Turn("user", f"{n}")),
            (GroupReply("a"), GroupReply("b")),
            ((0,), (1,)),
        )
        for n in range(12)
    ]
    assert "nothing can be held out" in "\n".join(plan(data.build(groups, ByteEncoder())).lines)


def test_what_does_not_fit_is_refused_with_both_numbers() -> None:
    expected = Estimate(2**30, 2**30, 0, 2**30, 0)
    with pytest.raises(TrainingError, match=r"about 3\.0 GiB .* may take 2\.0 GiB"):
        require(expected, 2 * 2**30)
    require(expected, 4 * 2**30)


def test_the_largest_batch_is_that_of_the_stages_to_come() -> None:
    side, usual = rankings(100).train, Settings()
    settings = replace(
        usual, rloo=replace(usual.rloo, samples=32, micro=1), ppo=replace(usual.ppo, samples=32, minibatch=8)
    )
    prompts = sorted(map(len, side.prompts))
    places = {
        stages: largest_batch(side, settings, stages) for stages in (("dpo",), ("rloo",), ("rloo", "ppo"))
    }
    # Replies are two tokens long, and samples may be longer.
    room = settings.rloo.sampling.max_tokens
    assert places["rloo",] == prompts[-1] + 32 * room
    few = replace(settings, rloo=replace(settings.rloo, samples=4, micro=3))
    assert largest_batch(side, few, ("rloo",)) == 3 * (prompts[-1] + 4 * room)
    together = PLACES // (prompts[-1] + 4 * room)
    many = replace(few, rloo=replace(few.rloo, micro=99))
    assert largest_batch(side, many, ("rloo",)) == together * (prompts[-1] + 4 * room)
    assert places["rloo", "ppo"] == sum(prompts[-8:]) + 8 * 32 * room
    # General dialogue and edits go through by themselves, few at a time.
    mix = [data.SftRow((1,) * 1024, (1,) * 1024)] * 40
    assert largest_batch(side, usual, ("dpo",), mix) == PLACES
    edits = replace(side, demonstrations=mix)
    assert largest_batch(edits, usual, ("sft",)) == PLACES > largest_batch(edits, usual, ("dpo",))
    # Long ones go through by themselves: some shorter ones together may take more places than the longest.
    long = [data.SftRow((1,) * length, (1,) * length) for length in (656, 672, 672, 1280)]
    assert largest_batch(side, usual, ("dpo",), long) == 3 * 672
    assert largest_batch(side, usual, ("dpo",), [*long, data.SftRow((1,) * 5000, (1,) * 5000)]) == 5024
    assert largest_batch(side, usual, ("dpo",), [data.SftRow((1,) * 64, (1,) * 64)] * 40) == MICRO * 64
    assert MICRO * prompts[-1] < places["dpo",] < places["rloo",]
    assert largest_batch(rankings(0).train, settings, ("ppo",)) == 0


def test_peak_is_in_bytes() -> None:
    rss = psutil.Process().memory_info().rss
    assert 0.99 * rss < peak() < 100 * rss
