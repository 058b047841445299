"""How long the engine's idle threads should look for work before they sleep.

    python -m tests.bench.spinning [MODEL.gguf] [--rounds 2] [--spins 0 300 1000 10000] [--busy 0 1]

Threads of a small model wait for each other some hundred times a token, each time for microseconds. Wide: 4
replies to each of 16 prompts at once, as a training samples; narrow: one reply, as in the chat. Other
programs that keep a core busy are played by `--busy` processes that only count. Ways in turn, tokens a
second, median (smallest and largest); the first reply of each engine warms up.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from chatapp.core.types import Sampling, Turn
from chatapp.engine.base import ModelSpec
from chatapp.engine.tuning import TuningClient
from tests.bench.rollout_speed import GUIDE, PROMPTS, SAMPLES

SAMPLING = Sampling(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, repeat_penalty=1.0, max_tokens=64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=GUIDE)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--spins", nargs="+", default=["0", "300", "1000", "10000"])
    parser.add_argument("--busy", nargs="+", type=int, default=[0, 1])
    options = parser.parse_args()
    ways = [("0", 1), *((spins, os.cpu_count() or 2) for spins in options.spins)]
    print(f"{platform.machine()}, {os.cpu_count()} cores")
    print("| busy | threads | spins | wide, tok/s | narrow, tok/s |\n| --- | --- | --- | --- | --- |")
    for busy in options.busy:
        found: dict[tuple[str, int], list[list[float]]] = defaultdict(lambda: [[], []])
        with others(busy):
            for _ in range(options.rounds):
                for spins, threads in ways:
                    for kept, new in zip(
                        found[spins, threads], speeds(options.model, spins, threads), strict=True
                    ):
                        kept += new
        for (spins, threads), (wide, narrow) in found.items():
            print(f"| {busy} | {threads} | {spins} | {shown(wide)} | {shown(narrow)} |", flush=True)


@contextlib.contextmanager
def others(count: int) -> Iterator[None]:
    """So many processes that keep a core busy."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def speeds(model: Path, spins: str, threads: int) -> tuple[list[float], list[float]]:
    """Tokens a second of some wide and some narrow rollouts of an engine of its own."""
    os.environ["GOMP_SPINCOUNT"] = spins
    with tempfile.TemporaryDirectory() as folder:
        engine = TuningClient(Path(folder))
        try:
            engine.load(ModelSpec(model.absolute(), "bench", threads=threads))
            prompts = [engine.encode([Turn("user", text)]).ids for text in PROMPTS]
            measure(engine, prompts, SAMPLES)
            wide = [measure(engine, prompts, SAMPLES) for _ in range(3)]
            return wide, [measure(engine, prompts[:1], 1, repeats=10) for _ in range(2)]
        finally:
            engine.close()


def measure(engine: TuningClient, prompts: list[tuple[int, ...]], samples: int, repeats: int = 1) -> float:
    begun, tokens = time.perf_counter(), 0
    for _ in range(repeats):
        drawn = engine.rollout(prompts, samples, SAMPLING)
        tokens += sum(len(each.ids) for own in drawn for each in own)
    return tokens / (time.perf_counter() - begun)


def shown(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


if __name__ == "__main__":
    main()
