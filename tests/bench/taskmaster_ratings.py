"""Can a reward model learn what real people's thumbs say?

    CHATAPP_TEST_DATA=DIR python -m tests.bench.taskmaster_ratings --folder DIR

The thumbs of Taskmaster-4 (Google Research, CC BY 4.0; released with PERL, arXiv 2403.10704): a coffee-shop
dialogue, one next turn of the agent, and whether a person found it right. Five folds by the normalised first
user utterance: no such utterance is in two folds. The model that the chat ships with is adapted to the
dialogues of the same release (unlabelled; those that begin as a rated one does are left out), and
`training.rating` learns from the thumbs. TF-IDF with logistic regression runs beside it. What a stage
computed is kept in --folder. tests.bench.taskmaster_ppo then tunes the adapted model against the reward.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")

from chatapp.core.paths import embedded_model
from chatapp.core.types import Turn
from chatapp.engine.base import ModelSpec
from chatapp.engine.tuning import TuningClient
from chatapp.preferences.formats.load import load
from chatapp.training import overlap, rating, sft
from chatapp.training.base import Encoder, half_precision_pays
from chatapp.training.corruptions import Corruptor, normalised
from chatapp.training.data import RankingRow, SftRow, encode_reply, split_key
from chatapp.training.folds import folds
from chatapp.training.wording import plain

CONTEXT = 1024
ADAPT_TOKENS = 400
ADAPT_DIALOGUES = 1280
FREE = 1600
SPOILT = 3


@dataclass
class Thumb:
    turns: tuple[Turn, ...]
    reply: str
    good: bool
    key: str
    row: RankingRow


def thumbs(file: Path, encoder: Encoder) -> list[Thumb]:
    found: list[Thumb] = []
    for group in load(file, "taskmaster").groups:
        *turns, reply = plain([*group.prompt, Turn("assistant", group.replies[0].text)])
        ids = rating.encode(encoder, turns, reply.text, CONTEXT)
        if ids is not None:
            row = RankingRow(ids[0], (ids[1],), (0,))
            found.append(
                Thumb(tuple(turns), reply.text, group.replies[0].thumb > 0, split_key(group.prompt), row)
            )
    return found


def dialogues(file: Path) -> Iterator[tuple[Turn, ...]]:
    """Calls as turns of the assistant, answers as turns of the user: as the importer reads ratings."""
    with gzip.open(file, "rt") as lines:
        for line in lines:
            turns: list[Turn] = []

            def add(role: Any, text: str, turns: list[Turn] = turns) -> None:
                if turns and turns[-1].role == role:
                    turns[-1] = Turn(role, f"{turns[-1].text}\n{text}")
                elif text.strip():
                    turns.append(Turn(role, text))

            for utterance in json.loads(line)["utterances"]:
                add(utterance["speaker"], utterance["text"])
                events: list[tuple[str, str, Any]] = []
                for note in utterance["annotations"]:
                    if note["name"] in ("api_call", "api_response"):
                        events.append((note["name"], note["value"], {}))
                        continue
                    try:
                        said = json.loads(note["value"])
                    except ValueError:
                        said = note["value"]
                    events[-1] = (*events[-1][:2], said)
                for kind, name, said in events:
                    text = json.dumps({name: said}, ensure_ascii=False)
                    add("assistant" if kind == "api_call" else "user", text)
            yield plain(turns)


def adaptation_rows(talk: Sequence[tuple[Turn, ...]], encoder: Encoder) -> list[SftRow]:
    """As much of each dialogue as fits."""
    rows = []
    for turns in talk:
        encoded = encoder.encode(turns)
        end = min(len(encoded.ids), ADAPT_TOKENS)
        while end and not encoded.mask[end - 1]:
            end -= 1
        if any(encoded.mask[1:end]):
            rows.append(SftRow(tuple(encoded.ids[:end]), tuple(encoded.mask[:end])))
    return rows


def free_comparisons(
    talk: Sequence[tuple[Turn, ...]], encoder: Encoder, count: int
) -> list[tuple[tuple[Turn, ...], list[str], RankingRow]]:
    """Good replies, each before spoilt ones."""
    places = [(turns, at) for turns in talk for at in range(1, len(turns)) if turns[at].role == "assistant"]
    random.Random(1).shuffle(places)
    corruptor = Corruptor([turns[at].text for turns, at in places])
    found: list[tuple[tuple[Turn, ...], list[str], RankingRow]] = []
    for turns, at in places:
        if len(found) == count:
            break
        before, good = turns[:at], turns[at].text
        own = [turn.text for place, turn in enumerate(turns) if turn.role == "assistant" and place != at]
        spoilt = corruptor.corruptions(good, "\n".join(turn.text for turn in before), own, SPOILT)
        ids = rating.encode(encoder, before, good, ADAPT_TOKENS)
        if spoilt and ids is not None:
            # A reply's ids do not depend on what was said before it.
            asked = [Turn("user", "?")]
            opened = encoder.encode(asked).ids
            others = [encode_reply(encoder, asked, opened, each) for each in spoilt]
            row = RankingRow(ids[0], (ids[1], *others), (0, *(1 for _ in others)))
            found.append((before, [good, *spoilt], row))
    return found


def kept(file: Path, make: Callable[[], Any]) -> Any:
    """What `file` holds; made and written first where there is none."""
    if not file.exists():
        file.write_text(json.dumps(make()))
    return json.loads(file.read_text())


# Figures


def pairs_of(rows: Sequence[Thumb]) -> list[tuple[int, int]]:
    """(good, bad) with the same turns before them."""
    by_context: defaultdict[tuple[Turn, ...], list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        by_context[row.turns].append(at)
    return [
        (a, b) for own in by_context.values() for a in own for b in own if rows[a].good and not rows[b].good
    ]


def auc(scores: Any, good: Any, weights: Any = None) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(good, scores, sample_weight=weights))


def pair_accuracy(scores: Sequence[float], pairs: Sequence[tuple[int, int]], weights: Any = None) -> float:
    import numpy as np

    marks = [1.0 if scores[a] > scores[b] else 0.5 if scores[a] == scores[b] else 0.0 for a, b in pairs]
    return float(np.average(marks, weights=None if weights is None else [weights[a] for a, _ in pairs]))


def intervals(
    ours: Sequence[float], theirs: Sequence[float], rows: Sequence[Thumb], draws: int = 1000
) -> dict[str, list[float]]:
    """95% by resampling whole groups (Efron 1979), the same ones for both."""
    import numpy as np

    keys = sorted({row.key for row in rows})
    number = np.array([keys.index(row.key) for row in rows])
    good, pairs = np.array([row.good for row in rows]), pairs_of(rows)
    random_ = np.random.default_rng(0)
    found: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(draws):
        weights = np.bincount(random_.integers(len(keys), size=len(keys)), minlength=len(keys))[number]
        a, b = auc(ours, good, weights), auc(theirs, good, weights)
        p, q = pair_accuracy(ours, pairs, weights), pair_accuracy(theirs, pairs, weights)
        for name, value in (("auc", a), ("auc_lead", a - b), ("pairs", p), ("pairs_lead", p - q)):
            found[name].append(value)
    return {name: [round(float(x), 4) for x in np.quantile(v, (0.025, 0.975))] for name, v in found.items()}


# The baselines: words alone


def tf_idf(crossed: bool, rows: Sequence[Thumb], train: Sequence[int], test: Sequence[int]) -> list[float]:
    """TF-IDF of words and pairs of words of context and reply; `crossed`: which words of the last turns the
    reply takes up, by how the reply begins."""
    import scipy.sparse
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    def before(row: Thumb) -> str:
        if not crossed:
            return "\n".join(turn.text for turn in row.turns)
        own, opening = set(normalised(row.reply)), "_".join(normalised(row.reply)[:2])
        words = [
            word
            for turn in row.turns[-3:]
            if turn.role == "user"
            for word in dict.fromkeys(normalised(turn.text))
        ]
        return " ".join(f"{opening}|{word}|{int(word in own)}" for word in words)

    tables = []
    for text, pattern, most in (
        (before, r"\S+" if crossed else r"\w\w+", 1 if crossed else 2),
        (lambda r: r.reply, r"\w\w+", 2),
    ):
        vectors = TfidfVectorizer(token_pattern=pattern, ngram_range=(1, most), min_df=2, sublinear_tf=True)
        fitted = vectors.fit_transform([text(rows[at]) for at in train])
        tables.append((fitted, vectors.transform([text(rows[at]) for at in test])))
    fitted, asked = (scipy.sparse.hstack(each).tocsr() for each in zip(*tables, strict=True))
    model = LogisticRegression(C=1.0, max_iter=1000, class_weight="balanced")
    found: list[float] = model.fit(fitted, [rows[at].good for at in train]).decision_function(asked).tolist()
    return found


LogProbs = tuple[Sequence[Sequence[Sequence[float]]], Sequence[Sequence[Sequence[float]]]]
"""Of the tokens of each reply of each row: after what was said, and alone."""
Method = Callable[[Sequence[int], Sequence[int]], list[float]]
"""Numbers of the rows to learn from and of those to score -> scores."""


def crossed_folds(
    rows: Sequence[Thumb], method: Method, seeds: Sequence[int], labels: int | None = None
) -> list[list[float]]:
    """Out-of-fold scores, one list a seed. `labels`: learn from so many rows of the other folds only."""
    found = []
    for seed in seeds:
        of = folds([row.key for row in rows], 5, seed)
        scores = [0.0] * len(rows)
        for fold in range(5):
            train = [at for at in range(len(rows)) if of[at] != fold]
            test = [at for at in range(len(rows)) if of[at] == fold]
            if labels is not None:
                train = random.Random(f"{seed} {fold}").sample(train, labels)
            for at, score in zip(test, method(train, test), strict=True):
                scores[at] = score
        found.append(scores)
    return found


def table_row(
    name: str, rows: Sequence[Thumb], scored: Sequence[Sequence[float]], seeds: Sequence[int]
) -> dict[str, Any]:
    """AUC: mean over the folds and seeds. Pairs: mean over the seeds."""
    import numpy as np

    aucs, pairs = [], pairs_of(rows)
    for seed, scores in zip(seeds, scored, strict=True):
        of = folds([row.key for row in rows], 5, seed)
        for fold in range(5):
            own = [at for at in range(len(rows)) if of[at] == fold]
            aucs.append(auc([scores[at] for at in own], [rows[at].good for at in own]))
    result = {
        "name": name,
        "auc": round(float(np.mean(aucs)), 4),
        "auc_pooled": round(float(np.mean([auc(each, [row.good for row in rows]) for each in scored])), 4),
        "pairs": round(float(np.mean([pair_accuracy(each, pairs) for each in scored])), 4),
    }
    print(json.dumps(result), flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("bench-runs/taskmaster"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--few-seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--only", nargs="*", help="parts of the names of the rows to work out")
    parser.add_argument("--stop-after", choices=["adapt", "logprobs", "figures"], default="figures")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    source = Path(os.environ["CHATAPP_TEST_DATA"]) / "taskmaster"
    begun = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - begun:7.0f} s  {what}", flush=True)

    half = half_precision_pays()
    engine = TuningClient(options.folder / "cache")
    engine.load(ModelSpec(embedded_model(), "bench", threads=1))
    try:
        rated = thumbs(source / "tm4_reward_train.jsonl.gz", engine)
        keys = {row.key for row in rated}
        every = list(dialogues(source / "tm4_dialogs.jsonl.gz"))
        talk = [turns for turns in every if split_key(turns) not in keys]
        free = free_comparisons(talk, engine, FREE)
        say(
            f"{len(rated)} thumbs, {sum(row.good for row in rated)} up, {len(keys)} groups, "
            f"{len(pairs_of(rated))} pairs; {len(talk)} of {len(every)} dialogues; "
            f"{len(free)} free comparisons"
        )
        rows = [row.row for row in rated]
        spoilt = [row for _, _, row in free]
        rows_alone, spoilt_alone = rating.alone(engine, rows), rating.alone(engine, spoilt)
        policy = adapted(options.folder, talk, engine, half, say)
    finally:
        engine.close()
    if options.stop_after == "adapt":
        return

    def under(adapter: bool, rows: Sequence[RankingRow]) -> Callable[[], Any]:
        def make() -> Any:
            if adapter:
                return rating.reply_logprobs(policy, rows, half=half)
            with policy.reference():
                return rating.reply_logprobs(policy, rows, half=half)

        return make

    def stage(name: str, adapter: bool, rows: Sequence[RankingRow]) -> Any:
        found = kept(options.folder / f"{name}.json", under(adapter, rows))
        say(f"log-probabilities: {name}")
        return found

    own = stage("logprobs", True, rows), stage("logprobs-alone", True, rows_alone)
    base = stage("logprobs-base", False, rows), stage("logprobs-base-alone", False, rows_alone)
    of_free = stage("free", True, spoilt), stage("free-alone", True, spoilt_alone)
    if options.stop_after == "logprobs":
        return
    rarity = overlap.Rarity(turn.text for turns in talk for turn in turns)
    figures(rated, own, base, free, of_free, rarity, options, say)


def adapted(
    folder: Path, talk: Sequence[tuple[Turn, ...]], encoder: Encoder, half: bool, say: Callable[[str], None]
) -> Any:
    """The shipped model with a LoRA that learned the dialogues."""
    import torch

    from chatapp.training.export import write_adapter
    from chatapp.training.model import load_policy

    torch.set_num_threads(1)
    file = folder / "adapted.gguf"
    if file.exists():
        return load_policy(embedded_model(), adapter=file)
    rows = adaptation_rows(random.Random(0).sample(list(talk), ADAPT_DIALOGUES), encoder)
    policy = load_policy(embedded_model(), rank=32, alpha=64, seed=0)
    settings = sft.SftSettings(epochs=1, batch=8, learning_rate=2e-3, half=half)
    loop = sft.train(policy, rows, folder / "adapt", settings)
    write_adapter(policy, file, {})
    say(f"adapted in {loop.step} steps to {sum(len(row.ids) for row in rows)} tokens")
    return policy


def figures(
    rated: Sequence[Thumb],
    own: LogProbs,
    base: LogProbs,
    free: Sequence[tuple[tuple[Turn, ...], list[str], RankingRow]],
    of_free: LogProbs,
    rarity: overlap.Rarity,
    options: argparse.Namespace,
    say: Callable[[str], None],
) -> None:
    def rows_of(logprobs: LogProbs) -> list[rating.Rated]:
        return [
            rating.Rated(row.turns, row.reply, tuple(each), tuple(usual))
            for row, (each,), (usual,) in zip(rated, *logprobs, strict=True)
        ]

    def forest(rows: Sequence[rating.Rated], use: rating.Use, prior: Any = None) -> Method:
        def method(train: Sequence[int], test: Sequence[int]) -> list[float]:
            chosen = set(test)
            unlabelled = [row for at, row in enumerate(rows) if at not in chosen] if prior else ()
            model = rating.RatingModel(rarity, rating.RatingSettings(use=use), prior)
            model.fit([rows[at] for at in train], [rated[at].good for at in train], unlabelled)
            return model.score([rows[at] for at in test])

        return method

    results = []

    def measure(
        name: str, method: Method, seeds: Sequence[int], labels: int | None = None
    ) -> list[list[float]]:
        if options.only and not any(each in name for each in options.only):
            return []
        scored = crossed_folds(rated, method, seeds, labels)
        results.append(table_row(name, rated, scored, seeds))
        return scored

    rows = rows_of(own)
    seeds = options.seeds
    words = measure("TF-IDF", lambda a, b: tf_idf(False, rated, a, b), seeds)
    crossing = measure("TF-IDF, crossed", lambda a, b: tf_idf(True, rated, a, b), seeds)
    measure("forest: log-probabilities, base", forest(rows_of(base), "logprobs"), seeds)
    measure("forest: log-probabilities, adapted", forest(rows, "logprobs"), seeds)
    measure("forest: words", forest(rows, "words"), seeds)
    full = measure("forest: both, adapted", forest(rows, "both"), seeds)
    for name, other in (("TF-IDF", words), ("TF-IDF, crossed", crossing)):
        if full and other:
            say(f"beside {name} " + json.dumps(intervals(full[0], other[0], rated)))
    spoilt = [
        rating.Rated(turns, text, tuple(each), tuple(usual))
        for (turns, texts, _), scores, alone in zip(free, *of_free, strict=True)
        for text, each, usual in zip(texts, scores, alone, strict=True)
    ]
    good = [at == 0 for _, texts, _ in free for at in range(len(texts))]
    prior = rating.RatingModel(rarity, rating.RatingSettings(leaf=5)).fit(spoilt, good)
    few = options.few_seeds
    measure("100 labels, TF-IDF", lambda a, b: tf_idf(False, rated, a, b), few, 100)
    measure("100 labels, forest", forest(rows, "both"), few, 100)
    measure("100 labels, forest, free comparisons first", forest(rows, "both", prior), few, 100)

    def unlabelled(train: Sequence[int], test: Sequence[int]) -> list[float]:
        from copy import copy

        model = copy(prior)
        model.compare_with([rows[at] for at in train])
        return model.score([rows[at] for at in test])

    measure("no labels, free comparisons", unlabelled, few)
    (options.folder / "figures.json").write_text(json.dumps(results, indent=1))
    say("done")


if __name__ == "__main__":
    main()
