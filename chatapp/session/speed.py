"""How fast replies come on this machine: the chat's own engine beside llama.cpp's own loop.

Both sides do the same work (the same token ids, sampler, number of tokens, threads and adapter) in turns,
A/B/A/B, each round in new processes, so that one model at a time is in memory and a machine that is busy for
a while is so for both. All times are of the wall clock; the app's are taken where the chat would get them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chatapp.core.errors import EngineError, ModelError, UsageError
from chatapp.core.types import Sampling, Turn
from chatapp.engine.base import Delta, LaneDone, ModelInfo, Request, Started
from chatapp.session.speed_report import MEASURES, SpeedReport

if TYPE_CHECKING:
    from chatapp.engine.tuning import TuningClient
    from chatapp.session.wiring import House

LANES = 4
_PROMPT_TOKENS, _REPLY_TOKENS = 512, 128
_LEAST_PROMPT, _LEAST_REPLY = 32, 8
_SHARE = 3
"""A round takes a third of the time at most, where shorter prompts and replies can bring that about."""
_WARM_UP = "Hello, are you awake?"
_QUESTION = "What can you do for me, and how do I begin?"
_CHOICE = "Tell me about a good way to spend an evening at home."
_PARAGRAPH = (
    "On the first morning we walked along the river to the old mill, and the rain came and went. "
    "The owner showed us the wheel, the stones and a book in which every flood since 1780 is noted. "
)


@dataclass(frozen=True, slots=True)
class Limits:
    rounds: int = 10
    seconds: float = 30.0
    """No round begins that would end later than this; the first one always does."""
    tokens: int | None = None
    """Of each reply; None: 128, fewer where the model is too slow for that."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is being measured now."""

    round: int
    what: str
    seconds_left: float
    """At most, as far as is known."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What both sides do in every round. Token ids are those of the app's own template."""

    info: ModelInfo
    threads: tuple[int, int]
    extra_buffers: bool
    sampling: Sampling
    """With a seed, and the length of the replies as `max_tokens`."""
    text: str
    """The long message."""
    ids: tuple[tuple[int, ...], ...]
    """Of the long message, the question, the choice and the warm-up."""


@dataclass(frozen=True, slots=True)
class _Answered:
    prompt_tokens: int
    tokens: int
    """Of all lanes together, without the first of each."""
    sampled_seconds: float
    """From the request to the first token of lane 0, as the engine says."""
    shown_seconds: float
    """From the request to the first text here."""
    seconds: float

    @property
    def speed(self) -> float:
        """Tokens/s of all lanes after the first token of each."""
        return self.tokens / max(1e-9, self.seconds - self.sampled_seconds)


class SpeedTest:
    """One measurement of the model and adapter in the settings of `house`."""

    def __init__(self, house: House, limits: Limits, listen: Callable[[Step], None] | None = None) -> None:
        """Errors: `NotFound`, `ModelError`."""
        self._house = house
        self._limits = limits
        self._listen = listen or (lambda step: None)
        self._spec = house.spec()
        self._adapter = house.adapter(model=self._spec)
        self._begun = 0.0
        self._round = 0
        self._rounds_begun = 0.0

    def run(self) -> SpeedReport:
        """Errors: `ModelError`, `EngineError`; `UsageError` for replies that do not fit."""
        self._begun = time.perf_counter()
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        self._say("preparing")
        with closing(self._house.another_engine()) as engine:
            work = self._prepare(engine)
        self._rounds_begun = time.perf_counter()
        app: dict[str, list[float]] = {name: [] for name in MEASURES}
        plain: dict[str, list[float]] = {name: [] for name in MEASURES}
        while self._has_time():
            self._round += 1
            for side, values in ((app, self._app(work)), (plain, self._plain(work))):
                for name, value in values.items():
                    side[name].append(value)
        return SpeedReport(
            info=work.info,
            adapter=None if self._adapter is None else self._adapter.name,
            threads=work.threads,
            prompt_tokens=len(work.ids[0]),
            reply_tokens=work.sampling.max_tokens,
            lanes=LANES,
            load_average=load,
            seconds=time.perf_counter() - self._begun,
            app=app,
            plain=plain,
        )

    def _prepare(self, engine: TuningClient) -> _Work:
        """Load once, so that what is measured once in a machine's life is known; settle how long it takes."""
        from chatapp.engine import probe, threads
        from chatapp.engine.gguf import read_header

        begun = time.perf_counter()
        info = engine.load(self._spec)
        load = time.perf_counter() - begun
        engine.set_adapter(self._adapter)
        room = info.n_ctx // (2 * LANES)
        if room < _LEAST_REPLY:
            raise ModelError(f"a context of {info.n_ctx} tokens is too short to measure", "raise n_ctx")
        wanted = self._limits.tokens
        if wanted is not None and wanted > room:
            raise UsageError(
                f"{LANES} replies of {wanted} tokens do not fit", f"--tokens {room} is the most here"
            )
        sampling = replace(self._house.sampling(self._spec), seed=1, stop=(), max_tokens=2 * _LEAST_REPLY)
        # The first request of a process is slower than the others.
        self._ask(engine, _WARM_UP, sampling)
        trial = self._ask(engine, _QUESTION, sampling)
        reply = min(room, wanted or _REPLY_TOKENS)
        prompt_seconds = _PROMPT_TOKENS * trial.sampled_seconds / trial.prompt_tokens
        reply_seconds = reply * (1 + LANES) / trial.speed
        share = max(0.0, self._limits.seconds / _SHARE / 2 - load) / (prompt_seconds + reply_seconds)
        share = min(1.0, share)
        if wanted is None:
            reply = max(_LEAST_REPLY, round(share * reply))
        long = min(info.n_ctx // 2, max(_LEAST_PROMPT, round(share * _PROMPT_TOKENS)))
        text = _text_of(engine, long)
        header = read_header(self._spec.path)
        finding = probe.finding_for(self._house.paths.cache, header.quantisation)
        count = self._spec.threads
        chosen = (count, count) if count > 0 else threads.chosen(header.size, self._house.paths.cache)
        return _Work(
            info=info,
            threads=chosen or (1, 1),
            extra_buffers=finding is None or finding.extra_buffers,
            sampling=replace(sampling, max_tokens=reply),
            text=text,
            ids=tuple(
                engine.encode([Turn("user", each)]).ids for each in (text, _QUESTION, _CHOICE, _WARM_UP)
            ),
        )

    def _app(self, work: _Work) -> dict[str, float]:
        """The chat's engine, from a new process to four alternatives."""
        self._say("chatapp: load")
        begun = time.perf_counter()
        with closing(self._house.another_engine()) as engine:
            engine.load(self._spec)
            engine.set_adapter(self._adapter)
            load = time.perf_counter() - begun
            self._ask(engine, _WARM_UP, replace(work.sampling, max_tokens=_LEAST_REPLY))
            self._say("chatapp: prompt")
            long = self._ask(engine, work.text, replace(work.sampling, max_tokens=1))
            self._say("chatapp: one reply")
            one = self._ask(engine, _QUESTION, work.sampling)
            self._say(f"chatapp: {LANES} at once")
            several = self._ask(engine, _CHOICE, work.sampling, LANES)
        return {
            "prompt": long.prompt_tokens / long.seconds,
            "generation": one.speed,
            "alternatives": several.speed,
            "first_token": one.shown_seconds,
            "load": load,
        }

    def _plain(self, work: _Work) -> dict[str, float]:
        """The same in llama.cpp's own loop."""
        from chatapp.engine.plain import PlainLoop

        long, question, choice, warm_up = work.ids
        self._say("llama.cpp: load")
        with PlainLoop(
            self._spec,
            n_ctx=work.info.n_ctx,
            threads=work.threads,
            extra_buffers=work.extra_buffers,
            adapter=self._adapter,
        ) as loop:
            loop.run(warm_up, replace(work.sampling, max_tokens=_LEAST_REPLY))
            self._say("llama.cpp: prompt")
            read = loop.run(long, replace(work.sampling, max_tokens=1))
            self._say("llama.cpp: one reply")
            one = loop.run(question, work.sampling)
            self._say(f"llama.cpp: {LANES} at once")
            several = loop.run(choice, work.sampling, LANES)
        after_first = work.sampling.max_tokens - 1
        return {
            "prompt": len(long) / read.seconds,
            "generation": after_first / (one.seconds - one.first_seconds),
            "alternatives": LANES * after_first / (several.seconds - several.first_seconds),
            "first_token": one.first_seconds,
            "load": loop.load_seconds,
        }

    def _ask(self, engine: TuningClient, text: str, sampling: Sampling, lanes: int = 1) -> _Answered:
        """One request as the chat makes it, with nothing of it in the KV cache."""
        engine.set_adapter(self._adapter)
        started: Started | None = None
        shown: float | None = None
        done: list[LaneDone] = []
        begun = time.perf_counter()
        for event in engine.generate(Request([Turn("user", text)], sampling, lanes, past_end=True)):
            match event:
                case Started():
                    started = event
                case Delta():
                    shown = shown or time.perf_counter() - begun
                case LaneDone():
                    done.append(event)
        seconds = time.perf_counter() - begun
        first = next((each.first_token_seconds for each in done if each.lane == 0), None)
        if started is None or first is None or len(done) != lanes:
            raise EngineError("the engine ended a reply before its first token", "try again")
        return _Answered(
            prompt_tokens=started.prompt_tokens - started.cached_tokens,
            tokens=sum(each.completion_tokens for each in done) - lanes,
            sampled_seconds=first,
            shown_seconds=shown or seconds,
            seconds=seconds,
        )

    def _has_time(self) -> bool:
        now = time.perf_counter()
        if self._round == 0:
            return True
        mean = (now - self._rounds_begun) / self._round
        return self._round < self._limits.rounds and now - self._begun + mean <= self._limits.seconds

    def _say(self, what: str) -> None:
        now = time.perf_counter()
        most = self._limits.seconds - (now - self._begun)
        if self._round > 1:
            # The running round is not over, so it is counted as half a round.
            mean = (now - self._rounds_begun) / (self._round - 0.5)
            most = min(most, mean * (self._limits.rounds - self._round + 0.5))
        self._listen(Step(self._round, what, max(0.0, most)))


def _text_of(engine: TuningClient, tokens: int) -> str:
    """A message that is about `tokens` tokens long with its template."""
    one, two = (engine.count([Turn("user", _PARAGRAPH * times)]) for times in (1, 2))
    words = (_PARAGRAPH * max(1, 1 + round((tokens - one) / max(1, two - one) + 1))).split(" ")
    low, high = 1, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if engine.count([Turn("user", " ".join(words[:middle]))]) <= tokens:
            low = middle
        else:
            high = middle - 1
    return " ".join(words[:low])
