"""The training screen with the command that the program itself starts, on a tiny random model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from chatapp.tui.app import ChatApp
from chatapp.tui.screens.chat import ChatScreen
from tests.training.rounds_home import house, make_home

pytestmark = pytest.mark.train


async def until(pilot: Pilot[Any], reached: Callable[[], object], seconds: float = 120) -> None:
    async with asyncio.timeout(seconds):
        while not reached():
            await pilot.pause(0.05)


async def test_a_training_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    model = make_home(home, 20)
    monkeypatch.setenv("CHATAPP_HOME", str(home))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with house(home) as made:
        made.settings = replace(made.settings, model=str(model), threads=1)
        app = ChatApp(made)
        async with app.run_test(size=(100, 30)) as pilot:
            await until(pilot, lambda: isinstance(app.screen, ChatScreen) and app.screen.ready)
            await pilot.press("ctrl+t")
            await until(pilot, lambda: app.training.state.phase in ("planned", "failed"))
            assert app.training.state.planned == ["dpo"], app.training.state.problem
            await pilot.press("enter")
            await until(pilot, lambda: any(s.stage == "dpo" and s.step for s in app.training.state.stages))
            await pilot.press("s")
            await until(pilot, lambda: not app.training.state.busy)
            stopped = app.training.state
            assert stopped.phase == "stopped" and stopped.run is not None
            await pilot.press("r")
            await until(pilot, lambda: app.training.state is not stopped and not app.training.state.busy)
            assert (app.training.state.phase, app.training.state.problem) == ("done", "")
            assert (app.training.state.result or {})["run"] == stopped.run
