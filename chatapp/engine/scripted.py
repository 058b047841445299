"""A deterministic engine that answers from a script: for `--demo`, for screenshots and for tests."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import TypeAlias

from chatapp.core.errors import EngineDied, EngineError
from chatapp.core.types import FinishReason, Turn
from chatapp.engine.base import AdapterSpec, Delta, Event, LaneDone, ModelInfo, ModelSpec, Request, Started

Script: TypeAlias = Sequence[str] | Callable[[Request, int, int], str]
"""Replies taken in rotation, or a function of (request, lane, seed of that lane) that gives the reply."""

_N_CTX = 8192

_CODE = (
    (
        'Here is a small one:\n\n```python\ndef greet(name: str) -> str:\n    """A friendly line."""\n'
        '    return f"Hello, {name}!"\n\n\nprint(greet("world"))\n```\n\nIt prints **Hello, world!**'
    ),
    (
        "This counts the words of a text:\n\n```python\nfrom collections import Counter\n\n\n"
        "def words(text: str) -> Counter[str]:\n    return Counter(text.lower().split())\n```\n\n"
        "`Counter.most_common(3)` then gives the three most frequent ones."
    ),
    (
        "Two ways, from short to clear:\n\n1. A comprehension:\n\n"
        "```python\nsquares = [n * n for n in range(10)]\n```\n\n"
        "2. A loop, when each step does *more* than one thing."
    ),
    (
        "Start from the shell:\n\n```sh\npython -m venv .venv\n.venv/bin/pip install .\n```\n\n"
        "Then run the tests before you change anything."
    ),
)
_RANKING = (
    (
        "Press `Ctrl+R` for alternatives, then the number of the best one, the next best, and so on. "
        "`=` ties two, `x` says that all are bad."
    ),
    (
        "Ranking is quick:\n\n- `1` to `9` place the replies from best to worst\n- `=` ties\n"
        "- `x` is *all bad*\n- `Enter` commits"
    ),
    (
        "Ask for alternatives with `Ctrl+R`. I write three more replies beside this one, "
        "and you put them in order. "
        "`chatapp train` learns from them."
    ),
)
_GREETING = (
    "Hello! What would you like to talk about?",
    "Hi. I am the scripted demo, so my answers are fixed, but every key works as usual.",
    "Good to see you. Ask me for some code, or press `Ctrl+R` to compare replies.",
    "Hello there. Try editing this reply with `Up`, then `e`.",
)
_GENERAL = (
    "I would begin with the smallest version that works, try it, and only then add to it.",
    (
        "It depends on what matters most to you:\n\n- **speed**: keep it short\n- **care**: sleep on it\n"
        "- **fun**: ask a friend along"
    ),
    "Good question. What have you tried so far?",
    "In one sentence: write down what you want, cut it in half, and do the first line today.",
    (
        "There are three parts to it. First, say what the goal is. Second, list what stands in the way. "
        "Third, remove the cheapest obstacle."
    ),
    "I am not sure. I can tell you how I would find out: change one thing at a time and look at what moves.",
    (
        "Here is the short comparison:\n\n| way | cost | risk |\n| --- | --- | --- |\n| now | low | some |\n"
        "| later | higher | less |\n\nI would choose *now*."
    ),
    "Tell me a little more: who is it for, and by when?",
    "A walk of twenty minutes often answers that better than I can.",
    "Yes, with one condition: decide beforehand how you will know that it worked.",
)
_MOST = len(_GENERAL) + max(map(len, (_CODE, _RANKING, _GREETING)))
"""Answers to choose from, at most."""
_SUBJECTS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("code", "python", "function", "program", "script"), _CODE),
    (("rank", "alternative", "train", "compare"), _RANKING),
    (("hello", "hi ", "hey", "good morning"), _GREETING),
)


def demo_reply(text: str, seed: int) -> str:
    """The built-in answer to `text`; neighbouring seeds give different answers."""
    wanted = f"{text.lower()} "
    answers = next((own for words, own in _SUBJECTS if any(word in wanted for word in words)), ())
    pool = (*answers, *_GENERAL)
    if answers:
        # Answers to the subject come first, so that the first few lanes all fit the question.
        return pool[seed % len(pool)]
    return pool[(zlib.crc32(text.encode()) + seed) % len(pool)]


class ScriptedEngine:
    """Implements `base.Engine` in this process. Replies depend on (last user text, lane, seed) alone, and on
    what they begin with: a reply of the script that begins so is gone on with, else the next one follows it.

    `pace` is the pause in seconds before each word of a lane; 0 streams at once.
    """

    def __init__(self, script: Script | None = None, pace: float = 0.03) -> None:
        self._script = script
        self._pace = pace
        self._info: ModelInfo | None = None
        self._running = threading.Lock()
        self._cancelled = threading.Event()
        self._served = 0
        self._failure: tuple[int, EngineError] | None = None
        self.adapter: AdapterSpec | None = None
        self.requests: list[Request] = []
        """Every request that was started, for tests to look at."""

    @property
    def info(self) -> ModelInfo | None:
        return self._info

    def load(self, spec: ModelSpec, progress: Callable[[float], None] | None = None) -> ModelInfo:
        """Take over the name of `spec`; the file itself is not read and need not exist."""
        if progress is not None:
            progress(1.0)
        self._info = ModelInfo(
            name=spec.name,
            path=spec.path,
            sha256=sha256(b"scripted").hexdigest(),
            architecture="scripted",
            description="scripted replies",
            size=0,
            parameters=0,
            n_ctx=spec.n_ctx or _N_CTX,
            cells=spec.n_ctx or _N_CTX,
            n_ctx_train=_N_CTX,
            template_sha256=sha256(b"").hexdigest(),
        )
        return self._info

    def set_adapter(self, adapter: AdapterSpec | None) -> None:
        self.adapter = adapter

    def fail_after(self, deltas: int, error: EngineError | None = None) -> None:
        """Make the next request raise `error` after `deltas` deltas; `EngineDied` unless it is given."""
        self._failure = (deltas, error or EngineDied("the engine was killed (SIGKILL)"))

    def generate(self, request: Request) -> Iterator[Event]:
        if not self._running.acquire(blocking=False):
            raise EngineError("the engine is already writing a reply", "wait for it or stop it first")
        try:
            self._cancelled.clear()
            yield from self._events(request)
        finally:
            self._running.release()

    def _events(self, request: Request) -> Iterator[Event]:
        begun = time.monotonic()
        self.requests.append(request)
        failure, self._failure = self._failure, None
        seed = self._served if request.sampling.seed is None else request.sampling.seed
        self._served += request.lanes
        n_ctx = self._info.n_ctx if self._info else _N_CTX
        yield Started(self.count(request.turns), 0, 0, n_ctx, seed)
        seeds = [seed + request.first_lane + lane for lane in range(request.lanes)]
        left = [
            _pieces(
                self._reply(request, lane, lane_seed).removeprefix(request.begun), request.sampling.max_tokens
            )
            for lane, lane_seed in enumerate(seeds)
        ]
        if request.begun:
            yield from (Delta(lane, request.begun) for lane in range(request.lanes))
        lengths = [len(words) for words, _ in left]
        deltas = 0
        first: float | None = None
        open_lanes = set(range(request.lanes))
        step = 0
        while open_lanes:
            if failure is not None and deltas >= failure[0]:
                raise failure[1]
            if self._pace > 0 and step < max(lengths, default=0):
                self._cancelled.wait(self._pace)
            stopped = self._cancelled.is_set()
            for lane in sorted(open_lanes):
                words, reason = left[lane]
                if stopped or step >= len(words):
                    open_lanes.remove(lane)
                    done = time.monotonic() - begun
                    why: FinishReason = "cancelled" if stopped else reason
                    written = min(step, len(words))
                    yield LaneDone(lane, why, written, first if written else None, done, seeds[lane])
                    continue
                if failure is not None and deltas >= failure[0]:
                    raise failure[1]
                if first is None:
                    first = time.monotonic() - begun
                deltas += 1
                yield Delta(lane, words[step])
                stopped = self._cancelled.is_set()
            step += 1

    def _reply(self, request: Request, lane: int, seed: int) -> str:
        if callable(self._script):
            return self._script(request, lane, seed)
        if self._script is None:
            asked = next((turn.text for turn in reversed(request.turns) if turn.role == "user"), "")
            replies = [demo_reply(asked, seed + step) for step in range(_MOST)]
        else:
            first = seed % len(self._script) if self._script else 0
            replies = [*self._script[first:], *self._script[:first]] or [""]
        return next((each for each in replies if each.startswith(request.begun)), replies[0])

    def count(self, turns: Sequence[Turn]) -> int:
        """Words, and three for the frame of each turn."""
        return sum(len(turn.text.split()) + 3 for turn in turns)

    def cancel(self) -> None:
        self._cancelled.set()

    def close(self) -> None:
        self.cancel()
        self._info = None


def _pieces(text: str, max_tokens: int) -> tuple[list[str], FinishReason]:
    """`text` as words with the space that follows each, cut at `max_tokens`, and why the reply ends there."""
    words: list[str] = []
    start = 0
    for place in range(1, len(text)):
        if text[place - 1].isspace() and not text[place].isspace():
            words.append(text[start:place])
            start = place
    if start < len(text):
        words.append(text[start:])
    return (words[:max_tokens], "length") if len(words) > max_tokens else (words, "stop")
