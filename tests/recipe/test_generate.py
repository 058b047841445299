"""The generated dialogues vary, alternate, and keep the probes out."""

from __future__ import annotations

import json
import re

import pytest

pytest.importorskip("yaml")

from generate import Decontaminator, Generator, normalise

from .conftest import RECIPE

KINDS = ("app", "contrast", "talk", "limits", "errand", "copying", "recall", "mixed")


@pytest.mark.parametrize("kind", KINDS)
def test_turns_alternate_and_end_with_a_reply(kind: str) -> None:
    made = Generator(3)
    for _ in range(60):
        turns = made.dialogue(kind)
        roles = [role for role, _ in turns if role != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert all(text.strip() for role, text in turns if role != "system")
        assert not any("{" in text or "}" in text for _, text in turns), turns


def test_every_fact_has_two_hundred_phrasings() -> None:
    made = Generator(4)
    for fact in made.facts:
        asked = {normalise(made.question(fact)) for _ in range(500)}
        assert len(asked) >= 200, (fact["id"], len(asked))


def test_same_seed_same_dialogues() -> None:
    assert [Generator(9).dialogue("mixed")] == [Generator(9).dialogue("mixed")]


def test_recall_answers_hold_what_was_told() -> None:
    made = Generator(5)
    for _ in range(200):
        turns = made.recall()
        last = re.findall(r"\w+", turns[-1][1].lower())
        told = re.findall(r"\w+", " ".join(text for role, text in turns[:-1] if role == "user").lower())
        assert set(last) & set(told), turns


def test_probes_are_kept_out() -> None:
    clean = Decontaminator(["How do I frobnicate the little blue widget today?"]).clean
    assert not clean([("user", "how do i frobnicate the little blue widget today"), ("assistant", "x")])
    assert not clean([("user", "Hello, how do I frobnicate the little blue widget today, please?")])
    assert clean([("user", "How do I paint the little blue widget?"), ("assistant", "x")])


def test_no_generated_question_is_a_probe() -> None:
    path = RECIPE / "probes" / "dev_questions.jsonl"
    dev = Decontaminator(json.loads(line)["question"] for line in path.read_text().splitlines())
    made = Generator(6)
    for _ in range(3000):
        assert dev.clean(made.app())
