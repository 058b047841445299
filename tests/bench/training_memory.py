"""How much memory a DPO run takes, beside what it said beforehand.

    CHATAPP_TEST_DATA=DIR python -m tests.bench.training_memory
    CHATAPP_TEST_DATA=DIR python -m tests.bench.training_memory --model FILE --max-memory 2.5GB

Runs `chatapp train dpo` in a fresh process for each: without --model the embedded one and a random llama
of about 100M parameters that is made for this. One JSON line each: `peak_gib` of the training process,
`all_gib` of its engines too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.bench.kill_and_resume import rankings_file


def made(path: Path) -> Path:
    """A random llama with 12 layers of 832: 100M parameters in F16, spread as models are before training."""
    from tests.training.architectures import Shape, make_shape

    if not path.exists():
        shape = Shape("llama", width=832, layers=12, heads=13, kv_heads=13, head=64, feed=2240, gain=0.6)
        make_shape(path, shape, context=1024)
    return path


def resident(process: psutil.Process) -> int:
    """Bytes that it and the processes that it began take now; pages that they share count for each."""
    found = 0
    with suppress(psutil.NoSuchProcess):
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                found += each.memory_info().rss
    return found


def run(model: Path, file: Path, home: Path, steps: int, limit: str | None) -> dict[str, Any]:
    """What `chatapp train dpo` says beforehand of its memory, and what it took."""
    (home / "config").mkdir(parents=True, exist_ok=True)
    # Replies of a random model do not end by themselves, and are not what is measured here.
    (home / "config" / "config.toml").write_text("[sampling]\nmax_tokens = 8\n")
    environment = {**os.environ, "CHATAPP_HOME": str(home), "OMP_NUM_THREADS": "1"}
    arguments = ["dpo", "--model", str(model), "--data", str(file), "--max-steps", str(steps), "--json"]
    arguments += ["--max-memory", limit] if limit else []
    heard = home / "progress.jsonl"
    with heard.open("w") as errors:
        process = psutil.Popen(
            [sys.executable, "-m", "chatapp", "train", *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        )
        most = 0
        while process.poll() is None:
            most = max(most, resident(process))
            time.sleep(0.1)
        output, _ = process.communicate()
    told = heard.read_text()
    if process.returncode:
        raise SystemExit(told[-500:])
    result = json.loads(output)
    said = re.search(r"needs about ([0-9.]+) GiB", told)
    assert said is not None
    return {
        "model": model.name,
        "bytes": model.stat().st_size,
        "max_memory": limit,
        "steps": result["steps"],
        "estimate_gib": float(said[1]),
        "peak_gib": round(result["peak_memory_bytes"] / 2**30, 2),
        "all_gib": round(most / 2**30, 2),
        "seconds": result["seconds"],
        "reason": result["reason"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rankings", type=int, default=60)
    parser.add_argument("--max-steps", type=int, default=6)
    parser.add_argument("--folder", type=Path, default=Path("bench-runs"))
    parser.add_argument("--model", type=Path, action="append", help="a GGUF file; may be repeated")
    parser.add_argument("--max-memory", metavar="SIZE")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = options.folder.absolute()
    from chatapp.core.paths import embedded_model

    file = rankings_file(folder, options.rankings)
    for model in options.model or (embedded_model(), made(folder / "random-100m.gguf")):
        home = folder / f"home-{model.stem}"
        print(json.dumps(run(model, file, home, options.max_steps, options.max_memory)), flush=True)


if __name__ == "__main__":
    main()
