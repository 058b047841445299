"""How many threads decode fastest on this machine, measured for each model size and remembered.

What was measured while other programs were at work holds for the moment alone.
"""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.engine.cache import read_table, write_table

if TYPE_CHECKING:
    from chatapp.engine.llama import LlamaContext

_FILE = "threads.json"
_BATCH = 8
"""Tokens in the batch that stands for prompts and for several lanes."""
_SECONDS = 0.15
"""Longest time that one count is tried for."""
_GAIN = 1.1
"""How much faster more threads must be to be worth it."""


def cores() -> int:
    """How many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose(context: LlamaContext, size: int, cache: Path, token: int) -> tuple[int, int]:
    """Threads for one token and for a batch. Leaves the KV cache of `context` empty.

    `size` is that of the model file in bytes; `token` any valid token id.
    """
    known = chosen(size, cache)
    if known is not None:
        return known
    single, many = (_fastest(context, token, tokens) for tokens in (1, _BATCH))
    if not busy():
        write_table(cache / _FILE, {**read_table(cache / _FILE), _key(size): [single, many]})
    return single, many


def busy() -> bool:
    """Whether programs have kept more than half of the cores at work over the last minute."""
    if not hasattr(os, "getloadavg"):
        return False
    return os.getloadavg()[0] > max(1.0, cores() / 2)


def chosen(size: int, cache: Path) -> tuple[int, int] | None:
    """What `choose` found here before for a model file of `size` bytes."""
    match read_table(cache / _FILE).get(_key(size)):
        case [int(single), int(many)] if 1 <= single <= cores() and 1 <= many <= cores():
            return single, many
    return None


def _key(size: int) -> str:
    """What was measured holds for this machine, and for threads that wait for each other in this way."""
    waiting = os.environ.get("GOMP_SPINCOUNT", "")
    return f"{platform.node()}|{platform.machine()}|{cores()}|{waiting}|{size}"


def _fastest(context: LlamaContext, token: int, tokens: int) -> int:
    best, best_seconds = 1, _seconds(context, token, tokens, 1)
    for count in _candidates():
        seconds = _seconds(context, token, tokens, count)
        if seconds * _GAIN < best_seconds:
            best, best_seconds = count, seconds
    return best


def _candidates() -> list[int]:
    """2, 4, 8, ... and all cores."""
    counts = {1 << power for power in range(1, 8) if 1 << power < cores()}
    return sorted(counts | ({cores()} if cores() > 1 else set()))


def _seconds(context: LlamaContext, token: int, tokens: int, count: int) -> float:
    """Median time of a decode of `tokens` tokens with `count` threads; the first one warms up."""
    from chatapp.engine.llama import Row

    context.set_threads(count, count)
    taken: list[float] = []
    begun = time.perf_counter()
    while len(taken) < 9 and (len(taken) < 2 or time.perf_counter() - begun < _SECONDS):
        context.clear()
        start = time.perf_counter()
        context.decode([Row(token, at, 0, at == tokens - 1) for at in range(tokens)])
        # Decoding is asynchronous until something is read.
        context.wait()
        taken.append(time.perf_counter() - start)
    context.clear()
    taken = sorted(taken[1:])
    return taken[len(taken) // 2]
