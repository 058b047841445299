"""A training as a child process: planned, started, stopped, gone on with; no widget.

The child is `chatapp train --json` in a process group of its own, so it neither shares the chat's memory
nor its Ctrl+C. Its standard error is read line by line, its standard output is one object at the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatapp.core.errors import TrainingError
from chatapp.core.sanitize import one_line
from chatapp.training.progress import parse
from chatapp.tui.training_state import TrainingState, checked, plan_of

if TYPE_CHECKING:
    from chatapp.session.run_folder import RunFolder

_LINE = 1 << 20
"""Bytes of one line at most; a longer one is garbage."""
_LAST_LINES = 20
_LOOK = 0.2
"""Seconds between two looks at whether the child is still there."""
_GRACE = 20.0
"""Seconds that a training has to write its checkpoint when the program ends."""


class TrainingProcess:
    """Used from the event loop's thread. `command` takes `--dry-run` and `--resume RUN` at its end; `runs` is
    the folder with one folder a run. `changed` is called after each change of `state`, `ended` after a
    training."""

    def __init__(
        self, command: Sequence[str], runs: Path, changed: Callable[[], None], ended: Callable[[], object]
    ) -> None:
        self.command = tuple(command)
        self.state = TrainingState()
        self._runs = runs
        self._changed, self._after = changed, ended
        self._options: tuple[str, ...] = ()
        self._process: Process | None = None
        self._said: deque[str] = deque(maxlen=_LAST_LINES)
        self._ended = asyncio.Event()
        self._ended.set()

    @property
    def running(self) -> bool:
        """Whether a child is there, which plans or trains. There is never a second one."""
        return not self._ended.is_set()

    async def plan(self, *options: str) -> None:
        """Ask what there is and what would be done; the state is `planned` or `failed` afterwards.

        `options` are those of the command; `train` takes the same. While a child runs, nothing is done.
        """
        if self.running:
            return
        self._options = options
        self.state = TrainingState("planning")
        self._changed()
        result, code = await self._child(*options, "--dry-run")
        state = self.state
        if result is None or code:
            self._fail(code)
        else:
            lines, state.planned = plan_of(result)
            state.plan = lines or state.plan
            (state.run, state.run_model), state.elsewhere = self._unfinished(), self._elsewhere()
            state.phase = "planned"
        self._changed()

    async def train(self, resume: str | None = None) -> None:
        """Train to the end, or until `stop`; `resume` is a run to go on with. The state is `done`, `stopped`
        or `failed` afterwards. While a child runs, nothing is done."""
        if self.running:
            return
        old = self.state
        self.state = state = TrainingState("running", old.plan, old.planned)
        self._changed()
        result, code = await self._child(*(("--resume", resume) if resume else self._options))
        stopped = state.phase == "stopping" or code == 130
        if state.run is None:  # it did not begin to work
            state.run, state.elsewhere = resume, self._elsewhere()
        if result is not None and code == 0:
            state.result, state.phase = result, "done"
        elif stopped:
            state.phase = "stopped"
        else:
            self._fail(code)
        self._changed()
        self._after()

    def stop(self) -> None:
        """Let it end after this step, its checkpoint kept; the second time it is ended at once."""
        if self._process is None:
            return
        if self.state.phase == "stopping":
            self._end(signal.SIGKILL)
            return
        if self.state.phase == "running":
            self.state.phase = "stopping"
            self._changed()
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)

    async def close(self, grace: float = _GRACE) -> None:
        """Stop what runs and wait for it, at most `grace` seconds; idempotent."""
        if self._process is None:
            return
        if self.state.phase != "stopping":
            self.stop()
        try:
            async with asyncio.timeout(grace):
                await self._ended.wait()
        except TimeoutError:
            self._end(signal.SIGKILL)
            await self._ended.wait()

    # The child

    async def _child(self, *more: str) -> tuple[Mapping[str, Any] | None, int]:
        """Run the command to its end: (the object that it printed, its exit code)."""
        self._said.clear()
        self._ended.clear()
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *self.command,
                *more,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=PIPE,
                limit=_LINE,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
            assert process.stdout is not None and process.stderr is not None
            reading = asyncio.gather(process.stdout.read(), self._listen(process.stderr))
            # `wait` comes back when the pipes are closed, which a grandchild that is left over never does.
            while not reading.done() and process.returncode is None:
                await asyncio.wait({reading}, timeout=_LOOK)
            if not reading.done():
                self._end(signal.SIGKILL)
            printed, _ = await reading
            return _object(printed), await process.wait()
        except OSError as error:
            self._said.append(f"error: the training cannot be started: {error.strerror}")
            return None, 1
        finally:
            self._end(signal.SIGKILL)  # nothing that it started outlives it
            self._process = None
            self._ended.set()

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                raw = await stream.readline()
            except ValueError:
                continue  # longer than any event; what was read of it is dropped
            if not raw:
                return
            line = raw.decode("utf-8", "replace").strip()
            try:
                self.state.follow(checked(parse(line)))
            except (ValueError, RecursionError):
                if line:
                    self._said.append(line)
            else:
                self._changed()

    def _end(self, how: signal.Signals) -> None:
        """Signal the child and all that it started."""
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, how)

    # How it ended

    def _fail(self, code: int) -> None:
        errors = [each.removeprefix("error: ") for each in self._said if each.startswith("error: ")]
        hints = [each.removeprefix("hint: ") for each in self._said if each.startswith("hint: ")]
        if errors:
            problem = ": ".join((errors[-1], *hints[-1:]))
        elif code < 0:
            problem = f"the training was ended from outside ({_name(-code)})"
        elif code:
            problem = f"the training ended with exit code {code}"
            problem += f": {self._said[-1]}" if self._said else ""
        else:
            problem = "the training ended without a result"
        self.state.problem = one_line(problem, 400)
        self.state.phase = "failed"

    # Runs

    def _unfinished(self) -> tuple[str | None, str]:
        """The newest run when it did not come to its end, and its model where that can be read."""
        newest = next(reversed(self._begun()), None)
        if newest is None or newest.outcome_file.exists():
            return None, ""
        with suppress(TrainingError):
            return newest.name, str(newest.request().get("model", ""))
        return newest.name, ""

    def _elsewhere(self) -> str | None:
        """The newest run that goes on while none of this process does."""
        return next((each.name for each in reversed(self._begun()) if each.going_on), None)

    def _begun(self) -> list[RunFolder]:
        from chatapp.session.run_folder import RunFolder

        return RunFolder.begun(self._runs)


def _object(printed: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(printed)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
