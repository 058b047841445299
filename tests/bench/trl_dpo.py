"""TRL's own DPOTrainer on the same rankings: what the packed recipe is measured against.

    CHATAPP_TEST_DATA=DIR python -m tests.bench.trl_dpo

It takes every pair of a ranking as a row of its own. Both sides use the same model, LoRA, pairs, learning
rate and number of epochs, take turns (A/B/A/B), and are compared by processor seconds of one thread and at
the loss on held-out rankings.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from chatapp.training.data import RankingRow

WAYS = ("packed", "packed, float32", "trl")
BATCH = 1
"""Rankings of one packed step; TRL makes an update of 8 pairs; the held-out losses are then equal."""


def train(
    policy: Any, rows: Sequence[RankingRow], folder: Path, epochs: float, rate: float, seed: int
) -> int:
    """Tune `policy` in place with TRL; how many steps it took."""
    from datasets import Dataset
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast
    from trl import DPOConfig, DPOTrainer

    class Stock(DPOTrainer):
        """The ids are there already."""

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

    pairs = [
        {
            "prompt_ids": list(row.prompt),
            "chosen_ids": list(row.replies[better]),
            "rejected_ids": list(row.replies[worse]),
        }
        for row in rows
        for better, worse in row.pairs()
    ]
    words = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"<pad>": 0, "<eos>": 1}, unk_token="<pad>")),
        pad_token="<pad>",
        eos_token="<eos>",
    )
    trainer = Stock(
        model=policy.model,
        args=DPOConfig(
            output_dir=str(folder),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            per_device_train_batch_size=8,
            num_train_epochs=epochs,
            learning_rate=rate,
            warmup_steps=0.1,
            beta=0.1,
            max_length=None,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            seed=seed,
            disable_tqdm=True,
        ),
        processing_class=words,
        train_dataset=Dataset.from_list(pairs),
    )
    return int(trainer.train().global_step)


def held_out_loss(policy: Any, rows: Sequence[RankingRow]) -> float:
    """Equation 7, averaged over the pairs of each ranking."""
    import torch

    from chatapp.training import dpo, evaluate

    gains = torch.tensor([each for own in evaluate.gains(policy, rows, half=False) for each in own])
    better, worse, weight = dpo.pair_indices(rows)
    losses = dpo.pair_losses(gains, torch.zeros_like(gains), better, worse, 0.1, 0.0)
    return float((losses * weight).sum() / weight.sum())


def main() -> None:
    import torch

    from chatapp.core.paths import embedded_model
    from chatapp.engine.base import ModelSpec
    from chatapp.engine.tuning import TuningClient
    from chatapp.training import data, dpo
    from chatapp.training.model import load_policy
    from tests.bench import ranked, tastes

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=embedded_model())
    parser.add_argument("--folder", type=Path, default=Path("bench-runs"))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    engine = TuningClient(options.folder / "cache")
    spec = ModelSpec(options.model, "bench", threads=1)
    engine.load(spec)
    material = tastes.material(Path(os.environ["CHATAPP_TEST_DATA"]), "report", label=600, test=10, seed=7)
    bench = ranked.Bench(options.model, engine, spec, material, options.folder, 1, options)
    built = data.build(bench.groups("concise", 130, 0), engine)
    engine.close()
    rows, held = built.train.rankings[:100], built.held_out.rankings
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(options.rounds):
        for name in WAYS:
            policy = load_policy(options.model, seed=number)
            cpu = time.process_time()
            if name == "trl":
                steps = train(policy, rows, options.folder / "trl", 1, 3e-4, number)
            else:
                settings = dpo.DpoSettings(
                    epochs=1, batch=BATCH, supervised=0.0, mix=0.0, half=name == "packed", seed=number
                )
                folder = Path(tempfile.mkdtemp(dir=options.folder))
                steps = dpo.train(policy, rows, folder, settings).step
            times[name].append(time.process_time() - cpu)
            line = {
                "trainer": name,
                "round": number + 1,
                "rankings": len(rows),
                "pairs": sum(len(row.pairs()) for row in rows),
                "steps": steps,
                "cpu_seconds": times[name][-1],
                "held_out_loss": held_out_loss(policy, held),
                "held_out_rankings": len(held),
            }
            print(json.dumps(line), flush=True)
    for name in WAYS[:-1]:
        ratios = [theirs / own for theirs, own in zip(times["trl"], times[name], strict=True)]
        print(
            f"{name}: {statistics.median(ratios):.1f} times as fast ({min(ratios):.1f} to {max(ratios):.1f})"
        )


if __name__ == "__main__":
    main()
