"""Rounds of training on a tiny random model: registered, chosen, refused, stopped and gone on with."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from chatapp.core.errors import ModelError, TrainingError
from chatapp.engine.gguf import read_header
from chatapp.engine.tuning import TuningClient
from chatapp.session import rounds
from chatapp.session.rounds import Round
from chatapp.session.wiring import House
from chatapp.training import auto, parity
from chatapp.training.gate import Verdict
from chatapp.training.progress import Progress
from chatapp.training.run import Interrupted, Limits, metrics
from tests.training.architectures import SHAPES, make, make_shape
from tests.training.rounds_home import groups, house, make_home, mix_file

pytestmark = pytest.mark.train
ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def verdicts(monkeypatch: pytest.MonkeyPatch, *answers: bool) -> None:
    """The gate answers as told."""
    left = list(answers)

    def judge(evidence: Any) -> Verdict:
        return Verdict(left.pop(0), f"{len(left)} verdicts to come", evidence)

    monkeypatch.setattr(auto, "judge", judge)


def one_round(home: Path, model: Path, method: Any = "dpo", **given: Any) -> Any:
    with house(home) as made, Round(made, method, model=str(model), mix=mix_file(home), **given) as training:
        return training.run(given.pop("progress", lambda _: None))


def test_two_rounds_one_used_one_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_home(home, 12)
    verdicts(monkeypatch, True, False)
    first = one_round(home, model)
    assert (first.adapter, first.method, first.accepted, first.parent) == ("r1", "dpo", True, None)
    assert first.steps > 0 and first.metrics["dpo"]["loss"] > 0 and first.evaluation["wins"]["n"] > 0
    assert json.loads(json.dumps(first.to_json(), allow_nan=False))["accepted"] is True
    with house(home) as made:
        adapters = made.store().adapters
        r1 = adapters.get("r1")
        assert adapters.active(r1.model_sha256) == r1
        spec = made.adapter("active", made.spec(str(model)))
        assert spec is not None and spec.name == "r1"
        header = read_header(spec.path)
        assert header.metadata["chatapp.base.sha256"] == r1.model_sha256
        assert header.metadata["chatapp.data.sha256"] == r1.data_sha256
        assert json.loads(header.metadata["chatapp.settings"]) == r1.settings
        assert json.loads(header.metadata["chatapp.evaluation"]) == r1.evaluation
        run = made.paths.runs / r1.run
        assert (run.stat().st_mode & 0o777, spec.path.stat().st_mode & 0o777) == (0o700, 0o600)
        made.store().groups.add(groups(4, 100, "r1"), "Ranked again", "chat")

    second = one_round(home, model)
    assert (second.adapter, second.accepted, second.parent) == ("r2", False, "r1")
    assert second.evaluation["against"] == "r1"
    with house(home) as made:
        r2 = made.store().adapters.get("r2")
        assert (r2.parent, r2.accepted) == ("r1", False)
        active = made.store().adapters.active(r2.model_sha256)
        assert active is not None and active.name == "r1"
        asked = json.loads((made.paths.runs / r2.run / "run.json").read_text())
        assert asked["lineage"] == ["r1"] and asked["start"]["name"] == "r1"
        # What ended says the same again, and registers nothing more.
        with Round(made, resume=r2.run) as again:
            assert again.run().to_json() == second.to_json()
        assert len(made.store().adapters.list()) == 2
        stages = made.paths.runs / r2.run / "stages"
        assert list(stages.glob("*/metrics.jsonl")) and not list(stages.glob("*/checkpoint.pt"))


def test_long_replies_are_judged_at_their_length(home: Path) -> None:
    model = make_home(home, 0)
    (home / "config" / "config.toml").write_text("[sampling]\nmax_tokens = 130\n")
    longer = [
        replace(each, replies=tuple(replace(own, text=f"{own.text} {'tea ' * 40}") for own in each.replies))
        for each in groups(40)
    ]
    stop = Event()
    stop.set()
    with house(home) as made:
        made.store().groups.add(longer, "Ranked", "chat")
        with (
            pytest.raises(Interrupted),
            Round(made, model=str(model), mix=mix_file(home), limits=Limits(stop=stop)) as training,
        ):
            training.run()
        asked = json.loads(next(made.paths.runs.glob("*/run.json")).read_text())["settings"]
    assert asked["chat"]["max_tokens"] == 130 and asked["evaluate_samples"] == 3


def test_the_best_of_what_was_refused_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_home(home, 20)
    verdicts(monkeypatch, *[False] * 5)
    monkeypatch.setattr(auto, "damages", lambda evidence: ["something"])
    result = one_round(home, model, "auto")
    tried = ["dpo", *(f"dpo at {share} of its scale" for share in (0.8, 0.6, 0.4, 0.2))]
    assert [name for name, _ in result.tried] == tried
    assert result.adapter == "r1" and not result.accepted
    assert result.method in tried
    with house(home) as made:
        assert made.store().adapters.active(made.store().adapters.get("r1").model_sha256) is None


def test_parity_out_of_bounds_registers_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_home(home, 12)
    verdicts(monkeypatch, True)
    monkeypatch.setattr(parity, "bounds_for", lambda _: parity.Bounds(0.0, 1.0, 1.0, 0.0))
    with pytest.raises(TrainingError, match=r"not registered; the engine disagrees .* differ by"):
        one_round(home, model, limits=Limits(max_steps=1))
    with house(home) as made:
        assert made.store().adapters.list() == []
        [ended] = made.paths.runs.glob("*/outcome.json")
        assert json.loads(ended.read_text())["accepted"] is False


@pytest.mark.parametrize(("count", "threads", "engines"), [(1, 1, 1), (3, 1, 3), (3, 2, 1), (64, 1, 4)])
def test_a_model_that_leaves_cores_idle_is_sampled_on_them(
    home: Path, monkeypatch: pytest.MonkeyPatch, count: int, threads: int, engines: int
) -> None:
    model = make_home(home, 12)
    settings = home / "config" / "config.toml"
    settings.write_text(f"threads = {threads}\n{settings.read_text()}")
    monkeypatch.setattr(rounds, "cores", lambda: count)
    begun: list[TuningClient] = []
    another = House.another_engine
    monkeypatch.setattr(House, "another_engine", lambda own: begun.append(another(own)) or begun[-1])
    one_round(home, model, limits=Limits(max_steps=1))
    assert len(begun) == engines
    assert [each.pid for each in begun] == [None] * engines, "they end with the round"


def test_the_caches_of_all_engines_are_said_before(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_home(home, 12)
    make_shape(model, replace(SHAPES["llama"], kv_heads=4), context=4096)

    def said(cores: int) -> float:
        monkeypatch.setattr(rounds, "cores", lambda: cores)
        with house(home) as made, Round(made, "dpo", model=str(model), mix=mix_file(home)) as training:
            text = "\n".join(training.plan().lines)
        found = re.search(r"needs about ([0-9.]+) GiB", text)
        assert found is not None
        return float(found[1])

    # Of each engine: 2 layers of 4 heads of 64 in 16 bits, for 32 lanes of 4096 tokens and a chat's 8192.
    assert said(4) - said(1) == pytest.approx(3 * 0.27, abs=0.11)


def test_it_can_be_stopped_before_there_is_a_run(home: Path) -> None:
    model, stop, heard = make_home(home, 12), Event(), list[Progress]()

    def listen(event: Progress) -> None:
        heard.append(event)
        if event.stage == "mix":
            stop.set()

    with house(home) as made, Round(made, "dpo", model=str(model), limits=Limits(stop=stop)) as training:
        with pytest.raises(Interrupted):
            training.run(listen)
        assert training.run_name is None and not list(made.paths.runs.glob("*"))
    assert heard[-1].stage == "mix" and heard[-1].step < heard[-1].steps


def test_a_reward_model_alone_changes_nothing_in_the_chat(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_home(home, 12)
    monkeypatch.setattr(rounds, "cores", lambda: 3)
    begun: list[TuningClient] = []
    another = House.another_engine
    monkeypatch.setattr(House, "another_engine", lambda own: begun.append(another(own)) or begun[-1])
    result = one_round(home, model, "reward")
    assert len(begun) == 1, "nothing is sampled"
    assert (result.adapter, result.method) == (None, "reward")
    assert "held-out rankings" in result.reason and result.reward_accuracy["n"] > 0
    with house(home) as made:
        assert made.store().adapters.list() == []
        assert (made.paths.runs / result.run / "reward.gguf").exists()


def test_what_cannot_be_trained_is_refused_before_any_work(home: Path, tmp_path: Path) -> None:
    model = make_home(home, 3)
    with pytest.raises(TrainingError, match="nothing to learn from yet: 3 rankings"):
        one_round(home, model, "auto")
    with pytest.raises(TrainingError, match="nothing to imitate yet"):
        one_round(home, model, "sft")
    with pytest.raises(TrainingError, match="of memory"):
        one_round(home, model, max_memory=2**20)
    foreign = tmp_path / "falcon.gguf"
    foreign.write_bytes(model.read_bytes().replace(b"llama", b"falco"))
    with pytest.raises(ModelError, match=r"falcon\.gguf cannot be"):
        one_round(home, foreign)
    assert not list(house(home).paths.runs.glob("*"))


def test_stopped_and_gone_on_with(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at a random place, or asked to stop: the same figures as in one go, with the data of its
    beginning."""
    model = make_home(home, 24)
    limits = {"max_steps": 4}
    whole = one_round(home, model, limits=Limits(**limits))

    killed = child(home, model, kill_at=2, how=signal.SIGKILL)
    stop = Event()

    def stop_early(event: Progress) -> None:
        if event.stage == "dpo" and event.step == 3:
            stop.set()

    with house(home) as made:
        made.store().groups.add(groups(6, 200), "Later", "chat")
        with Round(made, resume=killed, limits=Limits(**limits, stop=stop)) as training:  # type: ignore[arg-type]
            with pytest.raises(Interrupted):
                training.run(stop_early)
            assert training.run_name == killed
        with Round(made, resume="last", limits=Limits(**limits)) as training:  # type: ignore[arg-type]
            result = training.run()
        assert result.run == killed
        one, other = (metrics(made.paths.runs / name / "stages" / "dpo") for name in (whole.run, killed))
        assert [each["step"] for each in other] == [1, 2, 3, 4]
        for ours, theirs in zip(one, other, strict=True):
            assert ours == pytest.approx(theirs, abs=1e-6)
        assert result.evaluation == whole.evaluation
        weights = [tensors(made.paths.runs / name / "adapter.gguf") for name in (whole.run, killed)]
        assert weights[0] == weights[1]

        # Another file under the model's name is not what the run began with.
        (made.paths.runs / killed / "outcome.json").unlink()
        make(model, "llama", seed=5)
        with Round(made, resume=killed) as training, pytest.raises(TrainingError, match="file has changed"):
            training.run()


def test_float32_is_taken_where_bfloat16_is_no_faster(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    model, heard, used = make_home(home, 12), list[Progress](), list[bool]()
    autocast = torch.autocast

    def watched(device: str, *, enabled: bool, **options: Any) -> Any:
        used.append(enabled)
        return autocast(device, enabled=enabled, **options)

    monkeypatch.setattr(torch, "autocast", watched)
    monkeypatch.setattr(rounds, "half_precision_pays", lambda: False)
    planned, plan = list[Any](), rounds.plan
    monkeypatch.setattr(rounds, "plan", lambda *given: planned.append(plan(*given)) or planned[-1])
    stop = Event()

    def stop_early(event: Progress) -> None:
        heard.append(event)
        if event.stage == "dpo" and event.step == 1:
            stop.set()

    with house(home) as made:
        with (
            Round(made, "dpo", model=str(model), mix=mix_file(home), limits=Limits(2, stop=stop)) as training,
            pytest.raises(Interrupted),
        ):
            training.run(stop_early)
        said = [each.note for each in heard if each.stage == "plan"]
        assert any("computes in float32" in each for each in said)
        assert len(planned) == 1
        # It goes on as it began, whatever the machine says now.
        monkeypatch.setattr(rounds, "half_precision_pays", lambda: True)
        with Round(made, resume="last", limits=Limits(2)) as training:
            assert any("computes in float32" in each for each in training.plan().lines)
            result = training.run()
        stored = made.store().adapters.get(result.adapter).settings
    assert not any(stored[stage]["half"] for stage in ("sft", "reward", "dpo", "rloo", "ppo"))
    assert used and not any(used)


def test_ctrl_c_keeps_the_checkpoint_and_says_how_to_go_on(home: Path) -> None:
    model = make_home(home, 12)
    run = child(home, model, kill_at=1, how=signal.SIGINT)
    with house(home) as made:
        assert (made.paths.runs / run / "stages" / "dpo" / "checkpoint.pt").exists()
        assert not (made.paths.runs / run / "outcome.json").exists()


def test_a_full_disk_is_one_line_that_says_how_to_go_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_home(home, 12)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("chatapp.training.sampler.write_adapter", full)
    with pytest.raises(TrainingError, match="the disk is full; the last checkpoint is kept") as caught:
        one_round(home, model, limits=Limits(max_steps=1))
    [run] = house(home).paths.runs.glob("*")
    assert caught.value.hint == f"free some space, then go on with: chatapp train --resume {run.name}"
    assert (run / "stages" / "dpo" / "checkpoint.pt").exists()


def child(home: Path, model: Path, *, kill_at: int, how: signal.Signals) -> str:
    """`chatapp train dpo`, sent `how` once it has done this step; the name of its run."""
    command = [sys.executable, "-m", "chatapp", "train", "dpo", "--json", "--max-steps", "4"]
    process = subprocess.Popen(
        [*command, "--model", str(model), "--mix", str(mix_file(home))],
        cwd=ROOT,
        env={**os.environ, "CHATAPP_HOME": str(home), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("{"):
            event = json.loads(line)
            if event["stage"] == "dpo" and event["step"] == kill_at:
                process.send_signal(how)
    printed = process.stdout.read()
    code = process.wait()
    [begun] = [json.loads(line)["note"] for line in said if '"begin"' in line]
    run = str(begun.removeprefix("run "))
    if how == signal.SIGINT:
        assert (code, printed) == (130, "")
        assert said[-1] == f"stopped; the checkpoint is kept. Go on with: chatapp train --resume {run}\n"
    else:
        assert code == -how
    return run


def tensors(adapter: Path) -> dict[str, bytes]:
    from chatapp.training.weights import read_tensors

    read: Callable[..., Any] = read_tensors
    return {tensor.name: values.tobytes() for tensor, values in read(read_header(adapter))}
