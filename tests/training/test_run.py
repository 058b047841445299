"""A run that dies goes on to the same numbers; a run that cannot go on says why."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from chatapp.core.errors import TrainingError
from chatapp.training import progress, run

pytestmark = pytest.mark.train


def loop(folder: Path, parameter: torch.nn.Parameter, **options: object) -> run.Loop:
    fixed: dict[str, Any] = {"steps": 10, "learning_rate": 0.1, **options}
    return run.Loop("toy", folder, [("w", parameter)], **fixed)


def descend(own: run.Loop, parameter: torch.nn.Parameter) -> None:
    for step in own:
        loss = ((parameter - step) ** 2).sum()
        own.backward(loss)
        own.update({"loss": float(loss.detach())})


def test_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    whole, first = (torch.nn.Parameter(torch.zeros(3)) for _ in range(2))
    descend(loop(tmp_path / "a", whole), whole)
    descend(loop(tmp_path / "b", first, limits=run.Limits(max_steps=4)), first)
    assert len(run.metrics(tmp_path / "b")) == 4
    second = torch.nn.Parameter(torch.full((3,), 99.0))
    descend(loop(tmp_path / "b", second), second)
    assert torch.equal(whole, second)
    assert run.metrics(tmp_path / "a") == run.metrics(tmp_path / "b")


def test_a_cut_off_line_is_dropped(tmp_path: Path) -> None:
    first = torch.nn.Parameter(torch.zeros(1))
    descend(loop(tmp_path, first, limits=run.Limits(max_steps=4)), first)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "loss": 1}\n{"step": 6, "lo')
    loop(tmp_path, first)
    assert [each["step"] for each in run.metrics(tmp_path)] == [1, 2, 3, 4]


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_not_a_number_stops_with_the_last_good_state(tmp_path: Path, poison: str) -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    own = loop(tmp_path, parameter, checkpoint_seconds=0.0)
    with pytest.raises(TrainingError, match="not a number at step 4"):
        for step in own:
            loss = (parameter - 1).sum() ** 2
            if step == 3:
                loss = loss * float("nan") if poison == "loss" else loss + (parameter * 0).sum().sqrt()
            own.backward(loss)
            own.update({"loss": 0.0})
    again = loop(tmp_path, parameter)
    assert again.step == 3
    assert torch.isfinite(parameter).all()


def test_a_full_disk_stops_and_keeps_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    own = loop(tmp_path, parameter)
    own.save()
    before = own.checkpoint.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match="is full"):
        own.save()
    assert own.checkpoint.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_really_full_disk(tmp_path: Path) -> None:
    """Through /dev/full: every write to it fails as on a full disk."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    own = loop(tmp_path, parameter)
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match="is full"):
        own.record({"loss": 1.0})


def test_another_kind_of_run_is_refused(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    loop(tmp_path, parameter).save()
    with pytest.raises(TrainingError, match="another kind"):
        run.Loop("sft", tmp_path, [("w", parameter)], steps=1, learning_rate=0.1)


def test_the_time_is_up_and_may_be_had_again(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    own = loop(tmp_path, parameter, limits=run.Limits(max_minutes=0.0))
    descend(own, parameter)
    assert (own.step, own.stopped) == (1, run.TIME_IS_UP)
    again = loop(tmp_path, parameter)
    descend(again, parameter)
    assert (again.step, again.stopped) == (10, None)


def test_a_reason_to_stop_holds(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    own = loop(tmp_path, parameter)
    for _ in own:
        own.update({})
        own.stop("too far away")
    again = loop(tmp_path, parameter)
    assert list(again) == []
    assert again.stopped == "too far away"


def test_each_round_sees_every_row_once() -> None:
    rows = list(range(10))
    first = [row for step in range(3) for row in run.batches(rows, 4, step, seed=1)]
    second = [row for step in range(3, 6) for row in run.batches(rows, 4, step, seed=1)]
    assert sorted(first) == sorted(second) == rows
    assert first != second
    assert run.batches(rows, 4, 2, seed=1) == run.batches(rows, 4, 2, seed=1)


def test_progress_crosses_a_pipe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    descend(loop(tmp_path, parameter, steps=2, progress=progress.json_lines(sys.stderr)), parameter)
    events = [progress.parse(line) for line in capsys.readouterr().err.splitlines()]
    assert [(each.stage, each.step, each.steps) for each in events] == [("toy", 1, 2), ("toy", 2, 2)]
    assert events[1].metrics["loss"] == pytest.approx(run.metrics(tmp_path)[1]["loss"])
    with pytest.raises(ValueError, match="not a progress event"):
        progress.parse(json.dumps({"step": 1}))


def test_killed_twenty_times(tmp_path: Path) -> None:
    """SIGKILL at random moments, in the middle of writing too: it ends as a run that was left alone does."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLS, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
    )
    assert done.stdout.splitlines() == ["ended", *["killed"] * 20, "ended"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run.metrics(killed) == run.metrics(whole)
    a, b = (torch.load(each / "checkpoint.pt")["parameters"] for each in (whole, killed))
    assert all(torch.equal(a[name], b[name]) for name in a)


_KILLS = """
import os, random, signal, sys, time
from pathlib import Path
from typing import Any
import accelerate, peft, transformers
import torch
torch.set_num_threads(1)
from tests.training import sft_child

folder, moments = Path(sys.argv[1]), random.Random(5)

def train(name, wait=None):
    # Forks have the imports already, so that the time goes into training.
    checkpoint = folder / name / "checkpoint.pt"
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    child = os.fork()
    if child == 0:
        sft_child.main(folder / name)
        os._exit(0)
    if wait is not None:
        # Each child gets at least one step further, so that 20 of them do not stand still.
        while not (checkpoint.exists() and checkpoint.stat().st_mtime_ns > before):
            time.sleep(0.002)
            if os.waitpid(child, os.WNOHANG)[0]:
                sys.exit("it ended by itself")
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    print("killed" if os.WIFSIGNALED(status) else "ended", flush=True)

train("whole")
for _ in range(20):
    train("killed", moments.uniform(0.0, 0.02))
train("killed")
"""
