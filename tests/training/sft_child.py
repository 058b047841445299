"""A training that the tests kill: python -m tests.training.sft_child FOLDER"""

import sys
from pathlib import Path

from chatapp.training import run, sft
from tests.training.rows import best_replies, question_rows
from tests.training.tiny import tiny_policy


def main(folder: Path) -> None:
    class Often(run.Loop):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options, checkpoint_seconds=0.0)  # type: ignore[arg-type]

    sft.Loop = Often  # type: ignore[misc]
    policy = tiny_policy()
    rows = best_replies(question_rows())
    sft.train(policy, rows, folder, sft.SftSettings(epochs=25, batch=3, learning_rate=1e-2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
