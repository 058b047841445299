"""Ctrl+T: what a training would do, how far it is, what came of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from chatapp.core.errors import ChatappError
from chatapp.core.paths import embedded_model
from chatapp.core.sanitize import one_line, terminal_safe
from chatapp.session.adapters import keep_the_old, switch
from chatapp.session.verdict import in_words
from chatapp.tui.session_thread import SessionThread
from chatapp.tui.training_process import TrainingProcess
from chatapp.tui.widgets.keybar import KeyBar
from chatapp.tui.widgets.notice import Notice
from chatapp.tui.widgets.status import StatusBar
from chatapp.tui.widgets.training_view import Curves, StageList

if TYPE_CHECKING:
    from chatapp.session.session import Session
    from chatapp.session.wiring import House


_ALL = 10_000
"""Lines; more than the page has."""


class TrainScreen(Screen[None]):
    """Leaving it leaves the training running."""

    AUTO_FOCUS = ""
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-tall")]

    BINDINGS = [
        Binding("enter", "start", "start", key_display="Enter"),
        Binding("a", "use", "use the new one"),
        Binding("k", "keep", "keep the old one"),
        Binding("d", "changes", "what changed"),
        Binding("s", "stop", "stop"),
        Binding("r", "resume", "go on with the stopped one"),
        Binding("n", "again", "plan another"),
        Binding("escape", "leave", "chat", key_display="Esc"),
        Binding("up", "scroll(-1)", "scroll", key_display="↑"),
        Binding("down", "scroll(1)", "scroll", key_display="↓"),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("pagedown", "scroll(10)", show=False),
        Binding("home", f"scroll({-_ALL})", show=False),
        Binding("end", f"scroll({_ALL})", show=False),
    ]

    def __init__(self, house: House, session: SessionThread, training: TrainingProcess) -> None:
        super().__init__()
        self.house = house
        self.session = session
        self.training = training
        self._in_use: str | None = None
        """The adapter that answers in the chat; None is the base."""

    def compose(self) -> ComposeResult:
        yield StatusBar()
        with VerticalScroll(id="page", can_focus=False):
            yield Static(classes="plan")
            yield StageList()
            yield Curves()
            yield Static(classes="outcome")
        yield Notice()
        yield KeyBar()

    async def on_mount(self) -> None:
        self.query_one(StatusBar).title = "Training"
        self.watch(self.query_one("#page"), "virtual_size", self.refresh_bindings, init=False)
        self.show()
        await self.read()
        state = self.training.state
        if not self.training.running and (state.phase in ("idle", "planned") or not state.stages):
            self.action_again()

    def on_resize(self) -> None:
        self.call_after_refresh(self.refresh_bindings)

    def on_screen_resume(self) -> None:
        self.show()

    async def read(self) -> None:
        """Bring the screen to what answers in the chat now."""

        def names(session: Session) -> tuple[str, str | None]:
            return session.spec.name, session.adapter.name if session.adapter else None

        model, self._in_use = await self.session.do(names)
        if self.query(StatusBar):  # not taken down meanwhile
            status = self.query_one(StatusBar)
            status.model, status.adapter = one_line(model, 40), self._in_use or ""
            self.show()

    # What is shown

    def show(self) -> None:
        """Bring the screen to the state of the training."""
        if not self.query(KeyBar):
            return  # not there yet, or taken down
        state = self.training.state
        self.query_one(".plan", Static).update(self._plan())
        self.query_one(StageList).show(state)
        self.query_one(Curves).show(state)
        self.query_one(".outcome", Static).update(self._outcome())
        self.refresh_bindings()

    def _plan(self) -> Content:
        state = self.training.state
        if state.phase in ("idle", "planning"):
            return Content.styled("Reading what there is to learn from ...", "$secondary")
        lines = [terminal_safe(line[:1].upper() + line[1:]) for line in state.plan]
        rest = lines[1:] if state.phase == "planned" else []
        return Content("\n").join([Content(line) for line in lines[:1]] + [_quiet(line) for line in rest])

    def _outcome(self) -> Content:
        state = self.training.state
        match state.phase:
            case "planned" if state.elsewhere:
                return Content(
                    f"Run {one_line(state.elsewhere, 40)} is going on in another window: "
                    "wait for its end, or stop it there."
                )
            case "planned" if not state.planned:
                return Content("Too little to learn from. Rank some replies: ^R in the chat, then ^T again.")
            case "planned":
                lines = ["It goes on while you chat, and can be stopped at any step."]
                if state.run:
                    run = one_line(state.run, 40)
                    if state.run_model:
                        run += f" of {one_line(state.run_model, 40)}"
                    lines.append(f"Run {run} was stopped before its end; r goes on with it.")
                return Content.styled("\n".join(lines), "$secondary")
            case "stopping":
                return Content("Stopping after this step. s again ends it at once.")
            case "stopped":
                return Content("Stopped. " + self._kept())
            case "failed":
                kept = "\n" + self._kept() if state.run and not state.elsewhere else ""
                return Content.assemble((one_line(state.problem, 400), "$error"), kept)
            case "done":
                return self._verdict(state.result or {})
        return Content("")

    def _kept(self) -> str:
        run = self.training.state.run
        if run is None:
            return "It had not begun to learn, so nothing is kept."
        return f"The checkpoint is kept: r goes on with it (or chatapp train --resume {one_line(run, 40)})."

    def _verdict(self, result: Any) -> Content:
        evaluation = result.get("evaluation")
        figures = in_words(evaluation) if isinstance(evaluation, dict) else ""
        reason = one_line(str(result.get("reason", "")), 300)
        new = self._new_adapter
        name = one_line(new, 16) if new else "what was trained"
        if result.get("accepted"):
            against = evaluation.get("against") if isinstance(evaluation, dict) else None
            better = (
                f"{name} is better than {one_line(against, 40) if isinstance(against, str) else 'the base'}: "
            )
            lines = [Content.assemble((better, "bold $accent"), figures or reason)]
        else:
            lines = [Content.assemble((f"{name} did not help: ", "bold"), reason)]
            if figures:
                lines.append(Content.styled(figures, "$secondary"))
        if new is not None:
            now = f"{name} answers in the chat now." if self._in_use == new else self._answers()
            lines.append(Content.styled(now, "$secondary"))
        return Content("\n").join(lines)

    def _answers(self) -> str:
        return f"{one_line(self._in_use, 16) if self._in_use else 'The base'} answers in the chat."

    @property
    def _new_adapter(self) -> str | None:
        name = (self.training.state.result or {}).get("adapter")
        return name if isinstance(name, str) else None

    # What the keys do

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        state = self.training.state
        new = self._new_adapter if state.phase == "done" else None
        match action:
            case "start":
                return state.phase == "planned" and bool(state.planned) and not state.elsewhere
            case "stop":
                return state.busy
            case "resume":
                there = state.run is not None and not state.elsewhere
                return state.phase in ("planned", "stopped", "failed") and there
            case "again":
                return state.phase in ("stopped", "failed", "done") or (
                    state.phase == "planned" and state.elsewhere is not None
                )
            case "use":
                return new is not None and self._in_use != new
            case "keep":
                return new is not None and self._in_use == new
            case "changes":
                return new is not None
            case "scroll":
                return any(page.max_scroll_y > 0 for page in self.query("#page"))
        return True

    def action_start(self) -> None:
        self.app.run_worker(self.training.train(), group="training")

    def action_resume(self) -> None:
        self.app.run_worker(self.training.train(self.training.state.run), group="training")

    @work
    async def action_again(self) -> None:
        options = await self.session.do(_what_answers)
        self.app.run_worker(self.training.plan(*options), group="training")

    def action_scroll(self, lines: int) -> None:
        self.query_one("#page").scroll_relative(y=lines, animate=False)

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_stop(self) -> None:
        self.training.stop()

    async def action_use(self) -> None:
        """Answer with the adapter that was just trained."""
        if (new := self._new_adapter) is not None:
            await self._change(lambda session: switch(self.house, session, new))

    async def action_keep(self) -> None:
        """Answer with what the training started from."""
        if (new := self._new_adapter) is not None:
            await self._change(lambda session: keep_the_old(self.house, session, new))

    async def _change(self, step: Any) -> None:
        try:
            await self.session.do(step)
        except ChatappError as error:
            self.query_one(Notice).say(f"{error}: {error.hint}", error=True)
            return
        await self.read()

    def action_changes(self) -> None:
        from chatapp.tui.screens.changes import ChangesScreen

        if (new := self._new_adapter) is not None:
            self.app.push_screen(ChangesScreen(self.house, self.session, new))


def _quiet(line: str) -> Content:
    return Content.styled(line, "$secondary")


def _what_answers(session: Session) -> tuple[str, ...]:
    """The model and the adapter of the chat, as options of `chatapp train`."""
    model = session.spec.name if session.spec.path == embedded_model() else str(session.spec.path)
    adapter = session.adapter
    if adapter is None:
        return ("--model", model, "--from", "base")
    trained = re.fullmatch("r[0-9]+", adapter.name)
    return ("--model", model, "--from", adapter.name if trained else str(adapter.path))
