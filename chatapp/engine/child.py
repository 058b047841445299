"""The engine's child process as its parent sees it: start, talk, notice its death, end it."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import chatapp
from chatapp.core.errors import EngineDied, EngineError
from chatapp.engine import messages

_START = """import sys
from importlib import import_module
sys.path.append(sys.argv.pop(1))
import_module(sys.argv.pop(1)).main()
"""
_HELLO_SECONDS = 60.0
_END_SECONDS = 3.0
_POLL_SECONDS = 0.5
_ASLEEP_SECONDS = 2.0
_LOG_LIMIT = 5 * 2**20
_NO_LIBRARY = 3
WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}
"""What OpenMP reads when it is loaded: an idle thread looks for work some 10 microseconds long, then sleeps.
The threads of a small model wait about so long for each other: one that sleeps at once wakes up too late, one
that goes on looking takes the core from whoever has something to do. Measured in tests/bench/spinning.md."""
CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGBUS, signal.SIGFPE})
"""Signals that a process gets for its own faults."""


class Child:
    """One worker process. `receive` is for one thread at a time, `send` and `end` for any."""

    def __init__(self, log: Path | None = None) -> None:
        """Start it and wait until it answers. Errors: `EngineDied` when it does not."""
        self._answers: queue.SimpleQueue[messages.Answer | EngineError] = queue.SimpleQueue()
        self._sending = threading.Lock()
        self._why: str | None = None
        self._process = _spawn(log)
        threading.Thread(target=self._read, name="engine answers", daemon=True).start()
        try:
            hello = self.receive(lambda begun: begun + _HELLO_SECONDS)
            if not isinstance(hello, messages.Hello) or hello.version != messages.VERSION:
                raise EngineDied("the engine is of another version than the program", "install chatapp again")
        except EngineError:
            self.end("the engine did not start")
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def crashed(self) -> bool:
        """Whether it died of a fault of its own, not by someone's hand."""
        code = self._process.poll()
        return code is not None and -code in CRASHES

    def send(self, message: messages.Command) -> None:
        """Errors: `EngineError` when the message is too large, `EngineDied` when the process is gone."""
        line = messages.encode(message)
        pipe = self._process.stdin
        assert pipe is not None
        with self._sending:
            try:
                pipe.write(line)
                pipe.flush()
            except (OSError, ValueError):
                raise self._death() from None

    def receive(self, deadline: Callable[[float], float]) -> messages.Answer:
        """The next answer. `deadline` says, given when the waiting began, until when to wait (both of
        time.monotonic()); it is asked again and again.

        Errors: `EngineDied` when the process is gone, or silent for so long that it was ended.
        """
        begun = now = time.monotonic()
        while True:
            looked = now
            try:
                answer = self._answers.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                now = time.monotonic()
                if now - looked > _ASLEEP_SECONDS:
                    # It was the program itself that stood still (Ctrl+Z, a laptop's lid).
                    begun = now
                if now < deadline(begun):
                    continue
                self.end(f"the engine was silent for {now - begun:.0f} s and was ended")
                raise self._death() from None
            if isinstance(answer, EngineError):
                # Others may ask once more.
                self._answers.put(answer)
                raise answer
            return answer

    def end(self, why: str, patience: float = 0.0) -> None:
        """End the process and reap it; idempotent. It has `patience` seconds to leave by itself."""
        self._why = self._why or why
        with contextlib.suppress(OSError, ValueError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        end: EngineError | None = None
        try:
            while line := pipe.readline(messages.LIMIT + 1):
                self._answers.put(messages.decode(line))  # type: ignore[arg-type]
        except EngineError as error:
            self._why = self._why or str(error)
            self._process.kill()
        except (OSError, ValueError):
            pass
        finally:
            end = self._death()
            with contextlib.suppress(OSError):
                pipe.close()
            self._answers.put(end)

    def _death(self) -> EngineDied:
        """Why the process is gone, in one line."""
        try:
            code = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if self._why:
            return EngineDied(self._why)
        if code < 0:
            name = signal_name(-code)
            if -code in CRASHES:
                return EngineDied(f"the model crashed llama.cpp ({name})")
            return EngineDied(f"the engine was killed ({name})")
        if code == _NO_LIBRARY:
            return EngineDied(
                "llama.cpp cannot be loaded", "install llama-cpp-python, then try `chatapp doctor`"
            )
        return EngineDied(f"the engine ended (exit code {code})")


def environment() -> dict[str, str]:
    """Of a process that runs llama.cpp; its death leaves a trace in the log. What the user has set stays."""
    return {**WAITING, "PYTHONFAULTHANDLER": "1", **os.environ}


def command(module: str) -> list[str]:
    """What runs `main` of a module of ours in a process of its own; arguments follow."""
    root = str(Path(chatapp.__file__).resolve().parent.parent)
    # -P: nothing in the folder where the user happens to be is imported.
    return [sys.executable, "-P", "-c", _START, root, module]


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _spawn(log: Path | None) -> subprocess.Popen[bytes]:
    """The process, in a session of its own so that Ctrl+C in the terminal does not reach it."""
    with contextlib.ExitStack() as stack:
        errors: int = subprocess.DEVNULL
        if log is not None:
            with contextlib.suppress(OSError):
                log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                mode = "ab" if not log.exists() or log.stat().st_size < _LOG_LIMIT else "wb"
                errors = stack.enter_context(log.open(mode)).fileno()
        try:
            return subprocess.Popen(
                command("chatapp.engine.worker"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise EngineDied(f"the engine cannot be started: {error.strerror}") from error
