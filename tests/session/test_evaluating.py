"""Two sides beside each other, on the embedded model with a random adapter: a damaged model shows as one."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chatapp.core.errors import FormatError, TrainingError, UsageError
from chatapp.core.paths import find_paths
from chatapp.core.settings import Settings
from chatapp.core.types import Group, GroupReply, Sampling, Turn
from chatapp.engine.tuning import TuningClient
from chatapp.preferences.formats import rankings
from chatapp.preferences.formats.load import load
from chatapp.session import evaluating
from chatapp.session.evaluating import Evaluation
from chatapp.session.learned_from import Fresh, unlearned
from chatapp.session.run_folder import RoundInput, RunFolder
from chatapp.session.wiring import House
from chatapp.training import evaluate
from chatapp.training.base import AT_ONCE
from chatapp.training.data import digest, is_held_out, split_key
from chatapp.training.progress import Progress
from chatapp.training.settings import Settings as TrainingSettings
from tests.session.guide_adapters import register


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    paths = find_paths({"CHATAPP_HOME": str(tmp_path_factory.mktemp("home"))})
    with House(paths, Settings(sampling=Sampling(max_tokens=6))) as made:
        register(made, "r1")
        yield made


def file_of(folder: Path) -> Path:
    """Sense above nonsense: the base finds it more probable, and so does nearly every model."""
    replies = (GroupReply("Hello! What would you like to talk about?"), GroupReply("zq xx 0 vv."))
    groups = [Group((Turn("user", f"Hello, it is {n}."),), replies, ((0,), (1,))) for n in range(12)]
    file = folder / "sense.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rankings.rows(groups)))
    return file


def test_preferences_of_a_file(house: House, tmp_path: Path) -> None:
    with Evaluation(house, adapter="r1", files=[file_of(tmp_path)]) as evaluation:
        report = evaluation.run("preferences")
    assert (report.n, report.adapter, report.against) == (12, "r1", "base")
    accuracy = report.figures["pair_accuracy"]
    assert accuracy["against"].value == 1.0 and accuracy["against"].n == 12
    assert accuracy["difference"].value == accuracy["adapter"].value - 1.0
    # Twelve that all came out right are not certainty.
    assert accuracy["against"].low < 0.8
    assert all(
        each.low < each.high for each in (*accuracy.values(), *report.figures["change_accuracy"].values())
    )
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["suite"] == "preferences"


def test_what_was_trained_on_is_left_out_of_a_file(house: House, tmp_path: Path) -> None:
    """r3 was trained on top of r2, and r2 on a part of the file; a part of that part was held out."""
    file = file_of(tmp_path)
    groups = load(file).groups
    ranked_before, later = groups[:8], groups[8:]
    trained = [each for each in ranked_before if not is_held_out(split_key(each.prompt))]
    assert 0 < len(trained) < 8
    run = RunFolder.new(house.paths.runs)
    run.write_input(RoundInput(ranked_before, [], [], []))
    register(house, "r2", run=run.name)
    register(house, "r3", parent="r2", run=run.name)
    with Evaluation(house, adapter="r3", files=[file]) as evaluation:
        report = evaluation.run("preferences")
    assert report.n == 12 - len(trained)
    assert report.notes == (f"left out {len(trained)} judgements of 12: they were trained on",)
    # Where the run is gone, the digest knows the whole of what it was, and of nothing else.
    shutil.rmtree(run.path)
    register(house, "r4", data_sha256=digest(groups))
    adapters, runs = house.store().adapters, house.paths.runs
    held_out = [each for each in groups if is_held_out(split_key(each.prompt))]
    assert unlearned(groups, ["r4"], adapters, runs) == Fresh(held_out, ())
    assert unlearned(later, ["r4", "r3", "mine/lora.gguf"], adapters, runs) == Fresh(
        later, ("mine/lora.gguf", "r2", "r3", "r4")
    )
    file.write_text("".join(json.dumps(row) + "\n" for row in rankings.rows(trained)))
    register(house, "r5", data_sha256=digest(trained))
    with (
        Evaluation(house, adapter="r5", files=[file]) as evaluation,
        pytest.raises(TrainingError, match="they were trained on"),
    ):
        evaluation.run("preferences")


def test_what_was_forgotten_and_how_it_writes(house: House) -> None:
    heard: list[Progress] = []
    with Evaluation(house, adapter="r1", progress=heard.append) as evaluation:
        perplexity = evaluation.run("perplexity").figures["perplexity"]
        assert perplexity["ratio"].low > 1.5
        assert perplexity["adapter"].value / perplexity["against"].value == pytest.approx(
            perplexity["ratio"].value
        )
        behaviours, asked = evaluation.run("behaviours"), TrainingSettings().evaluate_prompts
        assert behaviours.n == asked
        for name in ("words", "distinct", "duplicates", "short", "unfinished", "asks"):
            for side in ("adapter", "against"):
                figure = behaviours.figures[name][side]
                assert figure.low <= figure.value <= figure.high and figure.n == asked
                assert figure.low < figure.high
        # Of both draws it is said how far they are.
        steps = [(each.step, each.steps) for each in heard]
        assert steps == [(done, asked) for _ in range(2) for done in range(AT_ONCE, asked + 1, AT_ONCE)]
        with pytest.raises(TrainingError, match="no held-out ranking"):
            evaluation.run("preferences")


def test_replies_are_drawn_as_long_as_what_was_ranked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = find_paths({"CHATAPP_HOME": str(tmp_path)})
    with House(paths, Settings(sampling=Sampling(max_tokens=400))) as house:
        register(house, "r1")
        long = " ".join(["It depends on the tea, and on the cup."] * 20)
        replies = (GroupReply(long), GroupReply(long + " Or so."))
        groups = [Group((Turn("user", f"Tea or {n}?"),), replies, ((0,), (1,))) for n in range(12)]
        house.store().groups.add(groups, "Ranked", "chat")
        asked: list[tuple[int, int, int]] = []

        def rollout(own: TuningClient, prompts: Any, samples: int, sampling: Sampling) -> Any:
            asked.append((len(prompts), samples, sampling.max_tokens))
            return drawn(own, prompts, samples, replace(sampling, max_tokens=6))

        drawn = TuningClient.rollout
        monkeypatch.setattr(TuningClient, "rollout", rollout)
        settled, examined = list[TrainingSettings](), evaluating.examined
        monkeypatch.setattr(
            evaluating, "examined", lambda *given: settled.append(examined(*given)) or settled[-1]
        )
        with Evaluation(house, adapter="r1") as evaluation:
            count = evaluation.run("behaviours").n
    assert len(settled) == 1
    assert sum(prompts for prompts, _, _ in asked) == 2 * count <= 2 * 128
    [(samples, longest)] = {(samples, longest) for _, samples, longest in asked}
    assert 200 < longest <= 400 and samples == 2


def test_two_different_sides_are_needed(house: House) -> None:
    with pytest.raises(UsageError, match="the base is in use") as error:
        Evaluation(house)
    newest = house.store().adapters.list()[-1].name
    assert error.value.hint == f"name one: --adapter {newest}"
    for each in house.store().adapters.list():
        house.store().adapters.delete(each.name)
    with pytest.raises(UsageError, match="the base is in use") as error:
        Evaluation(house)
    assert error.value.hint == "train first: `chatapp train`"
    house.store().adapters.restore("r1")
    with pytest.raises(UsageError, match="two different"):
        Evaluation(house, adapter="r1", against="r1")
    with pytest.raises(UsageError, match="measured against") as error:
        Evaluation(house, adapter="base", against="r1")
    assert error.value.hint == "--adapter r1 --against base"
    with pytest.raises(UsageError, match="measured against") as error:
        Evaluation(house, adapter="base")
    assert error.value.hint == "--adapter NAME --against base"
    with pytest.raises(FormatError, match="cannot read"):
        Evaluation(house, files=[Path("nowhere.jsonl")])


def test_figures_by_hand() -> None:
    good = [True, True, False, False]
    assert evaluate.auc([3.0, 1.0, 1.0, 0.0], good) == 3.5 / 4
    assert math.isnan(evaluate.auc([1.0], [True]))
    assert evaluate.balanced_accuracy([1.0, -1.0, -1.0, 2.0], good) == 0.5
    # Of a mean the jackknife's error is the textbook one.
    figure = evaluate.jackknife([1.0, 2.0, 3.0, 6.0], lambda own: {"mean": evaluate.mean(own)})["mean"]
    error = math.sqrt(sum((each - 3) ** 2 for each in (1, 2, 3, 6)) / 3 / 4)
    assert (figure.value, figure.high - figure.low) == (3.0, pytest.approx(2 * 1.96 * error))
