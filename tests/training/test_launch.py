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
from chatapp.training import run
from tests.training.rounds_home import groups, make_home, mix_file

pytestmark = pytest.mark.train
ROOT = Path(__file__).parents[2]
LAUNCH = (
    # `--cpu` starts one process whatever is asked for; `--multi_gpu` starts several, also without a GPU.
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no"),
)


def launched(home: Path, method: str, launch: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Four steps of `chatapp train METHOD` for the tiny model. The rankings that are not held out are seven:
    the fourth step of DPO has one for two processes."""
    model = make_home(home, 0)
    files = [home / "one.jsonl", home / "other.jsonl"]
    for number, file in enumerate(files):
        save(file, groups(8 - number, 8 * number), "rankings")
    return subprocess.run(
        [
            *(sys.executable, *launch, "-m", "chatapp", "train", method, "--json", "--max-steps", "4"),
            *("--model", str(model), "--mix", str(mix_file(home))),
            *(part for file in files for part in ("--data", str(file))),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "CHATAPP_HOME": str(home)},
    )


def trained(home: Path, launch: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The adapter that `chatapp train dpo` registers."""
    done = launched(home, "dpo", launch)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["adapter"] == "r1" and result["metrics"]["dpo"]["step"] == 4
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


def test_ppo_on_two_processes_takes_its_steps(tmp_path: Path) -> None:
    done = launched(tmp_path / "two", "ppo", LAUNCH)
    steps = [run.metrics(file.parent) for file in tmp_path.rglob("ppo/metrics.jsonl")]
    assert [len(each) for each in steps] == [4], done.stderr[-2000:]
    assert all(each["gradient"] > 0 for each in steps[0])
