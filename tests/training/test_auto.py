"""The whole training on a tiny policy: order of stages, what it falls back on, how it ends."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from chatapp.core.errors import TrainingError
from chatapp.core.types import Sampling
from chatapp.training import auto, data, examine, ppo, rloo, run
from chatapp.training.data import Data, SftRow
from chatapp.training.gate import CLEAR, Verdict
from chatapp.training.model import load_policy
from chatapp.training.progress import Progress
from chatapp.training.settings import Material, Settings
from chatapp.training.weight_copy import copied
from tests.training.architectures import make
from tests.training.rows import group
from tests.training.test_parity import changed
from tests.training.tiny import END, ByteEncoder, TorchSampler, tiny_policy

pytestmark = pytest.mark.train

UNTOUCHED = [SftRow((1, 50, 60 + n, END), (0, 0, 1, 1)) for n in range(4)]


def material(count: int = 60) -> Data:
    return data.build([group(f"w{n}") for n in range(count)], ByteEncoder())


def settings() -> Settings:
    usual = Settings(evaluate_prompts=6, evaluate_samples=2)
    return replace(
        usual,
        reward=replace(usual.reward, epochs=1, learning_rate=1e-2, head_rate=1e-2, half=False),
        rloo=rloo.RlooSettings(steps=2, prompts=2, samples=3, learning_rate=1e-2, half=False),
        dpo=replace(usual.dpo, epochs=0.5, learning_rate=1e-2, half=False),
        chat=Sampling(max_tokens=8),
    )


def trainer(folder: Path, notes: list[Progress], count: int = 60, **changes: Any) -> auto.Trainer:
    return auto.Trainer(
        tiny_policy(),  # type: ignore[arg-type]
        TorchSampler(6),
        Material(material(count), UNTOUCHED, UNTOUCHED),
        folder,
        replace(settings(), **changes),
        progress=notes.append,
    )


def verdicts(monkeypatch: pytest.MonkeyPatch, *answers: bool, lost: bool = True) -> list[Any]:
    """The gate answers as told; what it was shown is kept. `lost`: whether what was refused did harm."""
    shown: list[Any] = []

    def judge(evidence: Any) -> Verdict:
        shown.append(evidence)
        return Verdict(answers[len(shown) - 1], f"verdict {len(shown)}", evidence)

    monkeypatch.setattr(auto, "judge", judge)
    monkeypatch.setattr(auto, "damages", lambda evidence: ["something"] * lost)
    return shown


def test_falls_back_step_by_step_and_keeps_the_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "CLEAR", float("inf"))
    shown = verdicts(monkeypatch, *[False] * 10)
    notes: list[Progress] = []
    own = trainer(tmp_path, notes)
    before = copied(own.policy.model)
    outcome = own.run()
    assert [name for name, _ in outcome.tried] == [
        "rloo",
        *(f"rloo at {share} of its scale" for share in (0.8, 0.6, 0.4, 0.2)),
        "dpo",
        *(f"dpo at {share} of its scale" for share in (0.8, 0.6, 0.4, 0.2)),
    ]
    assert (outcome.method, outcome.verdict.accepted) == ("keep", False)
    assert all(torch.equal(each, before[name]) for name, each in copied(own.policy.model).items())
    assert outcome.reward_accuracy.n == len(own.material.data.held_out.rankings)
    # Every figure of the evidence was there, from held-out data.
    for evidence in shown:
        assert evidence.wins.n > 0 and evidence.judge.n == len(own.material.data.train.rankings)
        # Each ranking once, by a model that had not seen it.
        assert evidence.reward.n == own.material.data.rankings
        assert evidence.preference.n and evidence.perplexity.n == 4 and evidence.tuned and evidence.base
    # Part of the adapter is part of the way back.
    assert len({each.perplexity.value for each in shown[:5]}) == 5
    crossed = [each.stage for each in notes if each.note.startswith("cross-validated")]
    assert crossed == ["check"]  # named apart from the reward model that leads
    # Those models are gone again, the others are not.
    assert set(own.policy.model.peft_config) == {"default", "reward", "judge"}
    said = " ".join(each.note for each in notes)
    assert "reward model" in said and "dpo at 0.2 of its scale: verdict 10" in said


def test_reward_models_that_are_clear_are_not_cross_validated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = verdicts(monkeypatch, True)
    notes: list[Progress] = []
    outcome = trainer(tmp_path, notes).run()
    assert outcome.method == "rloo" and outcome.reward_accuracy.above_chance(CLEAR)
    assert [each.reward for each in shown] == [outcome.reward_accuracy]
    assert not {"check"} & {each.stage for each in notes if each.steps}
    assert not [each for each in notes if each.note.startswith("cross-validated")]


def test_less_of_what_is_no_better_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts(monkeypatch, False, False, lost=False)
    assert [name for name, _ in trainer(tmp_path, []).run().tried] == ["rloo", "dpo"]


def test_what_is_accepted_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts(monkeypatch, False, True)
    own = trainer(tmp_path, [])
    before = copied(own.policy.model)
    outcome = own.run()
    assert (outcome.method, outcome.verdict.accepted) == ("rloo at 0.8 of its scale", True)
    assert any(not torch.equal(each, before[name]) for name, each in copied(own.policy.model).items())
    # Asked again, it goes on from its own checkpoints and ends in the same place.
    verdicts(monkeypatch, False, True)
    again = trainer(tmp_path, [])
    steps = len(run.metrics(tmp_path / "rloo"))
    assert again.run().steps == outcome.steps
    assert len(run.metrics(tmp_path / "rloo")) == steps
    assert all(
        torch.equal(each, copied(own.policy.model)[name]) for name, each in copied(again.policy.model).items()
    )


@pytest.mark.parametrize(("count", "tries"), [(6, ["rloo", "dpo"]), (18, ["dpo"])])
def test_long_replies_are_learned_from_directly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, tries: list[str]
) -> None:
    """Samples may be as long as nearly all that was ranked, or none are drawn."""
    verdicts(monkeypatch, *[False] * 2, lost=False)
    monkeypatch.setattr(auto, "LONGEST", 12)
    groups = [group(f"w{n}") for n in range(60)]
    # Most replies of a group are under 12 tokens.
    longer = [each for each in groups if not data.is_held_out(data.split_key(each.prompt))][:count]
    for each in longer:
        best = replace(each.replies[1], text="the long way round?")
        groups[groups.index(each)] = replace(each, replies=(each.replies[0], best, *each.replies[2:]))
    notes: list[Progress] = []
    own = trainer(tmp_path, notes)
    own.material.data = data.build(groups, ByteEncoder())
    assert [name for name, _ in own.run().tried] == tries
    said = " ".join(each.note for each in notes)
    assert ("more than a tenth of those ranked are over 12 tokens" in said) == (tries == ["dpo"])


@pytest.mark.parametrize("name", ["rloo", "ppo"])
def test_long_replies_may_stray_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A tenth of a nat a token; where replies are short, what the recipe has."""
    recipe, settings = (rloo, rloo.RlooSettings()) if name == "rloo" else (ppo, ppo.PpoSettings())
    begun: list[Any] = []

    def train(*given: Any, **_: Any) -> Any:
        begun.append(given[5])
        return SimpleNamespace(folder=given[4], step=0)

    monkeypatch.setattr(recipe, "train", train)
    own = trainer(tmp_path, [])
    own._on_policy(recipe, settings)
    rows = own.material.data.train.rankings
    own.material.data.train.rankings = [
        replace(row, replies=tuple(reply[:1] * (20 + 20 * n) for n, reply in enumerate(row.replies)))
        for row in rows
    ]
    own._on_policy(recipe, settings)
    assert [each.stop_kl for each in begun] == [settings.stop_kl, pytest.approx(0.1 * 50)]


def test_one_stage_alone(tmp_path: Path) -> None:
    own = trainer(tmp_path, [])
    outcome = own.run("dpo")
    assert (tmp_path / "dpo" / "checkpoint.pt").exists()
    assert not (tmp_path / "rloo").exists()
    assert outcome.steps > 0 and outcome.seconds > 0 and outcome.peak_memory > 0


def test_held_out_prompts_are_answered_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(TorchSampler):
        def rollout(self, prompts: Any, samples: int, sampling: Sampling) -> Any:
            asked.append((len(prompts), samples, sampling.seed))
            return super().rollout(prompts, samples, sampling)

    asked: list[tuple[int, int, int | None]] = []
    notes: list[Progress] = []
    monkeypatch.setattr(examine, "AT_ONCE", 4)
    training = trainer(tmp_path, notes)
    training.sampler = training._examiner._sampler = Counting(3)
    training.judge()
    # Each prompt keeps the seed that it has where all are asked at once.
    assert asked == [(4, 2, 77), (2, 2, 77 + 4 * 2)] * 2
    assert [(each.step, each.steps) for each in notes if each.steps and each.stage == "evaluate"] == [
        (4, 6),
        (6, 6),
    ] * 2


def test_too_little_and_too_large_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="too little"):
        trainer(tmp_path, [], count=2).run()
    with pytest.raises(TrainingError, match="of memory"):
        trainer(tmp_path, [], max_memory=2**20).run()
    assert list(tmp_path.iterdir()) == []


def test_minutes_are_for_all_stages_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts(monkeypatch, True)
    own = trainer(tmp_path, [])
    own.limits = run.Limits(max_minutes=0.0)
    own.run("rloo")
    # A stage looks at the clock after each of its steps.
    found = {file.parent.name: len(run.metrics(file.parent)) for file in tmp_path.glob("*/metrics.jsonl")}
    assert (found.pop("rloo"), found.pop("reward")) == (1, 1)
    # A judge that was stopped early would know nothing.
    assert found.pop("judge") > 1 and not found


def later(folder: Path) -> auto.Trainer:
    """A round that goes on from an adapter."""
    return auto.Trainer(
        changed(load_policy(make(folder / "model.gguf", "llama"))),
        TorchSampler(6),
        Material(material(16), UNTOUCHED, UNTOUCHED),
        folder / "run",
        replace(settings(), evaluate_prompts=2, evaluate_samples=1),
        later_round=True,
    )


def test_what_a_later_round_may_repeat_is_told_by_its_start_and_by_the_base(tmp_path: Path) -> None:
    own = later(tmp_path)
    own.rloo()
    state = torch.load(tmp_path / "run" / "rloo" / "checkpoint.pt", weights_only=True)["state"]
    ((start, base),) = state["references"].values()
    assert start != base


def test_half_of_a_later_round_is_half_way_from_its_start(tmp_path: Path) -> None:
    own = later(tmp_path)
    start = copied(own.policy.model)
    own.dpo()
    end = copied(own.policy.model)
    own._weaken(0.5)
    for name, each in copied(own.policy.model).items():
        assert torch.allclose(each, (start[name] + end[name]) / 2)
    assert any(not torch.equal(start[name], end[name]) for name in start)
    # Wins are over the start of the round; what was lost, over that and over the base.
    evidence = own._examiner.evidence()
    assert evidence.start and evidence.base
    assert evidence.since.n == evidence.perplexity.n == 4
    assert evidence.since.value != evidence.perplexity.value
    assert evidence.against == "the round before" and set(own._examiner._known) == {"base", "start"}
