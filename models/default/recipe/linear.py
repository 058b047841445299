"""What a linear classifier makes of the questions on the application.

    python linear.py

It learns from the same written questions which fact is asked for, by words,
pairs of words and pieces of words (TF-IDF, then a linear support vector
machine), and gives that fact's first answer to the probes. Where it is right
and the guide is not, the questions are enough and the training is not.
"""
from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from generate import Generator
from score import SETS, probes, right


def questions(seed: int = 7) -> tuple[list[str], list[int]]:
    """What is asked, and the number of the fact that answers it."""
    made = Generator(seed).app
    asked, answered = [], []
    for number, fact in enumerate(made.facts):
        said = [*fact["asked"], *fact["ask"]]
        said += [made.wording.framed(kind, text) for kind in ("do", "get", "key")
                 for text in fact.get(kind, []) for _ in range(2)]
        asked += map(made.wording.fill, said)
        answered += [number] * len(said)
    return asked, answered


def main() -> None:
    """Print how many of each set it gets right."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2)
    guess = make_pipeline(make_union(words, pieces), LinearSVC()).fit(*questions())
    facts = Generator(7).app.facts
    for name in SETS:
        rows = probes(Path(__file__).parent / "probes" / f"{name}.jsonl", "app")
        found = guess.predict([row["turns"][-1] for row in rows])
        good = sum(right(facts[at]["say"][0], row["expect"], row.get("forbid", []))
                   for at, row in zip(found, rows, strict=True))
        print(f"{name}: {good} of {len(rows)}")


if __name__ == "__main__":
    main()
