"""Builds the guide: data, tokenizer, training, GGUF, evaluation, card.

    python models/default/recipe/build.py --data DIR --out models/default
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

STAGES = ("corpus", "tokenizer", "pools", "train", "gguf", "prefer",
          "evaluate", "card")
GENERATED = {
    "app": 70000,
    "noisy": 30000,
    "contrast": 12000,
    "talk": 40000,
    "limits": 34000,
    "errand": 8000,
    "drills": 34000,
    "recall": 50000,
    "passing": 40000,
    "mixed": 4000,
}
GENERATED_TEST = 200


def corpus_stage(args: argparse.Namespace, work: Path) -> None:
    """Read the open dialogues and compose our own."""
    import corpus
    import sources
    from decontaminate import Decontaminator, probe_turns
    from generate import Generator

    if args.public:
        sources.download(args.data)
    data = corpus.read(args.data)
    clean = Decontaminator(probe_turns(args.probes)).clean
    made = Generator(args.seed, corpus.lines([row for train, _ in data.values() for row in train], args.seed))
    dropped = 0
    for kind, count in GENERATED.items():
        rows = [made.dialogue(kind) for _ in range(int(count * args.scale) + GENERATED_TEST)]
        kept = [r for r in rows if clean(r)]
        dropped += len(rows) - len(kept)
        data[kind] = (kept[GENERATED_TEST:], kept[:GENERATED_TEST])
    report: dict = {"dropped_near_probes": dropped, "dialogues": {}}
    for name, (train, test) in data.items():
        report["dialogues"][name] = [len(train), len(test)]
        for part, rows in (("train", train), ("test", test)):
            with (work / f"{name}.{part}.jsonl").open("w") as f:
                f.writelines(json.dumps(_plain(r)) + "\n" for r in rows)
    (work / "corpus.json").write_text(json.dumps(report, indent=1))


def _plain(dialogue: list[tuple[str, str]]) -> list[list[str]]:
    from dialogues.meant import Known

    return [[role, text, *filter(None, [Known.of(text)])] for role, text in dialogue]


def _rows(path: Path) -> list[list[tuple[str, str]]]:
    from dialogues.meant import Copied, Meant

    kinds = {"user": Meant, "assistant": Copied}
    return [
        [(role, kinds[role](text, *known) if known else text) for role, text, *known in json.loads(line)]
        for line in path.read_text().splitlines()
    ]


def tokenizer_stage(args: argparse.Namespace, work: Path) -> None:
    """Learn the byte pairs on a sample of every source, or take those of the
    guide that is trained on."""
    import start
    from tokenizer import train_tokenizer

    if args.start:
        start.tokenizer(args.start, work / "tokenizer.json")
        return

    texts = []
    r = random.Random(args.seed)
    for path in sorted(work.glob("*.train.jsonl")):
        rows = _rows(path)
        r.shuffle(rows)
        texts += [t for row in rows[:9000] for _, t in row]
    train_tokenizer(texts, 4096, work / "tokenizer.json")


def pools_stage(args: argparse.Namespace, work: Path) -> None:
    """Turn every source into token arrays."""
    from packing import ANSWERED, Pool
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    sizes: dict[str, int] = {}
    meanings: dict[str, int] = {}
    for path in sorted(work.glob("*.t*.jsonl")):
        if not path.name.endswith((".train.jsonl", ".test.jsonl")):
            continue
        pool = Pool.build(tokenizer, _rows(path), meanings)
        if path.name.split(".")[0] in ANSWERED:
            pool.answers_only()
        pool.save(path.with_suffix(".npz"))
        sizes[path.stem] = len(pool.ids)
    (work / "pools.json").write_text(json.dumps(sizes, indent=1))
    (work / "meanings.json").write_text(json.dumps(meanings))


def train_stage(args: argparse.Namespace, work: Path) -> None:
    """Train, or go on from the latest checkpoint."""
    import start
    import torch
    from model import Shape
    from packing import Pool
    from train import Plan, train

    torch.set_num_threads(args.threads)
    pools = {p.name.split(".")[0]: Pool.load(p) for p in sorted(work.glob("*.train.npz"))}
    meanings = len(json.loads((work / "meanings.json").read_text()))
    begun = start.read(args.start) if args.start else None
    plan = Plan(args.tokens, args.seed, meanings=meanings, leg=begun is not None,
                before=begun.tokens if begun else 0, peak=args.peak, dropout=args.dropout)
    train(pools, Shape(), plan, work, compiled=not args.eager, start=begun)


def gguf_stage(args: argparse.Namespace, work: Path) -> None:
    """Write the F16 and the Q8_0 file."""
    from gguf_write import write
    from train import load, trained
    model, state = load(work / "latest.pt")
    for kind in ("F16", "Q8_0"):
        write(model, work / "tokenizer.json", work / f"guide-{kind.lower()}.gguf", kind,
              trained(state), state["seconds"])


def prefer_stage(args: argparse.Namespace, work: Path) -> None:
    """Take the file through the application's own loop."""
    args.out.mkdir(parents=True, exist_ok=True)
    subprocess.run([args.llama_python, str(HERE / "prefer.py"),
                    "--model", str(work / "guide-q8_0.gguf"),
                    "--out", str(args.out / "guide.gguf"),
                    "--work", str(work / "prefer"),
                    "--probes", str(args.probes)], check=True)


def evaluate_stage(args: argparse.Namespace, work: Path) -> None:
    """Measure the file before and after the preference stage."""
    import evaluate
    result = evaluate.measure(work, args.out / "guide.gguf", args.probes,
                              args.threads, args.llama_python)
    (work / "evaluation.json").write_text(json.dumps(result, indent=1))


def card_stage(args: argparse.Namespace, work: Path) -> None:
    """Write CARD.md from what was measured."""
    import card

    text = card.render(work, args.out / "guide.gguf", args.note)
    (args.out / "CARD.md").write_text(text)


def main() -> None:
    """Run the stages that are not done yet."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--work", type=Path, default=Path("guide-work"))
    p.add_argument("--tokens", type=int, default=115_000_000)
    p.add_argument("--from", dest="start", type=Path, help="go on from this guide file, not from nothing")
    p.add_argument("--peak", type=float, default=1.0, help="share of the learning rates to begin with")
    p.add_argument("--dropout", type=float, default=0.1, help="share left out of what each half layer adds")
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--scale", type=float, default=1.0, help="share of the generated dialogues to make")
    p.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    p.add_argument("--eager", action="store_true", help="do not compile")
    p.add_argument("--public", action="store_true", help="download the public sources into --data first")
    p.add_argument("--probes", type=Path, default=HERE / "probes")
    p.add_argument(
        "--llama-python", default=sys.executable, help="a python that has chatapp[train], for the "
                   "preference stage and the probes"
    )
    p.add_argument("--note", default="", help="a line for the card")
    p.add_argument("--stage", choices=STAGES, action="append", help="run this stage again (may be repeated)")
    args = p.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    # the application of this checkout, for the stages that use it
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(HERE.parents[2]), os.environ.get("PYTHONPATH")]))
    for stage in STAGES:
        done = args.work / f"{stage}.done"
        if args.stage and stage not in args.stage:
            continue
        if not args.stage and done.exists():
            print(f"{stage}: done before", flush=True)
            continue
        began = time.time()
        print(f"{stage} ...", flush=True)
        globals()[f"{stage}_stage"](args, args.work)
        seconds = round(time.time() - began, 1)
        done.write_text(
            json.dumps(
                {
                    "seconds": seconds,
                    "tokens": args.tokens,
                    "seed": args.seed,
                    "machine": platform.machine(),
                    "threads": args.threads,
                }
            )
        )
        print(f"{stage}: {seconds} s", flush=True)


if __name__ == "__main__":
    main()
