"""Speed is measured in turns, on the embedded model. How fast it is here is nobody's promise."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path

import pytest

from chatapp.core.errors import EngineError, UsageError
from chatapp.core.paths import embedded_model, find_paths
from chatapp.core.settings import Settings
from chatapp.engine.base import ModelInfo
from chatapp.engine.scripted import ScriptedEngine
from chatapp.session.speed import Limits, SpeedTest, Step
from chatapp.session.speed_report import MEASURES, SpeedReport, Spread
from chatapp.session.wiring import House

needs_guide = pytest.mark.skipif(not embedded_model().exists(), reason="the embedded model is not built")


@pytest.fixture
def house(tmp_path: Path) -> House:
    pytest.importorskip("llama_cpp")
    return House(find_paths({"CHATAPP_HOME": str(tmp_path)}), Settings(threads=1))


def children() -> set[str]:
    """Processes of this test that run llama.cpp."""
    import os

    shown = subprocess.run(["ps", "-eo", "ppid=,args="], capture_output=True, text=True, check=True).stdout
    own = [line.split(None, 1) for line in shown.splitlines()]
    return {args for parent, args in own if parent == str(os.getpid()) and "engine" in args}


@needs_guide
def test_two_rounds_take_turns_and_leave_nothing_behind(house: House) -> None:
    steps: list[Step] = []
    before = children()
    with house:
        report = SpeedTest(house, Limits(rounds=2, seconds=600, tokens=8), steps.append).run()
    said = [(each.round, each.what.split(":")[0]) for each in steps]
    turns = [(at, side) for at in (1, 2) for side in ("chatapp", "llama.cpp") for _ in range(4)]
    assert said == [(0, "preparing"), *turns]
    assert all(each.seconds_left <= 600 for each in steps)
    assert (report.rounds, report.reply_tokens, report.lanes, report.threads) == (2, 8, 4, (1, 1))
    assert 500 < report.prompt_tokens <= 512
    for side in (report.app, report.plain):
        assert set(side) == set(MEASURES)
        assert all(len(each) == 2 and min(each) > 0 and math.isfinite(max(each)) for each in side.values())
    shown = report.to_json()
    for name, unit in MEASURES.items():
        found = shown["measures"][name]
        pairs = zip(found["app"]["values"], found["llama_cpp"]["values"], strict=True)
        assert found["unit"] == unit
        assert found["ratio"]["values"] == [app / plain for app, plain in pairs]
    assert children() <= before


@needs_guide
def test_without_time_one_round_of_short_replies_is_measured(house: House) -> None:
    with house:
        report = SpeedTest(house, Limits(seconds=0)).run()
        with pytest.raises(UsageError, match="4 replies of 100000 tokens do not fit"):
            SpeedTest(house, Limits(tokens=100_000)).run()
    assert (report.rounds, report.reply_tokens) == (1, 8)
    assert 20 < report.prompt_tokens <= 32


def test_a_scripted_engine_has_no_speed(tmp_path: Path) -> None:
    paths = find_paths({"CHATAPP_HOME": str(tmp_path)})
    with House(paths, Settings(), ScriptedEngine()) as house, pytest.raises(EngineError, match="scripted"):
        SpeedTest(house, Limits()).run()


def test_medians_quartiles_and_ratios_of_the_same_round() -> None:
    assert Spread.of([3.0]) == Spread(3.0, 3.0, 3.0)
    assert Spread.of([5.0, 1.0, 4.0, 2.0, 3.0]) == Spread(3.0, 2.0, 4.0)
    info = ModelInfo("guide", Path("g.gguf"), "", "llama", "llama 1M", 1, 1, 512, 512, 512, "")
    app = {name: [1.0, 20.0, 300.0] for name in MEASURES}
    plain = {name: [2.0, 10.0, 100.0] for name in MEASURES}
    report = SpeedReport(info, None, (1, 1), 512, 128, 4, 0.0, 9.0, app, plain)
    assert report.ratio("prompt") == Spread(2.0, 1.25, 2.5)
    assert not report.busy
