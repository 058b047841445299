"""A training that the tests start on several processes: accelerate launch ... launch_child.py FOLDER"""

import sys
from pathlib import Path

from chatapp.training import dpo
from chatapp.training.data import SftRow
from tests.training.rows import question_rows
from tests.training.tiny import END, tiny_policy


def main(folder: Path) -> None:
    mix = [SftRow((1, 50, 60, 70 + n, END), (0, 0, 1, 1, 1)) for n in range(4)]
    settings = dpo.DpoSettings(epochs=2, batch=5, learning_rate=1e-2, mix=0.3, half=False)
    dpo.train(tiny_policy(), question_rows(), folder, settings, mix=mix)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
