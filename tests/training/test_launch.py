"""Two processes under `accelerate launch` learn what one learns with the same batches."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader

from chatapp.preferences.formats.save import save
from tests.training.rounds_home import groups, make_home, mix_file

pytestmark = pytest.mark.train
ROOT = Path(__file__).parents[2]
LAUNCH = (
    # `--cpu` starts one process whatever is asked for; `--multi_gpu` starts several, also without a GPU.
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no"),
)


def trained(home: Path, launch: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The adapter that `chatapp train dpo` registers for the tiny model."""
    model = make_home(home, 0)
    files = [home / "one.jsonl", home / "other.jsonl"]
    for number, file in enumerate(files):
        save(file, groups(8, 8 * number), "rankings")
    done = subprocess.run(
        [
            *(sys.executable, *launch, "-m", "chatapp", "train", "dpo", "--json", "--max-steps", "3"),
            *("--model", str(model), "--mix", str(mix_file(home))),
            *(part for file in files for part in ("--data", str(file))),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "CHATAPP_HOME": str(home)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["adapter"] == "r1" and result["metrics"]["dpo"]["step"] == 3
    assert [each.name for each in (home / "data" / "adapters").iterdir()] == ["r1"]
    reader = GGUFReader(home / "data" / "adapters" / "r1" / "adapter.gguf")
    return {tensor.name: np.array(tensor.data, np.float32) for tensor in reader.tensors}


def test_two_processes_end_where_one_does(tmp_path: Path) -> None:
    one, two = trained(tmp_path / "one"), trained(tmp_path / "two", LAUNCH)
    samplers = {each.name: len(list(each.rglob("rollout-*.gguf"))) for each in tmp_path.iterdir()}
    assert samplers == {"one": 1, "two": 2}
    assert one.keys() == two.keys()
    learned = [
        np.concatenate([each.ravel() for name, each in sorted(side.items()) if name.endswith("lora_b")])
        for side in (one, two)
    ]
    lengths = [float(np.linalg.norm(each)) for each in learned]
    assert lengths[0] > 0 and lengths[1] == pytest.approx(lengths[0], rel=0.02)
    # Rounding in half precision shows where a gradient is nearly nothing, since Adam divides by its size.
    assert float(learned[0] @ learned[1]) / (lengths[0] * lengths[1]) > 0.98
