"""Measures a trained guide: held-out losses, probes, claims, samples."""
from __future__ import annotations

import filecmp
import json
import subprocess
import sys
from pathlib import Path

import torch
import torch.nn.functional as functional
from model import Guide
from packing import Pool
from score import SETS
from tokenizer import ASSISTANT_WEIGHT

HERE = Path(__file__).parent


@torch.no_grad()
def held_out(model: Guide, pool: Pool, most: int = 60000) -> dict:
    """Mean loss, in nats a token, of the replies and of all."""
    sums = {"assistant": [0.0, 0], "all": [0.0, 0]}
    for n in range(len(pool.docs) - 1):
        for s in pool.pieces(n, model.shape.context):
            ids = torch.from_numpy(pool.ids[s].astype("int64"))
            if len(ids) < 2:
                continue
            said = torch.from_numpy(
                pool.weights[s][1:] == ASSISTANT_WEIGHT)
            logits = model(ids[None])[0, :-1].float()
            loss = functional.cross_entropy(logits, ids[1:], reduction="none")
            sums["all"][0] += float(loss.sum())
            sums["all"][1] += len(loss)
            sums["assistant"][0] += float(loss[said].sum())
            sums["assistant"][1] += int(said.sum())
        if sums["all"][1] > most:
            break
    out = {k: round(a / max(1, n), 3) for k, (a, n) in sums.items()}
    return {**out, "tokens": sums["all"][1]}


def losses(work: Path, threads: int) -> dict:
    """Held-out losses of the latest checkpoint for every source."""
    from train import load
    torch.set_num_threads(threads)
    model, _ = load(work / "latest.pt")
    return {path.name.split(".")[0]: held_out(model, Pool.load(path))
            for path in sorted(work.glob("*.test.npz"))}


def _ask(python: str, *args: str) -> dict:
    """The JSON that one of the probe scripts prints."""
    done = subprocess.run([python, *args], capture_output=True, text=True,
                          check=True)
    return json.loads(done.stdout)


def measure(work: Path, gguf: Path, probes: Path, threads: int,
            python: str = sys.executable) -> dict:
    """Everything the card tells; `python` is one that has llama_cpp."""
    result = {"losses": losses(work, threads)}

    def score(file: Path, name: str) -> dict:
        return _ask(python, str(HERE / "score.py"), str(file), "--json",
                    "--probe", str(probes / f"{name}.jsonl"))

    for name in SETS:
        result[name] = score(gguf, name)
    before = work / "guide-q8_0.gguf"
    result["before"] = (
        result["fresh"] if filecmp.cmp(before, gguf, shallow=False) else
        score(before, "fresh"))
    result["talk"] = _ask(python, str(HERE / "talk_probe.py"), str(gguf))
    result["variety"] = _ask(python, str(HERE / "variety.py"), str(gguf))
    result["speed"] = _ask(python, "-m", "chatapp", "bench", "--json",
                           "-m", str(gguf))
    return result
