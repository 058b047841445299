"""llama.cpp's own loop in a process of its own, without the engine: what `chatapp bench` measures against."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from chatapp.core.errors import EngineError
from chatapp.core.sanitize import one_line
from chatapp.core.types import Sampling
from chatapp.engine.base import AdapterSpec, ModelSpec
from chatapp.engine.child import environment

_LOOP = Path(__file__).with_name("plain_loop.py")
_SILENCE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class PlainRun:
    """One prompt and the replies to it."""

    first_seconds: float
    """From token ids to the first sampled token."""
    seconds: float
    """To the last token of the last reply."""
    replies: tuple[tuple[int, ...], ...]
    """(lanes, tokens) token ids."""


class PlainLoop:
    """A process with the model and its adapter loaded. Close it at the end."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        n_ctx: int,
        threads: tuple[int, int],
        extra_buffers: bool,
        adapter: AdapterSpec | None = None,
    ) -> None:
        """`threads` for one token and for a batch. Errors: `EngineError` when it cannot be loaded."""
        begun = time.perf_counter()
        try:
            # -P: the folder of the file is not a place to import from.
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_LOOP)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise EngineError(f"llama.cpp's own loop cannot be started: {error.strerror}") from error
        try:
            self._ask(
                {
                    "model": str(spec.path.absolute()),
                    "gpu_layers": spec.gpu_layers,
                    "n_ctx": n_ctx,
                    "threads": threads,
                    "extra_buffers": extra_buffers,
                    "adapter": None if adapter is None else str(adapter.path.absolute()),
                    "scale": 1.0 if adapter is None else adapter.scale,
                }
            )
        except BaseException:
            self.close()
            raise
        self.load_seconds = time.perf_counter() - begun
        """From nothing to a model that can be asked."""

    def run(self, prompt: Sequence[int], sampling: Sampling, lanes: int = 1) -> PlainRun:
        """`lanes` replies of `sampling.max_tokens` tokens each; lane i draws with `sampling.seed + i`.

        Errors: `EngineError`.
        """
        answer = self._ask(
            {
                "prompt": list(prompt),
                "lanes": lanes,
                "tokens": sampling.max_tokens,
                "seed": sampling.seed or 0,
                "sampling": asdict(sampling),
            }
        )
        match answer:
            case {"first": float(first), "seconds": float(seconds), "replies": list(replies)}:
                return PlainRun(first, seconds, tuple(map(tuple, replies)))
        raise EngineError("llama.cpp's own loop gave another answer than was asked for")

    def close(self) -> None:
        """End the process, which has nothing to keep; idempotent."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()

    def __enter__(self) -> PlainLoop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, question: dict[str, Any]) -> Any:
        pipes = self._process.stdin, self._process.stdout
        assert pipes[0] is not None and pipes[1] is not None
        silence = threading.Timer(_SILENCE_SECONDS, self._process.kill)
        silence.daemon = True
        silence.start()
        try:
            pipes[0].write(json.dumps(question).encode("ascii") + b"\n")
            pipes[0].flush()
            answer = json.loads(pipes[1].readline())
        except (OSError, ValueError):
            self._process.kill()
            raise EngineError(
                f"llama.cpp's own loop ended (exit code {self._process.wait()})", "try `chatapp doctor`"
            ) from None
        finally:
            silence.cancel()
        if isinstance(answer, dict) and "error" in answer:
            raise EngineError(f"llama.cpp's own loop: {one_line(str(answer['error']), 160)}")
        return answer
