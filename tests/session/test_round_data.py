"""What a round learns from: fresh rankings first, prompts nobody judged, and the folder that keeps it all."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chatapp.core.errors import NotFound, TrainingError
from chatapp.core.paths import embedded_model
from chatapp.core.types import Group, GroupReply, Sampling, Turn
from chatapp.engine.base import AdapterSpec, ModelSpec
from chatapp.engine.tuning import TuningClient
from chatapp.session import round_data
from chatapp.session.round_data import (
    data_of,
    is_untouched,
    material_of,
    own_dialogues,
    parted,
    unranked_prompts,
)
from chatapp.session.round_request import RoundRequest, examined, settings_for
from chatapp.session.run_folder import RoundInput, RunFolder, read_dialogues
from chatapp.store.database import open_store
from chatapp.training.data import build, is_held_out, split_key
from chatapp.training.freshness import age, freshness
from chatapp.training.progress import Progress
from tests.training.tiny import ByteEncoder

PROMPT = (Turn("system", "Be brief."), Turn("user", "Tea?"))


def ranked(*adapters: str | None) -> Group:
    replies = tuple(
        GroupReply(f"reply {n}", "model", "guide", adapter=name) for n, name in enumerate(adapters)
    )
    return Group((Turn("user", f"of {adapters}"),), replies, ((0,), (1,)))


def test_a_ranking_halves_in_weight_with_each_round_of_age() -> None:
    lineage = ("r3", "r1")
    every = [ranked("r3", "r1"), ranked("r1", None), ranked(None, None), ranked("r9", "r9")]
    assert [age(each, lineage) for each in every] == [0, 1, 2, 2]
    weight = freshness(every, lineage)
    found = [weight(each) for each in every]
    assert [each / found[-1] for each in found] == [4.0, 2.0, 1.0, 1.0]
    assert sum(found) == pytest.approx(len(found))
    data = build(every, ByteEncoder(), share=0.0, weight=weight)
    assert [row.weight for row in data.train.rankings] == found
    assert {row.weight for row in build(every, ByteEncoder(), share=0.0).train.rankings} == {1.0}


def test_prompts_that_nobody_judged_are_found_on_the_held_out_side(tmp_path: Path) -> None:
    with open_store(tmp_path / "chat.db") as store:
        for n in range(40):
            conversation = store.conversations.create(system="Be brief.").id
            first = store.conversations.add(conversation, None, "user", f"question {n}", "typed").id
            reply = store.conversations.add(
                conversation, first, "assistant", f"answer {n}", "model", finish_reason="stop"
            ).id
            other = store.conversations.add(
                conversation, first, "assistant", "or not", "model", finish_reason="stop"
            ).id
            store.conversations.add(conversation, reply, "user", f"and then {n}", "typed")
            if n % 2:
                store.rankings.add(first, [reply, other], ((reply,), (other,)))
        groups = store.groups.list()
        found = unranked_prompts(store, groups)
    expected = []
    for n in range(40):
        opening = (Turn("system", "Be brief."), Turn("user", f"question {n}"))
        if is_held_out(split_key(opening)):
            expected += [] if n % 2 else [opening]
            expected.append((*opening, Turn("assistant", f"answer {n}"), Turn("user", f"and then {n}")))
    assert sorted(map(repr, found)) == sorted(map(repr, expected)) and found
    assert not {group.prompt for group in groups} & set(found)


def test_of_very_many_prompts_the_newest_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(tmp_path / "chat.db") as store:
        for n in range(60):
            conversation = store.conversations.create().id
            store.conversations.add(conversation, None, "user", f"question {n}", "typed")
        every = unranked_prompts(store, [])
        monkeypatch.setattr(round_data, "UNRANKED", 5)
        assert unranked_prompts(store, []) == every[:5]
    assert len(every) > 5 and every[0][0].text > "question 5"


def test_one_dialogue_in_ten_is_never_trained_on() -> None:
    dialogues = [(Turn("user", f"hello {n}"), Turn("assistant", "hi")) for n in range(1000)]
    mix, untouched = parted(dialogues)
    assert sorted(map(repr, [*mix, *untouched])) == sorted(map(repr, dialogues))
    assert 60 < len(untouched) < 140 and all(map(is_untouched, untouched))
    assert parted(list(reversed(dialogues)))[1] == list(reversed(untouched))


def test_a_long_prompt_that_nobody_judged_loses_old_turns() -> None:
    engine: Any = SimpleNamespace(encode=ByteEncoder().encode, info=SimpleNamespace(n_ctx=60))
    long = (Turn("user", "x" * 60), Turn("assistant", "y"), *PROMPT[1:])
    given = RoundInput([], [long, (Turn("user", "x" * 60),), PROMPT], [], [])
    material = material_of(given, data_of(given, engine, ()), engine)
    assert material.prompts == [ByteEncoder().encode(turns).ids for turns in (PROMPT[1:], PROMPT)]


@pytest.mark.parametrize(
    ("n_ctx", "tokens"), [(256, 256), (1024, 512), (2048, 1024), (4096, 2048), (8192, 2048)]
)
def test_a_row_leaves_room_in_the_context(n_ctx: int, tokens: int) -> None:
    engine: Any = SimpleNamespace(info=SimpleNamespace(n_ctx=n_ctx))
    assert round_data.longest(engine) == tokens


def test_a_mix_of_what_was_judged_stays_on_its_side_of_the_split() -> None:
    groups = [
        Group((Turn("user", f"question {n}"),), (GroupReply("good"), GroupReply("bad")), ((0,), (1,)))
        for n in range(40)
    ]
    best = [(*group.prompt, Turn("assistant", "good")) for group in groups]
    other = [(Turn("user", f"hello {n}"), Turn("assistant", "hi")) for n in range(5)]
    engine: Any = SimpleNamespace(encode=ByteEncoder().encode, info=None)
    given = RoundInput(groups, [], [*best, *other], [*best, *other])
    material = material_of(given, data_of(given, engine, ()), engine)
    held, trained = (set(side.prompts) for side in (material.data.held_out, material.data.train))
    assert held and trained
    assert {row.opening for row in material.mix} & (held | trained) == trained
    assert {row.opening for row in material.untouched} & (held | trained) == held
    assert len(material.mix) == len(trained) + 5 and not trained & set(material.prompts)


def test_a_folder_gives_back_what_was_put_in(tmp_path: Path) -> None:
    pair = (GroupReply("yes\u2028", "model", "guide", adapter="r2"), GroupReply("no", "edit"))
    groups = [
        Group(PROMPT, pair, ((1,), (0,)), tags=("too long",), created=12.5),
        Group(PROMPT, (GroupReply("a", thumb=-1),)),
        Group(PROMPT, (GroupReply("b"),), all_bad=True),
    ]
    talk = (Turn("user", "hi"), Turn("assistant", "hello\n"))
    given = RoundInput(groups, [PROMPT], [talk, talk], [])
    folder = RunFolder.new(tmp_path / "runs")
    assert (folder.path.stat().st_mode & 0o777, (tmp_path / "runs").stat().st_mode & 0o777) == (0o700, 0o700)
    folder.write_input(given)
    assert folder.read_input() == given
    sampling = Sampling(temperature=0.3, max_tokens=500, stop=("\n",))
    start = AdapterSpec("r2", tmp_path / "adapter.gguf")
    settings = settings_for(7, sampling, 10**9, start)
    assert (settings.dpo.seed, settings.chat.max_tokens, settings.start) == (7, 96, "r2")
    request = RoundRequest("dpo", "guide", tmp_path / "g.gguf", start, settings, lineage=("r2", "r1"))
    folder.write_request(request.to_json())
    assert RoundRequest.from_json(folder.request()) == request


def test_one_process_at_a_time_and_the_newest_unfinished_is_last(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with pytest.raises(NotFound, match="no training was stopped"):
        RunFolder.find(runs, "last")
    first, second, third = (RunFolder.new(runs) for _ in range(3))
    assert len({first.name, second.name, third.name}) == 3
    for each in (first, second):
        each.write_request({})
    assert RunFolder.find(runs, "last").name == max(first.name, second.name)
    second.write_outcome({"accepted": False})
    assert RunFolder.find(runs, "last").name == first.name
    assert RunFolder.find(runs, second.name).outcome() == {"accepted": False}
    assert not first.going_on
    with first, pytest.raises(TrainingError, match="is going on"), RunFolder.find(runs, first.name):
        pass
    with first:
        assert [each.name for each in RunFolder.begun(runs) if each.going_on] == [first.name]
    assert not first.going_on
    with RunFolder.find(runs, first.name):
        pass


def test_replies_are_judged_whole() -> None:
    def judged(reply: int, most: int = 512) -> tuple[int, int, int]:
        """(tokens, prompts, samples) where replies of so many tokens were ranked."""
        replies = tuple(GroupReply(letter * (reply - 1)) for letter in "ab")
        groups = [Group((Turn("user", f"question {n}"),), replies, ((0,), (1,))) for n in range(20)]
        data = build(groups, ByteEncoder())
        assert data.rankings == 20
        found = examined(settings_for(1, Sampling(max_tokens=most), None, None), data, most)
        return found.chat.max_tokens, found.evaluate_prompts, found.evaluate_samples

    assert judged(30) == judged(80) == (96, 128, 5)
    assert judged(30, most=50) == (50, 128, 5)
    assert judged(100) == (120, 128, 4)
    assert judged(150) == (180, 128, 2)
    assert judged(300) == (360, 85, 2)
    assert judged(300, most=200) == (200, 128, 2)
    # However long they are: enough prompts to judge by.
    assert judged(450, most=1000) == (540, 56, 2)
    unranked = examined(settings_for(1, Sampling(max_tokens=500), None, None), build([], ByteEncoder()), 500)
    assert (unranked.chat.max_tokens, unranked.evaluate_prompts, unranked.evaluate_samples) == (96, 128, 5)


def test_general_dialogue_in_two_forms(tmp_path: Path) -> None:
    file = tmp_path / "mix.jsonl"
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    lines = [{"messages": messages}, {"prompt": "hi", "completion": "hello"}, {"other": 1}]
    file.write_text("".join(json.dumps(each) + "\n" for each in lines) + "no json\n")
    assert read_dialogues(file) == [(Turn("user", "hi"), Turn("assistant", "hello"))] * 2
    file.write_text('{"text": "hi"}\n')
    with pytest.raises(TrainingError, match="holds no conversation"):
        read_dialogues(file)


def test_what_another_base_says_itself_is_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, heard = TuningClient(tmp_path), list[Progress]()
    try:
        engine.load(ModelSpec(embedded_model(), "guide", threads=1))
        first = round_data.mix_of(engine, "f" * 64, tmp_path, heard.append)
        assert [each.step for each in heard] == [16, 32, 48, 64, 80] and {each.steps for each in heard} == {
            80
        }
        assert heard[0].seconds_left is not None and heard[0].seconds_left > 0
        whole = [each for side in first for each in side]
        assert 20 < len(whole) <= 80 and all(reply.role == "assistant" for _, reply in whole)
        with monkeypatch.context() as changed:
            changed.setattr(engine, "rollout", None)
            assert round_data.mix_of(engine, "f" * 64, tmp_path, heard.append) == first
        assert len(heard) == 5
        [file] = tmp_path.glob("dialogues-*")
        file.write_text("nothing to be read\n")
        assert round_data.mix_of(engine, "f" * 64, tmp_path) == first
    finally:
        engine.close()


def test_a_base_that_says_little_is_asked_again(tmp_path: Path) -> None:
    class Brief:
        """Ends `whole` of its replies."""

        def __init__(self, whole: int) -> None:
            self.whole, self.asked, self.info = whole, list[Sampling](), None

        encode = staticmethod(ByteEncoder().encode)

        def rollout(self, prompts: Any, samples: int, sampling: Sampling) -> Any:
            self.asked.append(sampling)
            self.whole -= len(prompts)
            ends = [self.whole + at >= 0 for at in range(len(prompts))]
            return [[SimpleNamespace(text="So.", finish_reason="stop" if own else "length")] for own in ends]

    def mix_of(whole: int, base: str) -> tuple[list[Any], list[Any], list[str]]:
        brief: Any = Brief(whole)
        heard: list[Progress] = []
        found = round_data.mix_of(brief, base, tmp_path, heard.append)
        assert all(
            (each.max_tokens, each.temperature, each.top_p) == (256, 1.0, 0.95) for each in brief.asked
        )
        return *found, [each.note for each in heard if each.note]

    mix, untouched, notes = mix_of(9, "a" * 64)
    assert (len(mix), len(untouched)) == (7, 2)
    assert notes == ["only 9 replies of the model's own came to an end: that it forgets may not be seen"]
    assert not list(tmp_path.glob("dialogues-*"))
    # Enough to remember, few enough to leave more of them alone.
    mix, untouched, notes = mix_of(40, "a" * 64)
    assert (len(mix) + len(untouched), notes) == (40, []) and len(untouched) >= 8
    assert set(filter(is_untouched, [*mix, *untouched])) <= set(untouched)
    assert mix_of(0, "a" * 64) == (mix, untouched, [])
    mix, untouched, _ = mix_of(80, "b" * 64)
    assert (len(mix) + len(untouched)) == 80 and all(map(is_untouched, untouched))


def test_what_does_not_fit_a_small_context_is_left_out(tmp_path: Path) -> None:
    def said(words: int, reply: str | None) -> tuple[Turn, ...]:
        asked = (Turn("user", f"{words}: " + "tea and cake " * (words // 3)),)
        return asked if reply is None else (*asked, Turn("assistant", reply))

    lengths = (3, 150, 330)
    whole = [said(words, "Yes, please.") for words in lengths]
    given = RoundInput([], [said(words, None) for words in lengths], whole, whole)
    engine = TuningClient(tmp_path)
    try:
        engine.load(ModelSpec(embedded_model(), "guide", n_ctx=256, threads=1))
        material = material_of(given, data_of(given, engine, ()), engine)
        fit = [len(engine.encode(each).ids) for each in whole[:2]]
        assert fit[1] < 256 < len(engine.encode(whole[2]).ids) < 512
        assert [len(row.ids) for row in material.mix] == fit == [len(row.ids) for row in material.untouched]
        assert len(material.prompts) == 2 and max(map(len, material.prompts)) < 256
        assert all(engine.rollout(material.prompts, 1, Sampling(max_tokens=4)))
        assert {dialogue[0] for dialogue in own_dialogues(engine, whole)} <= {each[0] for each in whole[:2]}
    finally:
        engine.close()
