"""The training screen, with a child process that prints what a training does."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from chatapp.core.types import Adapter
from chatapp.engine.base import Request
from chatapp.session.run_folder import RunFolder
from chatapp.tui.screens.changes import ChangesScreen
from chatapp.tui.screens.chat import ChatScreen
from chatapp.tui.screens.quit import QuitScreen
from chatapp.tui.screens.train import TrainScreen
from chatapp.tui.training_state import TrainingState
from chatapp.tui.widgets.status import StatusBar

from .conftest import Chat, Open

FAKE = Path(__file__).with_name("fake_training.py")


def opened(
    open_chat: Open, tmp_path: Path, what: str, **options: object
) -> AbstractAsyncContextManager[Chat]:
    command = (sys.executable, str(FAKE), what, str(tmp_path))
    return open_chat(train_command=command, **options)


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines()


def alive(tmp_path: Path, name: str = "pid") -> bool:
    try:
        os.kill(int((tmp_path / name).read_text()), 0)
    except ProcessLookupError:
        return False
    return True


async def plan(chat: Chat) -> TrainScreen:
    await chat.press("ctrl+t")
    await chat.until(lambda: isinstance(chat.app.screen, TrainScreen))
    await chat.until(lambda: chat.app.training.state.phase in ("planned", "failed"))
    screen = chat.app.screen
    assert isinstance(screen, TrainScreen)
    await shows(chat, "" if chat.app.training.state.phase == "failed" else "There are 38 rankings")
    return screen


async def shows(chat: Chat, text: str) -> None:
    await chat.until(lambda: text in " ".join(chat.shown().split()))


async def started(chat: Chat, step: int = 3) -> None:
    await plan(chat)
    await chat.press("enter")
    await shows(chat, f"{step}/6")


async def trained(chat: Chat, prompt: str) -> None:
    """Ask something, train, and see that r1 is better."""
    register(chat, "r1")
    await chat.send(prompt)
    await plan(chat)
    await chat.press("enter")
    await shows(chat, "r1 is better than the base")


def register(chat: Chat, *names: str) -> None:
    """As a training does at its end: the adapter is known to the store."""
    for at, name in enumerate(names):
        parent = names[at - 1] if at else None
        chat.store.adapters.add(
            Adapter(name, "dpo", "guide", sha256(chat), parent, 1.0, True, "better", "run", "0" * 64)
        )


def sha256(chat: Chat) -> str:
    return chat.engine.info.sha256 if chat.engine.info else ""


async def test_from_the_plan_to_the_verdict_and_back(open_chat: Open, tmp_path: Path) -> None:
    async with opened(open_chat, tmp_path, "good") as chat:
        register(chat, "r1")
        await plan(chat)
        assert "Enter start" in chat.key_line() and "stop" not in chat.key_line()
        assert calls(tmp_path) == ["--model guide --from base --dry-run"]
        chat.store.adapters.choose(sha256(chat), "r1", "train")  # what a training that helped does at its end
        await chat.press("enter")
        await shows(
            chat, "r1 is better than the base: wins 63% [55, 70] on 200 held-out prompts, same length"
        )
        await shows(chat, "perplexity +0.6%")
        await shows(chat, "r1 answers in the chat now")
        assert calls(tmp_path)[-1] == "--model guide --from base"
        assert "✔ preference (DPO)" in chat.shown() and "keep the old one" in chat.key_line()
        await chat.press("escape")
        await chat.until(lambda: isinstance(chat.app.screen, ChatScreen))
        await shows(chat, "adapter r1")
        await chat.send("hello")
        assert chat.engine.adapter is not None and chat.engine.adapter.name == "r1"
        await shows(chat, "▴r1")
        await chat.press("ctrl+t")
        await shows(chat, "r1 answers in the chat now")
        await chat.press("k")
        await shows(chat, "The base answers in the chat")
        assert chat.store.adapters.active(sha256(chat)) is None
        await chat.press("a")
        await shows(chat, "r1 answers in the chat now")
        await chat.press("k", "escape")
        await chat.until(lambda: "adapter r1" not in chat.shown())
        await chat.send("again")
        assert chat.engine.adapter is None


async def test_the_chat_goes_on_while_it_runs(open_chat: Open, tmp_path: Path) -> None:
    async with opened(open_chat, tmp_path, "hang") as chat:
        await started(chat)
        await chat.press("escape")
        await chat.until(lambda: isinstance(chat.app.screen, ChatScreen))
        await shows(chat, "training preference (DPO) 3/6")
        assert "left" not in chat.shown().splitlines()[0]  # that of the stage is not that of the training
        await chat.send("hello")
        assert chat.texts() == ["hello", "alpha one"]
        await chat.press("ctrl+t")
        await shows(chat, "3/6")
        await chat.press("s")
        await shows(chat, "chatapp train --resume 20260102-030405")
        assert chat.app.training.state.phase == "stopped" and not alive(tmp_path)
        await chat.press("r")
        await shows(chat, "r1 is better than the base")
        assert calls(tmp_path)[-1] == "--resume 20260102-030405"


async def test_what_was_done_before_a_stop_stays_done(open_chat: Open, tmp_path: Path) -> None:
    def stages(chat: Chat) -> list[str]:
        lines = [" ".join(line.split()) for line in chat.shown().splitlines()]
        return [each for each in lines if "(SFT)" in each or "(DPO)" in each or "check" in each.split()]

    done = ["✔ edits (SFT)", "✔ preference (DPO)"]
    async with opened(open_chat, tmp_path, "checks") as chat:
        await plan(chat)
        await chat.press("enter")
        await chat.until(lambda: stages(chat) == [*done, "● check compares"])
        await chat.press("s")
        await chat.until(lambda: stages(chat) == [*done, "check compares"])
        await chat.press("r")
        await chat.until(lambda: stages(chat) == [*done, "● check compares"])
        assert calls(tmp_path)[-1] == "--resume 20260102-030405"


async def test_coming_back_while_it_plans_waits_for_that_plan(open_chat: Open, tmp_path: Path) -> None:
    async with opened(open_chat, tmp_path, "thinks") as chat:
        await chat.press("ctrl+t")
        await chat.until(lambda: (tmp_path / "pid").exists())
        await chat.press("escape", "ctrl+t")
        await chat.until(lambda: isinstance(chat.app.screen, TrainScreen))
        await chat.until(lambda: not any(each.group == "default" for each in chat.app.screen.workers))
        (tmp_path / "go").touch()
        await shows(chat, "There are 38 rankings")
        assert len(calls(tmp_path)) == 1 and chat.app.training.state.phase == "planned"


async def test_coming_back_before_the_first_stage_finds_the_training(open_chat: Open, tmp_path: Path) -> None:
    async with opened(open_chat, tmp_path, "early") as chat:
        await plan(chat)
        await chat.press("enter")
        await chat.until(lambda: chat.app.training.state.run)
        await chat.press("escape", "ctrl+t")
        await shows(chat, "s stop")
        await chat.app.training.plan()  # asked for a moment too late
        assert chat.app.training.state.busy and len(calls(tmp_path)) == 2
        await chat.press("s")
        await shows(chat, "Stopped.")
        assert not alive(tmp_path)


async def test_the_verdict_comes_into_the_chat(open_chat: Open, tmp_path: Path) -> None:
    async with opened(open_chat, tmp_path, "worse") as chat:
        await plan(chat)
        await chat.press("enter", "escape")
        await shows(
            chat, "Training did not help (^T shows more): no better than the base: wins 48% (40% to 55%)"
        )
        assert "training" not in chat.shown().splitlines()[0]
        await chat.press("ctrl+t")
        await shows(chat, "r1 did not help: no better than the base")


async def test_leaving_the_program_asks_once_and_stops_it(open_chat: Open, tmp_path: Path) -> None:
    async with opened(open_chat, tmp_path, "hang") as chat:
        await started(chat)
        await chat.press("escape", "ctrl+q")
        await chat.until(lambda: isinstance(chat.app.screen, QuitScreen))
        await chat.press("escape")
        await chat.until(lambda: isinstance(chat.app.screen, ChatScreen))
        assert alive(tmp_path) and chat.app.is_running
        await chat.press("ctrl+q", "enter")
        await chat.until(lambda: not chat.app.is_running)
        assert chat.app.training.state.phase == "stopped" and not alive(tmp_path)


async def test_a_command_of_the_chat_leaves_the_training_for_it(open_chat: Open, tmp_path: Path) -> None:
    async with opened(open_chat, tmp_path, "hang") as chat:
        await chat.send("hello")
        await started(chat)
        await chat.press("ctrl+p")
        await chat.until(lambda: not isinstance(chat.app.screen, TrainScreen))
        await chat.press(*"alter")
        await shows(chat, "more replies beside the last one")
        await chat.press("enter", "enter")
        await chat.until(lambda: chat.screen.ranker is not None and chat.ranker.all_there)
        assert chat.app.screen is chat.screen and alive(tmp_path)
        await chat.press("escape")
        await chat.ranked()


async def test_what_follows_the_last_step_has_no_clock(open_chat: Open, tmp_path: Path) -> None:
    async with opened(open_chat, tmp_path, "slow") as chat:
        await started(chat, 6)
        await shows(chat, "6/6 finishing")
        assert "0:00" not in chat.shown()
        await chat.press("escape")
        await shows(chat, "training preference (DPO) 6/6")


async def test_one_that_is_deaf_is_ended_the_second_time(open_chat: Open, tmp_path: Path) -> None:
    async with opened(open_chat, tmp_path, "deaf") as chat:
        await started(chat)
        await chat.press("s")
        await shows(chat, "s again ends it at once")
        assert alive(tmp_path)
        await chat.press("s")
        await shows(chat, "Stopped.")
        assert not alive(tmp_path)


async def test_one_that_is_killed_says_so_and_leaves_nothing(open_chat: Open, tmp_path: Path) -> None:
    async with opened(open_chat, tmp_path, "orphan") as chat:
        await started(chat)
        await chat.until((tmp_path / "orphan").exists)
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        await shows(chat, "the training was ended from outside (SIGKILL)")
        await shows(chat, "r goes on with it")
        await chat.until(lambda: not alive(tmp_path, "orphan"))


async def test_garbage_is_shown_as_text_or_not_at_all(open_chat: Open, tmp_path: Path) -> None:
    async with opened(open_chat, tmp_path, "garbage") as chat:
        await plan(chat)
        await chat.press("enter")
        await shows(chat, "the training ended with exit code 3")
        screen = chat.app.screen
        await chat.until(lambda: "[link]" in chat.shown())
        assert "\x1b" not in chat.shown() and screen is chat.app.screen


async def test_why_it_cannot_begin_is_one_line(open_chat: Open, tmp_path: Path) -> None:
    async with opened(open_chat, tmp_path, "broken") as chat:
        await plan(chat)
        await shows(chat, "the train extra is missing: pip install 'chatapp[train]'")
        assert "Enter" not in chat.key_line()


async def test_too_little_data(open_chat: Open, tmp_path: Path) -> None:
    async with opened(open_chat, tmp_path, "little") as chat:
        await plan(chat)
        await shows(chat, "Too little to learn from. Rank some replies")
        assert "held-out prompts" not in chat.shown()
        await chat.press("enter")
        assert len(calls(tmp_path)) == 1


async def test_the_demo_trains_nothing(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.press("ctrl+t")
        await shows(chat, "The demo has no model that could be trained")


async def test_leaving_what_changed_leaves_the_reply_that_is_written(open_chat: Open, tmp_path: Path) -> None:
    def script(request: Request, *_: int) -> str:
        return "word " * 150 if request.turns[-1].text == "much" else "little"

    async with opened(open_chat, tmp_path, "good", script=script, pace=0.03) as chat:
        await trained(chat, "hello")
        await chat.press("escape")
        await chat.write("much")
        await chat.press("enter")
        await chat.until(lambda: "word word" in chat.shown())
        await chat.press("ctrl+t", "d")
        await chat.until(lambda: isinstance(chat.app.screen, ChangesScreen))
        await chat.until(lambda: chat.app.screen.query(".sides"))
        await chat.press("escape", "escape")
        await chat.settled()
        assert chat.texts()[-1] == "word " * 150
        await chat.app.session.idle()
        assert len(chat.engine.requests) == 2


async def test_what_changed_shows_both_sides(open_chat: Open, tmp_path: Path) -> None:
    async with opened(open_chat, tmp_path, "good") as chat:
        await trained(chat, "where to eat?")
        await chat.press("d")
        await shows(chat, "where to eat?")
        await chat.until(lambda: "base" in chat.lines() or "bravo two" in chat.shown())
        await chat.until(lambda: chat.shown().count("bravo two") == 2)
        await chat.press("escape")
        await chat.until(lambda: isinstance(chat.app.screen, TrainScreen))
        assert len(chat.store.conversations.messages(1)) == 2


async def test_adapters_are_listed_and_taken_back(open_chat: Open) -> None:
    async with open_chat() as chat:
        await chat.write("/adapters")
        await chat.press("enter")
        await shows(chat, "There is no adapter for this model yet")
        register(chat, "r1", "r2")
        await chat.write("/adapters")
        await chat.press("enter")
        await shows(chat, "r2 dpo · from r1")
        await chat.press("up", "up", "enter")
        await shows(chat, "r2 answers from now on")
        await chat.write("/adapters")
        await chat.press("enter")
        await shows(chat, "● r2")
        await chat.press("b")
        await shows(chat, "r1 answers from now on")
        await chat.screen.run_action("round_before")
        await shows(chat, "The base answers, no adapter")
        await chat.screen.run_action("round_before")
        await shows(chat, "no adapter is in use, so there is no round before")
        assert chat.store.adapters.active(sha256(chat)) is None


async def test_a_run_that_was_stopped_earlier_can_go_on(open_chat: Open, tmp_path: Path) -> None:
    runs = tmp_path / "state" / "runs"
    for name in ("20260101-000000", "20260102-030405"):
        (runs / name).mkdir(parents=True)
        (runs / name / "run.json").write_text("{}")
    async with opened(open_chat, tmp_path, "good") as chat:
        await plan(chat)
        await shows(chat, "Run 20260102-030405 was stopped before its end; r goes on with it.")
        await chat.press("r")
        await shows(chat, "r1 is better than the base")
        assert calls(tmp_path)[-1] == "--resume 20260102-030405"
        (runs / "20260102-030405" / "outcome.json").write_text("{}")
        await chat.press("n")
        await chat.until(lambda: chat.app.training.state.phase == "planned")
        await chat.until(lambda: "was stopped" not in chat.shown() and "Enter start" in chat.key_line())


async def test_a_run_that_was_stopped_is_offered_with_the_name_of_its_model(
    open_chat: Open, tmp_path: Path
) -> None:
    run = tmp_path / "state" / "runs" / "20260102-030405"
    run.mkdir(parents=True)
    (run / "run.json").write_text('{"model": "other [b]model"}')
    async with opened(open_chat, tmp_path, "good") as chat:
        await plan(chat)
        await shows(chat, "Run 20260102-030405 of other [b]model was stopped before its end; r goes on")


async def test_a_run_that_goes_on_elsewhere_is_left_alone(open_chat: Open, tmp_path: Path) -> None:
    run = tmp_path / "state" / "runs" / "20260102-030405"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    async with opened(open_chat, tmp_path, "taken") as chat:
        with RunFolder(run):
            await plan(chat)
            await shows(chat, "Run 20260102-030405 is going on in another window: wait for its end")
            await chat.until(lambda: "n plan another" in chat.key_line())
            assert "stopped" not in chat.shown() and "Enter" not in chat.key_line()
            await chat.press("enter", "r")
            assert len(calls(tmp_path)) == 1
        await chat.press("n")
        await shows(chat, "Run 20260102-030405 was stopped before its end; r goes on with it.")
        with RunFolder(run):  # somebody else was faster
            await chat.press("r")
            await shows(chat, "run 20260102-030405 is going on")
            assert "r goes on" not in chat.shown() and "go on with" not in chat.key_line()


async def test_keys_scroll_where_there_is_more_than_the_screen_shows(open_chat: Open, tmp_path: Path) -> None:
    last = "It goes on while you chat"
    async with opened(open_chat, tmp_path, "checks", size=(80, 9)) as chat:
        await plan(chat)
        await chat.until(lambda: "↑/↓ scroll" in chat.key_line())
        page = chat.app.screen.query_one("#page")
        for down, up in (("end", "home"), ("pagedown", "pageup")):
            assert "There are 38 rankings" in chat.shown() and last not in chat.shown()
            await chat.press(down)
            await shows(chat, last)
            await chat.press(up)
            await shows(chat, "There are 38 rankings")
        await chat.press("down", "down", "up")
        await chat.until(lambda: page.scroll_y == 1)
        await chat.pilot.resize_terminal(80, 24)
        await chat.until(lambda: "scroll" not in chat.key_line() and last in chat.shown())


async def test_nothing_is_cut_off_at_80_columns(open_chat: Open, tmp_path: Path) -> None:
    async with opened(open_chat, tmp_path, "worse", size=(80, 24)) as chat:
        await plan(chat)
        await chat.press("enter")
        await shows(chat, "r1 did not help")
        lines = chat.shown().splitlines()
        at, first = next((at, line) for at, line in enumerate(lines) if "reward model" in line)
        said = first.index("agrees with")
        assert first.endswith("in 16") and lines[at + 1] == " " * said + "held-out rankings"
        await chat.pilot.resize_terminal(110, 24)
        await chat.until(lambda: any("in 16 held-out rankings" in line for line in chat.lines()))
        await chat.pilot.resize_terminal(80, 24)
        await chat.press("n")
        await chat.until(lambda: "Enter start" in chat.key_line())
        await chat.press("enter", "escape")
        await shows(chat, "Training did not help (^T shows more): no better than the base: wins 48%")


async def test_the_header_has_room_for_the_stage_at_80_columns(open_chat: Open, tmp_path: Path) -> None:
    async with opened(open_chat, tmp_path, "hang", size=(80, 24)) as chat:
        await started(chat)
        await chat.press("escape")
        status = chat.screen.query_one(StatusBar)
        status.model, status.adapter = "SmolLM2-1.7B-Instruct-Q4_K_M", "r12"
        await chat.until(lambda: "▴r12 · training preference (DPO) 3/6" in chat.shown().splitlines()[0])


def test_what_was_stopped_before_it_began_promises_no_checkpoint() -> None:
    early, late = TrainingState("stopped"), TrainingState("stopped", run="20260102-030405")
    assert "checkpoint" not in early.ending and "before it had begun" in early.ending
    assert "its checkpoint is kept" in late.ending
