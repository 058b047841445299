"""The engine's child process: takes commands on standard input, answers on standard output, runs llama.cpp.

Started by `client`. The main thread works; a second one reads, so that a cancel is taken in the middle of a
decode, and ends the process when the parent is gone.
"""

from __future__ import annotations

import hashlib
import math
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, get_args

from chatapp.core.errors import ChatappError, EngineError, ModelError, PromptTooLong
from chatapp.core.sanitize import one_line
from chatapp.core.types import Turn
from chatapp.engine import messages
from chatapp.engine.base import (
    AdapterSpec,
    Delta,
    Encoded,
    LaneDone,
    ModelInfo,
    ModelSpec,
    Request,
    Sample,
    Started,
    room_for_prompt,
    too_long,
)

if TYPE_CHECKING:
    from chatapp.engine.decoding import Decoder
    from chatapp.engine.gguf import GgufHeader
    from chatapp.engine.llama import CancelFlag, LlamaContext, LlamaModel
    from chatapp.engine.prompt import Prompter
    from chatapp.engine.study import Study

_MOST_CONTEXT = 8192
"""Tokens that n_ctx 0 takes at most."""
_MOST_BATCH, _LEAST_BATCH = 512, 32
_MATRIX_WORK = 4_000_000_000
"""Multiplications in one matrix product at most: llama.cpp looks for a cancel between two of them; this many
take a slow core less than 200 ms."""
_PROGRESS_STEP = 0.02
_HEARTBEAT_SECONDS = 1.0
"""How long progress that is no step forward is kept back: the parent ends a child that is silent."""


class Inbox:
    """Commands from the parent. A cancel does not wait in line: it sets the flag of the running request."""

    def __init__(self, source: BinaryIO, flag: CancelFlag) -> None:
        self._source = source
        self._flag = flag
        self._waiting: queue.SimpleQueue[messages.Command] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._running = 0
        self._cancelled: set[int] = set()

    def start(self) -> None:
        threading.Thread(target=self._read, name="commands", daemon=True).start()

    def next(self) -> messages.Command:
        """The next command, with the cancel flag as that command has it."""
        command = self._waiting.get()
        with self._lock:
            self._running = command.id
            self._flag.clear()
            if command.id in self._cancelled:
                self._flag.set()
            # Ids only rise, so a cancel of an older request has come too late.
            self._cancelled = {each for each in self._cancelled if each > command.id}
        return command

    def _read(self) -> None:
        try:
            while line := self._source.readline(messages.LIMIT + 1):
                command = messages.decode(line)
                if isinstance(command, messages.Cancel):
                    with self._lock:
                        if command.id == self._running:
                            self._flag.set()
                        elif command.id > self._running:
                            self._cancelled.add(command.id)
                elif isinstance(command, get_args(messages.Command)):
                    self._waiting.put(command)
        except Exception:
            traceback.print_exc()
        finally:
            # The parent is gone or talks nonsense; the main thread may be deep in C, so do not wait for it.
            os._exit(0)


class Worker:
    """The loaded model and what is asked of it."""

    def __init__(self, out: BinaryIO, flag: CancelFlag) -> None:
        self._out = out
        self._flag = flag
        self._model: LlamaModel | None = None
        self._context: LlamaContext | None = None
        self._prompter: Prompter | None = None
        self._decoder: Decoder | None = None
        self._study: Study | None = None
        self._n_ctx = 0
        self._cells = 0

    def send(self, *answers: messages.Answer) -> None:
        self._out.write(b"".join(messages.encode(answer) for answer in answers))
        self._out.flush()

    def handle(self, command: messages.Command) -> None:
        """Do what `command` says and answer it; what goes wrong is an answer too."""
        try:
            match command:
                case messages.Load():
                    self.send(messages.Loaded(command.id, self._load(command)))
                case messages.SetAdapter(id, adapter):
                    self._set_adapter(adapter)
                    self.send(messages.Finished(id))
                case messages.Count(id, turns):
                    self.send(messages.Counted(id, self._count(turns)))
                case messages.Encode(id, turns):
                    self.send(messages.EncodedAnswer(id, self._encode(turns)))
                case messages.Logprobs(id, rows):
                    self.send(messages.LogprobsAnswer(id, self._loaded().logprobs(rows, self._progress(id))))
                case messages.States(id, rows, adapter):
                    self.send(messages.StatesAnswer(id, self._states(id, rows, adapter)))
                case messages.Rollout():
                    self.send(messages.RolloutAnswer(command.id, self._rollout(command)))
                case messages.Generate(id, request):
                    self._generate(id, request)
                    self.send(messages.Finished(id))
        except ChatappError as error:
            self.send(_failed(command.id, error))
        except BrokenPipeError:
            raise
        except Exception as error:
            traceback.print_exc()
            wrapped = EngineError(f"the engine failed: {type(error).__name__}: {one_line(str(error), 120)}")
            self.send(_failed(command.id, wrapped))

    def _load(self, command: messages.Load) -> ModelInfo:
        from chatapp.engine.decoding import Decoder
        from chatapp.engine.gguf import read_header
        from chatapp.engine.llama import LlamaContext, LlamaModel
        from chatapp.engine.prompt import Prompter
        from chatapp.engine.study import Study
        from chatapp.engine.threads import choose

        spec = command.spec
        self._unload()
        header = read_header(spec.path)
        model = LlamaModel(
            spec.path,
            extra_buffers=command.extra_buffers,
            gpu_layers=spec.gpu_layers,
            progress=self._progress(command.id),
        )
        self._model = model
        self._n_ctx = _context_length(spec, model.n_ctx_train)
        lanes = max(1, spec.lanes)
        # A short context costs little memory, so each lane gets its own; long ones share.
        self._cells = max(self._n_ctx, min(_MOST_CONTEXT, self._n_ctx * lanes))
        context = LlamaContext(model, self._cells, lanes, max(_batch(header), lanes), self._flag)
        self._context = context
        if command.warm_up:
            self._warm_up(context)
        threads = (spec.threads, spec.threads)
        if spec.threads <= 0:
            threads = choose(context, header.size, command.cache, 0)
        context.set_threads(*threads)
        self._prompter = Prompter(model.vocabulary, model.template)
        self._decoder = Decoder(context, model.vocabulary, self._flag, self._n_ctx, self._cells)
        self._study = Study(model, header, self._flag, self._cells, self._n_ctx, threads)
        return self._info(spec, header, model, self._prompter)

    def _warm_up(self, context: LlamaContext) -> None:
        """Decode the smallest batch that goes through the matrix kernels, where a wrong build crashes."""
        from chatapp.engine.llama import Row

        context.set_threads(1, 1)
        context.decode([Row(0, 0, 0, False), Row(0, 1, 0, True)])
        context.wait()
        context.clear()

    def _progress(self, id: int) -> Callable[[float], None]:
        last, said = -1.0, time.monotonic()

        def report(fraction: float) -> None:
            nonlocal last, said
            now = time.monotonic()
            if fraction - last >= _PROGRESS_STEP or fraction >= 1 or now - said >= _HEARTBEAT_SECONDS:
                last, said = fraction, now
                self.send(messages.Progress(id, float(fraction)))

        return report

    def _info(self, spec: ModelSpec, header: GgufHeader, model: LlamaModel, prompter: Prompter) -> ModelInfo:
        notice = prompter.notice
        if spec.n_ctx > self._n_ctx:
            short = f"n_ctx {spec.n_ctx} is more than the model was trained for; using {self._n_ctx}"
            notice = f"{notice}; {short}" if notice else short
        return ModelInfo(
            name=spec.name,
            path=spec.path,
            sha256="",
            architecture=header.architecture,
            description=_described(model),
            size=header.size,
            parameters=model.parameters,
            n_ctx=self._n_ctx,
            cells=self._cells,
            n_ctx_train=model.n_ctx_train,
            template_sha256=hashlib.sha256(prompter.template.encode("utf-8", "replace")).hexdigest(),
            notice=notice,
        )

    def _unload(self) -> None:
        self._decoder = self._prompter = None
        if self._study is not None:
            self._study.close()
            self._study = None
        if self._context is not None:
            self._context.close()
            self._context = None
        if self._model is not None:
            self._model.close()
            self._model = None

    def _set_adapter(self, adapter: AdapterSpec | None) -> None:
        if self._model is None or self._context is None or self._decoder is None:
            raise EngineError("no model is loaded")
        pointer = None if adapter is None else self._model.adapter(adapter.path)
        scale = 1.0 if adapter is None else adapter.scale
        self._context.use_adapter(pointer, scale)
        self._loaded().use_adapter(pointer, scale)
        self._model.free_replaced()
        self._decoder.forget()

    def _loaded(self) -> Study:
        if self._study is None:
            raise EngineError("no model is loaded")
        return self._study

    def _encode(self, turns: tuple[Turn, ...]) -> Encoded:
        if self._prompter is None:
            raise EngineError("no model is loaded")
        opened = not turns or turns[-1].role != "assistant"
        prompt = self._prompter.render(turns, reply=opened)
        return Encoded(prompt.ids, prompt.mask)

    def _states(
        self, id: int, rows: tuple[tuple[int, ...], ...], adapter: AdapterSpec | None
    ) -> tuple[tuple[float, ...], ...]:
        study = self._loaded()
        assert self._model is not None
        pointer = None if adapter is None else self._model.adapter(adapter.path)
        scale = 1.0 if adapter is None else adapter.scale
        return study.states(rows, pointer, scale, self._progress(id))

    def _rollout(self, command: messages.Rollout) -> tuple[tuple[Sample, ...], ...]:
        study = self._loaded()
        assert self._prompter is not None
        stop = (*command.sampling.stop, *self._prompter.stop)
        drawn = study.rollout(
            command.prompts, command.samples, command.sampling, stop, self._progress(command.id)
        )
        return tuple(map(tuple, drawn))

    def _count(self, turns: tuple[Turn, ...]) -> int:
        if self._prompter is None:
            raise EngineError("no model is loaded")
        return len(self._prompter.render(turns).ids)

    def _generate(self, id: int, request: Request) -> None:
        from chatapp.engine.decoding import Job

        begun = time.monotonic()
        if self._prompter is None or self._decoder is None or self._context is None:
            raise EngineError("no model is loaded")
        if not request.turns or request.turns[-1].role != "user":
            raise EngineError("the last turn is not the user's", "write a message first")
        if not 1 <= request.lanes <= self._context.sequences:
            raise EngineError(f"between 1 and {self._context.sequences} replies can be had at once")
        wanted = max(1, request.sampling.max_tokens)
        written = self._prompter.begun(request.begun)
        # What is written already takes room of prompt and reply alike.
        n_ctx, cells = self._n_ctx - len(written), self._cells - len(written)
        limit = room_for_prompt(n_ctx, cells, wanted, request.lanes)
        try:
            prompt = self._prompter.fit(request.turns, limit)
        except PromptTooLong as error:
            raise self._too_long(request, len(written)) from error
        job = Job(
            ids=(*prompt.ids, *written),
            sampling=replace(request.sampling, max_tokens=wanted),
            lanes=request.lanes,
            first_lane=request.first_lane,
            stop=() if request.past_end else (*request.sampling.stop, *prompt.stop),
            dropped_turns=prompt.dropped_turns,
            begun=begun,
            past_end=request.past_end,
            text=request.begun,
            written=len(written),
        )
        for event in self._decoder.run(job):
            match event:
                case Started():
                    self.send(messages.StartedEvent(id, event))
                case Delta():
                    self.send(messages.DeltaEvent(id, event))
                case LaneDone():
                    self.send(messages.LaneDoneEvent(id, event))

    def _too_long(self, request: Request, begun: int) -> PromptTooLong:
        assert self._prompter is not None and self._model is not None
        # The least that can be asked: old turns are dropped first.
        system = [turn for turn in request.turns[:1] if turn.role == "system"]
        taken = len(self._prompter.render((*system, request.turns[-1])).ids)
        trained, wanted = self._model.n_ctx_train, request.sampling.max_tokens
        return too_long(taken, self._n_ctx, self._cells, trained, wanted, request.lanes, begun)


def _failed(id: int, error: ChatappError) -> messages.Failed:
    kind: messages.ErrorKind = "EngineError"
    if isinstance(error, ModelError):
        kind = "ModelError"
    elif isinstance(error, PromptTooLong):
        kind = "PromptTooLong"
    return messages.Failed(id, kind, str(error), error.hint)


def _context_length(spec: ModelSpec, trained: int) -> int:
    if spec.n_ctx > 0:
        return min(spec.n_ctx, trained) if trained > 0 else spec.n_ctx
    return min(trained, _MOST_CONTEXT) if trained > 0 else _MOST_CONTEXT


def _described(model: LlamaModel) -> str:
    """llama.cpp's own description with a count in place of the size, which it takes from the layers alone."""
    count = model.parameters
    size = f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.1f}M"
    architecture, *rest = model.description.split(" ", 2)
    return " ".join((architecture, size, *rest[1:]))


def _batch(header: GgufHeader) -> int:
    """Tokens of a prompt that are decoded in one go. A function of the file alone, so that replies repeat."""
    from chatapp.engine.usable import tensors_of

    largest = max(
        (math.prod(each.dims[:2]) for each in tensors_of(header) if each.name.startswith("blk.")), default=1
    )
    return max(_LEAST_BATCH, min(_MOST_BATCH, _MATRIX_WORK // largest // 32 * 32))


def _own_descriptors() -> tuple[BinaryIO, BinaryIO]:
    """The pipe as private descriptors; 0 becomes empty and 1 the log, so that C cannot write to the pipe."""
    source, out = os.dup(0), os.dup(1)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return os.fdopen(source, "rb", buffering=1 << 16), os.fdopen(out, "wb", buffering=1 << 16)


def main() -> None:
    """Serve until standard input ends."""
    source, out = _own_descriptors()
    try:
        from chatapp.engine.llama import CancelFlag
    except (ImportError, OSError, RuntimeError) as error:
        print(f"llama_cpp cannot be imported: {error}", file=sys.stderr)
        sys.exit(3)
    flag = CancelFlag()
    worker = Worker(out, flag)
    inbox = Inbox(source, flag)
    worker.send(messages.Hello(messages.VERSION, os.getpid()))
    inbox.start()
    while True:
        worker.handle(inbox.next())


if __name__ == "__main__":
    main()
