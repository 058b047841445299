"""The engine as the program uses it: llama.cpp in a child process that may die and take nothing along."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TypeVar

from chatapp.core.errors import EngineDied, EngineError, ModelError, PromptTooLong
from chatapp.core.sanitize import one_line
from chatapp.core.types import Turn
from chatapp.engine import messages, probe
from chatapp.engine.base import AdapterSpec, Event, ModelInfo, ModelSpec, Request
from chatapp.engine.cache import sha256
from chatapp.engine.child import Child
from chatapp.engine.gguf import GgufHeader, read_header
from chatapp.engine.usable import require_adapter, require_model

_SILENCE_SECONDS = 600.0
"""How long a prompt may be worked on without a word."""
_CANCEL_SECONDS = 10.0
"""How long after a cancel the worker may take before it is ended."""
_CLOSE_SECONDS = 3.0
AnswerT = TypeVar("AnswerT", bound=messages.Answer)
_ERRORS: dict[str, type[EngineError] | type[ModelError]] = {
    "EngineError": EngineError,
    "ModelError": ModelError,
    "PromptTooLong": PromptTooLong,
}


class LlamaClient:
    """Implements `base.Engine`. Starts its child at the first `load`, and again after it died.

    `cache` keeps what was measured; `log` gets llama.cpp's own warnings.
    """

    def __init__(self, cache: Path, log: Path | None = None) -> None:
        self._cache = cache
        self._log = log
        self._child: Child | None = None
        self._busy = threading.Lock()
        self._ids = count(1)
        self._spec: ModelSpec | None = None
        self._header: GgufHeader | None = None
        self._info: ModelInfo | None = None
        self._adapter: AdapterSpec | None = None
        """What the program wants on; `_worn` is what the child has on."""
        self._worn: AdapterSpec | None = None
        self._cancelled: float | None = None
        """time.monotonic() when the running request was cancelled."""
        self._state = threading.Lock()
        """Guards `_running`."""
        self._running: int | None = None
        self._closed = False

    @property
    def info(self) -> ModelInfo | None:
        return self._info

    @property
    def pid(self) -> int | None:
        """The child's process id, None while there is none."""
        child = self._child
        return child.pid if child is not None and child.alive else None

    def load(self, spec: ModelSpec, progress: Callable[[float], None] | None = None) -> ModelInfo:
        """Errors: `ModelError`; what was loaded before is loaded again by the next request."""
        with self._alone():
            # A restart finds it from wherever the program has gone meanwhile.
            spec = replace(spec, path=spec.path.absolute())
            header = read_header(spec.path)
            require_model(header)
            info = self._load(spec, header, progress)
            self._spec, self._header, self._info, self._adapter = spec, header, info, None
            return info

    def set_adapter(self, adapter: AdapterSpec | None) -> None:
        with self._alone():
            self._check_adapter(adapter)
            self._put_on(self._with_model(), adapter)
            self._adapter = adapter

    def count(self, turns: Sequence[Turn]) -> int:
        answer = self._asked(lambda id: messages.Count(id, tuple(turns)))
        return expected(answer, messages.Counted).tokens

    def generate(self, request: Request) -> Iterator[Event]:
        with self._alone():
            self._cancelled = None
            child = self._ready()
            command = messages.Generate(next(self._ids), replace(request, turns=tuple(request.turns)))
            over = False
            child.send(command)
            with self._state:
                self._running = command.id
            if self._cancelled is not None:
                self._send_cancel(child, command.id)
            try:
                while not over:
                    answer = self._receive(child)
                    match answer:
                        case messages.Finished():
                            over = True
                        case messages.StartedEvent() | messages.DeltaEvent() | messages.LaneDoneEvent():
                            yield answer.event
                        case messages.Failed():
                            over = True
                            raise _raised(answer)
                        case _:
                            raise EngineError("the engine gave another answer than was asked for")
            except EngineDied:
                over = True
                raise
            finally:
                with self._state:
                    self._running = None
                if not over:
                    self._abandon(child, command.id)

    def cancel(self) -> None:
        self._cancelled = time.monotonic()
        with self._state:
            child, running = self._child, self._running
            if child is not None and running is not None:
                self._send_cancel(child, running)

    def close(self) -> None:
        self._closed = True
        self._cancelled = time.monotonic()
        child, self._child = self._child, None
        if child is not None:
            child.end("the engine was closed", _CLOSE_SECONDS)
        self._info = None

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One request at a time. Errors: `EngineError` for a second one."""
        if not self._busy.acquire(blocking=False):
            raise EngineError("the engine is already writing a reply", "wait for it or stop it first")
        try:
            if self._closed:
                raise _closed()
            yield
        finally:
            self._busy.release()

    def _ready(self) -> Child:
        """The child with the last model and adapter in it, started anew if need be."""
        child = self._with_model()
        if self._worn != self._adapter:
            self._put_on(child, self._adapter)
        return child

    def _with_model(self) -> Child:
        """The child with the last model in it; one that was started anew has no adapter on."""
        if self._spec is None or self._header is None:
            raise EngineError("no model is loaded", "choose one with `chatapp models use`")
        if self._child is None or not self._child.alive or self._info is None:
            self._info = self._load(self._spec, self._header, None)
        # Not `_started`: had this one died since, another would stand there with nothing loaded.
        child = self._child
        if child is None:
            raise _closed()
        return child

    def _put_on(self, child: Child, adapter: AdapterSpec | None) -> None:
        self._ask(child, messages.SetAdapter(next(self._ids), adapter))
        self._worn = adapter

    def _started(self) -> Child:
        if self._child is not None and not self._child.alive:
            self._child.end("the engine ended")
            self._child = None
        if self._child is None:
            self._child = Child(self._log)
            if self._closed:
                # Closed by another thread while it started.
                self._child.end("the engine was closed")
                raise _closed()
        return self._child

    def _load(
        self, spec: ModelSpec, header: GgufHeader, progress: Callable[[float], None] | None
    ) -> ModelInfo:
        """Load in the child, without extra buffers where they are known or found to crash."""
        self._info = self._worn = None
        known = probe.finding_for(self._cache, header.quantisation)
        extra = known is None or known.extra_buffers
        given_up = threading.Event()
        with ThreadPoolExecutor(1, "sha256") as side, contextlib.ExitStack() as leaving:
            leaving.callback(given_up.set)
            # Hashing a large file takes as long as loading it.
            digest = side.submit(sha256, spec.path, self._cache, lambda: given_up.is_set() or self._closed)
            try:
                info = self._load_once(spec, extra, known is None, progress)
                if known is None:
                    probe.remember(self._cache, header.quantisation, True)
            except EngineDied as death:
                if not extra or self._child is None or not self._child.crashed:
                    raise
                extra = False
                info = self._load_again(spec, progress)
                probe.remember(self._cache, header.quantisation, False, str(death))
            notices = [info.notice, None if extra else probe.NOTICE]
            return replace(
                info,
                sha256=digest.result(),
                notice="; ".join(each for each in notices if each) or None,
            )

    def _load_once(
        self, spec: ModelSpec, extra: bool, warm_up: bool, progress: Callable[[float], None] | None
    ) -> ModelInfo:
        command = messages.Load(next(self._ids), spec, self._cache, extra, warm_up)
        return expected(self._ask(self._started(), command, progress), messages.Loaded).info

    def _load_again(self, spec: ModelSpec, progress: Callable[[float], None] | None) -> ModelInfo:
        """Without extra buffers, after a crash with them. Errors: `ModelError` when that crashes too."""
        try:
            return self._load_once(spec, False, True, progress)
        except EngineDied as death:
            raise ModelError(f"{one_line(spec.path.name, 80)} cannot be used: {death}") from death

    def _check_adapter(self, adapter: AdapterSpec | None) -> None:
        if self._header is None:
            raise EngineError("no model is loaded", "choose one with `chatapp models use`")
        if adapter is not None:
            require_adapter(read_header(adapter.path), self._header)

    def _asked(
        self,
        command: Callable[[int], messages.Command],
        progress: Callable[[float], None] | None = None,
    ) -> messages.Answer:
        """Send the command that `command` makes of a fresh id, alone, and wait for its one answer."""
        with self._alone():
            return self._ask(self._ready(), command(next(self._ids)), progress)

    def _ask(
        self, child: Child, command: messages.Command, progress: Callable[[float], None] | None = None
    ) -> messages.Answer:
        """Send a command that has one answer, and wait for it."""
        child.send(command)
        while True:
            answer = child.receive(lambda begun: begun + _SILENCE_SECONDS)
            match answer:
                case messages.Progress():
                    if progress is not None:
                        progress(answer.fraction)
                case messages.Failed():
                    raise _raised(answer)
                case _:
                    return answer

    def _receive(self, child: Child) -> messages.Answer:
        try:
            return child.receive(self._deadline)
        except EngineDied:
            if child.crashed and self._header is not None:
                probe.forget(self._cache, self._header.quantisation)
            raise

    def _deadline(self, begun: float) -> float:
        """Until when to wait for the next event of the running request."""
        if self._cancelled is None:
            return begun + _SILENCE_SECONDS
        return max(begun, self._cancelled) + _CANCEL_SECONDS

    def _send_cancel(self, child: Child, id: int) -> None:
        # A child that is gone has stopped already; whoever reads from it learns why.
        with contextlib.suppress(EngineError):
            child.send(messages.Cancel(id))

    def _abandon(self, child: Child, id: int) -> None:
        """Stop a request that nobody reads any more, so that the next one finds a quiet pipe."""
        self._cancelled = time.monotonic()
        self._send_cancel(child, id)
        try:
            while not isinstance(self._receive(child), (messages.Finished, messages.Failed)):
                pass
        except EngineError:
            child.end("the engine was ended")


def expected(answer: messages.Answer, kind: type[AnswerT]) -> AnswerT:
    """`answer`, which must be of `kind`. Errors: `EngineError`."""
    if not isinstance(answer, kind):
        raise EngineError("the engine gave another answer than was asked for")
    return answer


def _closed() -> EngineError:
    return EngineError("the engine is closed", "start chatapp again")


def _raised(answer: messages.Failed) -> EngineError | ModelError:
    return _ERRORS[answer.kind](answer.message, answer.hint)
