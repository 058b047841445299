"""How fast replies are sampled for training: the engine against torch's own generate, A/B/A/B.

    python tests/bench/rollout_speed.py [MODEL.gguf] [--rounds 5] [--threads 1] [--engines 2]

Both sample with the same adapter on, at temperature 1 with no filter, 4 replies of at most 64 tokens to each
of 16 prompts. torch takes all 64 in one batch, left-padded, float32: its fastest way. Tokens are those of the
replies, up to and including the end. Seconds of the wall clock and of the processor are both given: on a busy
machine only the second means anything. `engines`: several beside each other, as `chatapp train` has them for
a small model.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PROMPTS = (
    "How do I rank replies?",
    "What is your name?",
    "I want a table for two in Paris.",
    "Tell me about football.",
    "hi",
    "What does Ctrl+R do?",
    "I like jazz music, do you?",
    "Can you book a flight?",
    "I am looking for a restaurant in San Jose that serves Italian food please.",
    "Do you like to watch movies at home?",
    "Thanks, that is all.",
    "Which keys do I press to stop a reply?",
    "I need a bus from Fresno to Sacramento on the 5th.",
    "What is the weather like today?",
    "Did you know that the moon has quakes?",
    "Where are my chats stored?",
)
SAMPLES, MOST = 4, 64
GUIDE = Path(__file__).parents[2] / "models" / "default" / "guide.gguf"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=GUIDE)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--engines", type=int, default=2)
    arguments = parser.parse_args()
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

    import torch

    from chatapp.core.types import Turn
    from chatapp.engine.base import ModelSpec
    from chatapp.engine.tuning import TuningClient
    from chatapp.training.model import load_policy
    from chatapp.training.sampler import EngineSampler

    torch.set_num_threads(arguments.threads)
    policy = load_policy(arguments.model)
    generator = torch.Generator().manual_seed(0)
    for _, _, b in policy.lora():
        b.data.normal_(std=0.003, generator=generator)
    with tempfile.TemporaryDirectory() as folder:
        engines = [TuningClient(Path(folder)) for _ in range(arguments.engines)]
        for engine in engines:
            engine.load(ModelSpec(arguments.model.absolute(), "bench", threads=arguments.threads))
        prompts = [engine.encode([Turn("user", text)]).ids for text in PROMPTS]
        end = next(reversed(engine.encode([Turn("user", "a"), Turn("assistant", "b")]).ids[:-1]))
        alone = EngineSampler(engines[-1:], Path(folder) / "adapter.gguf")
        all_of_them = EngineSampler(engines, Path(folder) / "adapter.gguf")
        all_of_them.publish(policy)
        ways = {
            "engine": lambda seed: _engine(alone, engines, prompts, seed),
            "engines": lambda seed: _engine(all_of_them, engines, prompts, seed),
            "torch": lambda seed: _torch(policy.model, prompts, end, seed),
        }
        speeds = _compare(ways, arguments.rounds)
        for engine in engines:
            engine.close()
    for clock in ("wall", "processor"):
        theirs = speeds["torch", clock]
        for name in ("engine", "engines"):
            ours = speeds[name, clock]
            ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
            print(
                f"{clock:10} {name:8}{statistics.median(ours):7.0f} tok/s"
                f"   torch {statistics.median(theirs):7.0f} tok/s"
                f"   ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            )
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {arguments.threads} thread(s), "
        f"{arguments.engines} engines, "
        f"load {os.getloadavg()[0]:.1f}"
    )


def _compare(
    ways: dict[str, Callable[[int], tuple[int, float]]], rounds: int
) -> dict[tuple[str, str], list[float]]:
    """Tokens a second of each way by each clock, in turn; the first round warms up."""
    speeds: dict[tuple[str, str], list[float]] = {
        (name, clock): [] for name in ways for clock in ("wall", "processor")
    }
    for seed in range(rounds + 1):
        for name, way in ways.items():
            begun = time.perf_counter()
            tokens, processor = way(seed)
            wall = time.perf_counter() - begun
            if seed:
                speeds[name, "wall"].append(tokens / wall)
                speeds[name, "processor"].append(tokens / processor)
    return speeds


def _engine(
    sampler: Any, engines: Sequence[Any], prompts: Sequence[Sequence[int]], seed: int
) -> tuple[int, float]:
    from chatapp.core.types import Sampling

    settings = Sampling(
        seed=seed, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, repeat_penalty=1.0, max_tokens=MOST
    )
    before = time.process_time() + _processor(engines)
    drawn = sampler.rollout(prompts, SAMPLES, settings)
    spent = time.process_time() + _processor(engines) - before
    return sum(len(sample.ids) for group in drawn for sample in group), spent


def _processor(engines: Sequence[Any]) -> float:
    """Processor seconds of their processes so far."""
    ticks = 0
    for each in engines:
        fields = Path(f"/proc/{each.pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _torch(model: Any, prompts: Sequence[Sequence[int]], end: int, seed: int) -> tuple[int, float]:
    import torch

    torch.manual_seed(seed)
    width = max(map(len, prompts))
    rows = [prompt for prompt in prompts for _ in range(SAMPLES)]
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    begun = time.process_time()
    with torch.inference_mode():
        drawn = model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=MOST,
            eos_token_id=end,
            pad_token_id=0,
            use_cache=True,
        )
    spent = time.process_time() - begun
    replies = [row.tolist() for row in drawn[:, width:]]
    return sum(row.index(end) + 1 if end in row else len(row) for row in replies), spent


if __name__ == "__main__":
    main()
