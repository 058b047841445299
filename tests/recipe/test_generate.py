"""The generated dialogues vary, alternate, and keep the probes out."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("yaml")


from decontaminate import Decontaminator, normalise, probe_turns
from dialogues.meant import Copied, Meant
from generate import Generator

from .conftest import RECIPE

KINDS = ("app", "noisy", "contrast", "talk", "limits", "errand", "drills", "recall", "passing", "mixed")


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
    for fact in made.app.facts:
        asked = {normalise(made.app.question(fact)) for _ in range(500)}
        assert len(asked) >= 200, (fact["id"], len(asked))


def test_noise_leaves_most_words_of_a_question_and_its_answer() -> None:
    wording = Generator(7).app.wording
    said, others = "which key takes the newest ranking back again", ["zebra crossing ahead"]
    kept = []
    for _ in range(300):
        words = wording.noisy(said, others).split()
        assert set(words) <= set(f"{said} {others[0]}".split())
        kept.append(len(set(words) & set(said.split())))
    assert min(kept) >= 2 and max(kept) == len(said.split())
    assert 5 < sum(kept) / len(kept) < 7.5


def test_a_question_that_means_a_fact_is_answered_by_it() -> None:
    app = Generator(11).app
    says = {f"app/{fact['id']}": fact["say"] for fact in app.facts}
    for draw in (app.one, app.noisy, app.contrast, app.leaning):
        for _ in range(200):
            turns = draw()
            for (_, said), (_, reply) in zip(turns[::2], turns[1::2], strict=True):
                assert reply in says[Meant.of(said)], (said, reply)


@pytest.mark.parametrize("kind", ["app", "noisy", "contrast", "talk", "limits", "recall"])
def test_most_turns_have_a_meaning(kind: str) -> None:
    made = Generator(12)
    said = [text for _ in range(200) for role, text in made.dialogue(kind) if role == "user"]
    assert sum(bool(Meant.of(text)) for text in said) > 0.7 * len(said)


@pytest.mark.parametrize("kind", ["drills", "recall", "passing"])
def test_what_a_reply_takes_over_was_told_before(kind: str) -> None:
    made, count = Generator(14), 0
    for _ in range(150):
        said = ""
        for role, text in made.dialogue(kind):
            if role == "user":
                said += f"\n{text}"
            elif (value := Copied.of(text)) and value in text:
                count += 1
                assert value.lower() in said.lower(), (said, text)
    assert count > 150


def test_what_is_told_in_passing_is_asked_for_slot_by_slot() -> None:
    for item in Generator(15).passing.items:
        slots = {f"{{{slot}}}" for slot in item["slots"]}
        held = [set(re.findall(r"{\w+}", text)) for text in item["tell"]]
        assert all(own == slots for own in held), item["tell"]
        assert set(item["ask"]) == set(item["say"]) == set(item["slots"])
        assert not any("{" in text for asks in item["ask"].values() for text in asks)
        for slot, says in item["say"].items():
            # in front of a reply a value would be other tokens than after a space
            assert all(f" {{{slot}}}" in say for say in says), says


def test_what_was_told_in_passing_changes_in_its_own_words() -> None:
    made = Generator(16).passing
    changing = [item for item in made.items if "change" in item]
    assert len(changing) > 50
    for item in changing:
        assert len(item["slots"]) == 1
        assert all("{n}" in text for text in item["change"]), item["change"]
    ways = {text for item in changing for text in item["change"] if "{" not in text.replace("{n}", "", 1)}
    own = 0
    for item in changing * 4:
        turns, values = made.told(item)
        (value,) = values.values()
        said = turns[-2][1]
        assert value.lower() in said.lower(), turns
        own += len(turns) == 4 and said.replace(value, "{n}") in ways
    assert own > 0.1 * 4 * len(changing)


def test_who_writes_in_small_letters_is_answered_in_them() -> None:
    made = Generator(13).recall
    names = [
        told for told in (made.tell(made.material["attributes"][0]) for _ in range(300)) if len(told[0]) == 2
    ]
    small = [(turns, one) for turns, one in names if turns[0][1] == turns[0][1].lower()]
    assert 15 < len(small) < 90
    assert all(one.value == one.value.lower() and one.value in turns[0][1] for turns, one in small)


def test_same_seed_same_dialogues() -> None:
    assert [Generator(9).dialogue("mixed")] == [Generator(9).dialogue("mixed")]


def test_recall_answers_hold_what_was_told() -> None:
    made = Generator(5).recall
    for _ in range(300):
        attribute = made.rng.choice(made.material["attributes"])
        told, one = made.tell(attribute)
        _, reply = made.asked(one)
        words = set(re.findall(r"\w+", one.value.lower()))
        assert words <= set(re.findall(r"\w+", reply[1].lower())), (told, reply)
        said = " ".join(text for role, text in told if role == "user").lower()
        assert all(word in said for word in words), told


def test_corrected_values_replace_what_was_told() -> None:
    made = Generator(8).recall
    corrected = 0
    for _ in range(400):
        told, one = made.tell(made.material["attributes"][0])
        if len(told) > 2:
            corrected += 1
            assert one.value in told[2][1] and one.value not in told[0][1]
    assert corrected > 40


def test_drills_ask_only_for_what_was_said() -> None:
    drills = Generator(6).drills
    for _ in range(300):
        turns = drills.drill()
        said = " ".join(text for role, text in turns if role == "user")
        for word in re.findall(r"[A-Z]\w{4,}", turns[-1][1]):
            assert word in said, turns


def test_probes_are_kept_out() -> None:
    clean = Decontaminator(["How do I frobnicate the little blue widget today?"]).clean
    assert not clean([("user", "how do i frobnicate the little blue widget today"), ("assistant", "x")])
    assert not clean([("user", "Hello, how do I frobnicate the little blue widget today, please?")])
    assert clean([("user", "How do I paint the little blue widget?"), ("assistant", "x")])


def test_few_generated_dialogues_touch_a_probe() -> None:
    probes = probe_turns(RECIPE / "probes")
    assert len(probes) > 500 and all(len(probe.split()) > 3 for probe in probes)
    clean = Decontaminator(probes).clean
    made = Generator(6)
    dialogues = [made.dialogue(kind) for kind in KINDS for _ in range(200)]
    kept = [turns for turns in dialogues if clean(turns)]
    assert len(kept) > 0.9 * len(dialogues)
    said = {normalise(text) for turns in kept for role, text in turns if role == "user"}
    assert not said & {normalise(probe) for probe in probes}


def test_questions_written_by_hand_belong_to_one_fact() -> None:
    home: dict[str, str] = {}
    shared = set()
    for fact in Generator(1).app.facts:
        for text in fact["asked"]:
            if home.setdefault(text.lower().strip(" ?.!"), fact["id"]) != fact["id"]:
                shared.add(text)
    assert len(home) > 8000 and not shared, shared
