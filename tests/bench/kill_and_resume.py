"""Whether a training that is killed again and again ends where an uninterrupted one ends.

    CHATAPP_TEST_DATA=DIR python -m tests.bench.kill_and_resume --methods dpo rloo ppo --kills 20

Runs `chatapp train METHOD` on the same rankings twice in folders of its own: once left alone, once killed
(SIGKILL to the trainer and its engine) at random moments and continued with `--resume last`. Both adapters
are then compared: the largest difference of a weight, and the loss on held-out rankings.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tests.bench import ranked, tastes, trl_dpo


def rankings_file(folder: Path, count: int) -> Path:
    """Rankings by the scripted judge, as `chatapp rankings export` writes them."""
    from chatapp.core.paths import embedded_model
    from chatapp.engine.base import ModelSpec
    from chatapp.engine.tuning import TuningClient
    from chatapp.preferences.formats.save import save

    engine = TuningClient(folder / "cache")
    spec = ModelSpec(embedded_model(), "bench", threads=1)
    engine.load(spec)
    material = tastes.material(Path(os.environ["CHATAPP_TEST_DATA"]), "report", label=600, test=10, seed=7)
    bench = ranked.Bench(embedded_model(), engine, spec, material, folder, 1, argparse.Namespace())
    file = folder / "rankings.jsonl"
    save(file, bench.groups("concise", count, 0), "rankings")
    engine.close()
    return file


def train(home: Path, arguments: list[str], kill_after: float | None) -> dict[str, Any] | None:
    """One process; its result, or None when it was killed `kill_after` seconds after its first step."""
    environment = {**os.environ, "CHATAPP_HOME": str(home), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "chatapp", "train", *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stderr is not None
    timer = None
    said = ""
    for line in process.stderr:
        said = line
        if kill_after is not None and timer is None and line.startswith("{") and json.loads(line)["step"]:
            timer = threading.Timer(kill_after, os.killpg, (process.pid, signal.SIGKILL))
            timer.start()
    out = process.stdout.read()
    code = process.wait()
    if timer is not None:
        timer.cancel()
    if code == -signal.SIGKILL:
        return None
    if code:
        raise SystemExit(f"train ended with {code}: {said}")
    return dict(json.loads(out))


def difference(first: Path, second: Path) -> float:
    """Largest difference of a weight between two adapter files."""
    import numpy as np
    from gguf import GGUFReader

    one = {tensor.name: np.array(tensor.data) for tensor in GGUFReader(first).tensors}
    other = {tensor.name: np.array(tensor.data) for tensor in GGUFReader(second).tensors}
    assert one.keys() == other.keys()
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def loss(adapter: Path, file: Path) -> float:
    """Of DPO on the held-out rankings of `file`."""
    from chatapp.core.paths import embedded_model
    from chatapp.engine.base import ModelSpec
    from chatapp.engine.tuning import TuningClient
    from chatapp.preferences.formats.load import load
    from chatapp.training import data
    from chatapp.training.model import load_policy

    engine = TuningClient(adapter.parent)
    engine.load(ModelSpec(embedded_model(), "bench", threads=1))
    built = data.build(list(load(file).groups), engine)
    engine.close()
    return trl_dpo.held_out_loss(load_policy(embedded_model(), adapter=adapter), built.held_out.rankings)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", default=["dpo", "rloo", "ppo"])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rankings", type=int, default=60)
    parser.add_argument("--longest", type=float, default=25.0, help="seconds between a start and its kill")
    parser.add_argument("--folder", type=Path, default=Path("bench-runs"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = options.folder.absolute()
    file = rankings_file(folder, options.rankings)
    when = random.Random(options.seed)
    for method in options.methods:
        begin = [method, "--data", str(file), "--seed", "0"]
        alone_home, killed_home = folder / f"{method}-alone", folder / f"{method}-killed"
        alone = train(alone_home, begin, None)
        killed = None
        kills = 0
        while killed is None:
            wait = when.uniform(0.0, options.longest) if kills < options.kills else None
            killed = train(killed_home, begin if kills == 0 else ["--resume", "last"], wait)
            kills += killed is None
        assert alone is not None
        adapters = [
            home / "data" / "adapters" / result["adapter"] / "adapter.gguf"
            for home, result in ((alone_home, alone), (killed_home, killed))
        ]
        line = {
            "method": method,
            "kills": kills,
            "steps": [alone["steps"], killed["steps"]],
            "largest_weight_difference": difference(*adapters),
            "held_out_loss": [loss(each, file) for each in adapters],
            "verdicts_equal": alone["reason"] == killed["reason"],
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
