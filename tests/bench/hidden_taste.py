"""Does a training bring out a taste that only a scripted judge knows?

    CHATAPP_TEST_DATA=DIR python -m tests.bench.hidden_taste --set rloo.beta=0.05
    CHATAPP_TEST_DATA=DIR python -m tests.bench.hidden_taste --part report --method auto --label-seeds 0 1 2
    CHATAPP_TEST_DATA=DIR python -m tests.bench.hidden_taste --part report --rounds 3 --tastes concise

The judge ranks four replies to each of 100 prompts with a quarter of its comparisons the wrong way round
(see tastes.py). The tuned model and the base then answer 200 prompts of other dialogues, twice each; the
judge, without noise, says which answer is better, ties half. Its order of comparing cannot matter: it
scores each reply alone. Settings are chosen on `--part dev`; `report` holds other dialogues. One JSON object
a training goes to --out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from chatapp.core.paths import embedded_model, replay_dialogues
from chatapp.core.types import Group, GroupReply, Turn
from chatapp.engine.base import AdapterSpec, ModelSpec
from chatapp.engine.tuning import TuningClient
from chatapp.session.round_data import openings
from tests.bench import tastes, trl_dpo
from tests.bench.ranked import Bench
from tests.training.rows import best_replies

METHODS = ("auto", "sft_top", "sft_edits", "best_of_4", "dpo_plain", "dpo", "rloo", "ppo", "trl_dpo")


def figures(taste: str, tuned: Sequence[Sequence[Any]], base: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Wins with their interval over prompts, and what may not be lost."""
    from chatapp.training.evaluate import behaviour, bootstrap, mean

    marks = [
        mean([tastes.compare(taste, a.text, b.text) for a, b in zip(ours, theirs, strict=True)])
        for ours, theirs in zip(tuned, base, strict=True)
    ]
    wins = bootstrap(marks, mean)

    def looks(side: Sequence[Sequence[Any]]) -> dict[str, float]:
        columns = [
            behaviour([each.text for each in own], [each.finish_reason == "stop" for each in own])
            for own in zip(*side, strict=True)
        ]
        return {name: statistics.mean(asdict(each)[name] for each in columns) for name in asdict(columns[0])}

    ours, theirs = looks(tuned), looks(base)
    return {
        "wins": wins.value,
        "wins_low": wins.low,
        "wins_high": wins.high,
        "prompts": wins.n,
        "distinct_ratio": ours["distinct"] / max(theirs["distinct"], 1e-9),
        "duplicates_more": ours["duplicates"] - theirs["duplicates"],
        "length_ratio": ours["words"] / max(theirs["words"], 1e-9),
        "short": ours["short"],
        "short_base": theirs["short"],
        "unfinished": ours["unfinished"],
        "hidden": statistics.mean(
            max(tastes.TASTES[taste](each.text), -40.0) for own in tuned for each in own
        ),
        "hidden_base": statistics.mean(
            max(tastes.TASTES[taste](each.text), -40.0) for own in base for each in own
        ),
    }


def replay(engine: TuningClient) -> Any:
    """The general dialogue that `chatapp train` mixes in: nine tenths of what is shipped."""
    from chatapp.training import data

    lines = replay_dialogues().read_text(encoding="utf-8").splitlines()
    talks = [
        tuple(Turn(each["role"], each["content"]) for each in json.loads(line)["messages"]) for line in lines
    ]
    return [row for row in data.conversation_rows(talks, engine) if not data.is_held_out(row.key, 0.1)]


def edits(bench: Bench, taste: str, groups: Sequence[Group], count: int = 5) -> list[Group]:
    """What the judge would have written: the best of 16 more replies, by its taste."""
    prompts = [group.prompt for group in groups[:count]]
    drawn = bench.answers(prompts, [3], samples=16)
    found = []
    for group, own in zip(groups, drawn, strict=False):
        best = max((each.text.strip() for each in own), key=tastes.TASTES[taste])
        replies = (GroupReply(best, "edit"), *group.replies)
        found.append(Group(group.prompt, replies, demonstration=0))
    return found


def train(
    bench: Bench,
    method: str,
    taste: str,
    rankings: int,
    label_seed: int,
    base: Any,
    start: Path | None,
    number: int,
    judged: list[Group],
) -> Any:
    """Training `number` from the judge's rankings, its figures, and the adapter it left. `judged` holds those
    of the rounds before and gets those of this one; fresh ones count more, as in `chatapp train`."""
    import torch

    from chatapp.training import auto, data, evaluate, sft
    from chatapp.training.export import write_adapter
    from chatapp.training.freshness import freshness
    from chatapp.training.model import load_policy
    from chatapp.training.sampler import EngineSampler
    from chatapp.training.settings import Material

    torch.set_num_threads(bench.threads)
    name = f"{method}-{taste}-{rankings}-{label_seed}-round{number}"
    folder = bench.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    lineage = [f"round{before}" for before in range(number - 1, 0, -1)]
    writer = None if start is None else AdapterSpec(lineage[0], start)
    bench.engine.set_adapter(writer)
    judged += bench.groups(taste, rankings, label_seed, writer)
    groups = edits(bench, taste, judged) if method == "sft_edits" else judged
    begun, cpu = time.monotonic(), time.process_time()
    built = data.build(
        groups,
        bench.engine,
        share=data.HELD_OUT if method == "auto" else 0.0,
        weight=freshness(groups, lineage),
    )
    mix = replay(bench.engine)
    untouched = data.conversation_rows(bench.material.untouched, bench.engine)
    policy = load_policy(bench.model, seed=label_seed, adapter=start)
    sampler = EngineSampler([bench.engine], folder / "rollout.gguf")
    settings = replace(settings_from(bench.options, label_seed), chat=bench.first)
    trainer = auto.Trainer(
        policy,
        sampler,
        Material(built, mix, untouched, openings(untouched)),
        folder,
        settings,
        progress=listener(name),
        later_round=start is not None,
    )
    extra: dict[str, Any] = {}
    if method == "auto":
        outcome = trainer.run()
        extra = {
            "method_taken": outcome.method,
            "reason": outcome.verdict.reason,
            "tried": outcome.tried,
            "reward_agrees": str(outcome.reward_accuracy),
            "judge_agrees": str(outcome.verdict.evidence.judge),
            "cross_validated": str(outcome.verdict.evidence.reward),
        }
    elif method == "sft_top":
        rows = best_replies(built.train.rankings)
        sft.train(policy, rows, folder / "sft", replace(settings.sft, epochs=2), mix=mix)
    elif method == "sft_edits":
        trainer.supervised()
    elif method == "dpo_plain":
        trainer.settings = replace(settings, dpo=replace(settings.dpo, supervised=0.0, mix=0.0))
        trainer.dpo()
    elif method == "trl_dpo":
        trl_dpo.train(policy, built.train.rankings, folder / "trl", 2, 3e-4, label_seed)
    elif method != "best_of_4":
        getattr(trainer, method)()
    seconds, cpu_seconds = time.monotonic() - begun, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if method == "best_of_4":
        tuned = best_of_4(bench, trainer)
    else:
        sampler.publish(policy)
        tuned = bench.answers(bench.material.test, (1, 2))
    with policy.reference():
        before = evaluate.losses(policy.model, untouched)
    after = evaluate.losses(policy.model, untouched)
    adapter = write_adapter(policy, folder / "adapter.gguf", {})
    bench.engine.set_adapter(None)
    if method in ("rloo", "ppo", "best_of_4"):
        # How well the leader knows the judge's mind on replies that it was not trained on, without noise.
        extra["reward_accuracy"] = knows(bench, trainer, taste)
    result = {
        "method": method,
        "taste": taste,
        "rankings": rankings,
        "label_seed": label_seed,
        "decided": built.rankings,
        **figures(taste, tuned, base),
        "perplexity_ratio": evaluate.perplexity_ratio(after, before).value,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_memory": peak,
        "steps": trainer.steps,
        **extra,
    }
    return result, adapter


def best_of_4(bench: Bench, trainer: Any) -> list[list[Any]]:
    """Of four replies of the base, the one that the reward model likes best."""
    from chatapp.training.data import RankingRow

    chosen = []
    drawn = bench.answers(bench.material.test, (1, 2), samples=4)
    encoded = [bench.engine.encode(each).ids for each in bench.material.test]
    for prompt, own in zip(encoded, drawn, strict=True):
        picked = []
        for four in (own[:4], own[4:]):
            row = RankingRow(tuple(prompt), tuple(each.ids for each in four), (0,) * 4)
            scores = trainer.led().score([row])[0]
            picked.append(four[scores.index(max(scores))])
        chosen.append(picked)
    return chosen


def knows(bench: Bench, trainer: Any, taste: str) -> float:
    """Pair accuracy of the leading reward model on the base's replies to test prompts, by the noiseless
    judge."""
    from chatapp.training import data, evaluate, reward

    bench.engine.set_adapter(None)
    drawn = bench.answers(bench.material.test[:80], (5,), samples=4)
    judge = tastes.Judge(taste, random.Random(0), flips=0.0)
    groups = [
        Group(
            prompt, tuple(GroupReply(each.text.strip()) for each in own), judge.order([e.text for e in own])
        )
        for prompt, own in zip(bench.material.test, drawn, strict=False)
    ]
    rows = data.build(groups, bench.engine, share=0.0).train.rankings
    return evaluate.mean(reward.pair_accuracy(trainer.led().score(rows), rows))


def settings_from(options: argparse.Namespace, seed: int) -> Any:
    """What `chatapp train` would take on this machine, with what --set changes (`rloo.beta=0.05`)."""
    from chatapp.training import settings as training
    from chatapp.training.base import half_precision_pays

    settings = training.Settings(seed=seed)
    if not half_precision_pays():
        settings = settings.in_float32()
    for each in options.set:
        key, value = each.split("=")
        *path, last = key.split(".")
        if path:
            inner = replace(getattr(settings, path[0]), **{last: json.loads(value)})
            settings = replace(settings, **{path[0]: inner})
        else:
            settings = replace(settings, **{last: json.loads(value)})
    return replace(
        settings,
        **{
            name: replace(getattr(settings, name), seed=seed)
            for name in ("sft", "reward", "dpo", "rloo", "ppo")
        },
    )


def listener(name: str) -> Any:
    def show(event: Any) -> None:
        if event.note or event.step % 8 == 0:
            figures = " ".join(f"{key} {value:.3f}" for key, value in event.metrics.items())
            print(f"{name} {event.stage} {event.step}/{event.steps} {figures} {event.note}", file=sys.stderr)

    return show


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=embedded_model())
    parser.add_argument("--method", nargs="+", default=["auto"], choices=METHODS)
    parser.add_argument("--tastes", nargs="+", default=list(tastes.TASTES), choices=list(tastes.TASTES))
    parser.add_argument("--rankings", nargs="+", type=int, default=[100])
    parser.add_argument("--label-seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--part", default="dev", choices=("dev", "report"))
    parser.add_argument(
        "--material-seed", type=int, default=8, help="which dialogues are in which part, and in what order"
    )
    parser.add_argument("--test-prompts", type=int, default=200)
    parser.add_argument(
        "--rounds", type=int, default=1, help="each round starts from the adapter of the one before"
    )
    parser.add_argument(
        "--start",
        type=Path,
        metavar="ADAPTER",
        help="what an earlier run left: begin with round 2",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("hidden_taste.jsonl"))
    parser.add_argument("--folder", type=Path, default=Path("bench-runs"))
    options = parser.parse_args()
    source = Path(os.environ["CHATAPP_TEST_DATA"])
    engine = TuningClient(options.folder / "cache")
    spec = ModelSpec(options.model, "bench", threads=options.threads)
    engine.load(spec)
    try:
        material = tastes.material(
            source, options.part, label=600, test=options.test_prompts, seed=options.material_seed
        )
        bench = Bench(options.model, engine, spec, material, options.folder, options.threads, options)
        base = bench.answers(material.test, (1, 2))
        for rankings in options.rankings:
            for seed in options.label_seeds:
                for taste in options.tastes:
                    for method in options.method:
                        start = options.start
                        first = 1 if options.start is None else 2
                        engine.set_adapter(None)
                        judged = bench.groups(taste, rankings, seed) if start else []
                        for number in range(first, first + options.rounds):
                            engine.set_adapter(None)
                            result, start = train(
                                *(bench, method, taste, rankings, (seed + number - 1) % 3),
                                *(base, start, number, judged),
                            )
                            line = {
                                **result,
                                "round": number,
                                "part": options.part,
                                "set": options.set,
                                "material_seed": options.material_seed,
                            }
                            with options.out.open("a") as file:
                                file.write(json.dumps(line) + "\n")
                            print(json.dumps(line))
    finally:
        engine.close()


if __name__ == "__main__":
    main()
