"""Two processes under `accelerate launch` learn what one learns with the same batches."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training import launch_child

pytestmark = pytest.mark.train


def test_two_processes_end_where_one_does(tmp_path: Path) -> None:
    launch_child.main(tmp_path / "one")
    script = Path(launch_child.__file__)
    subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"),
            *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
            *("-m", "tests.training.launch_child", str(tmp_path / "two")),
        ],
        check=True,
        timeout=240,
        cwd=script.parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
    )
    one, two = (torch.load(tmp_path / name / "checkpoint.pt") for name in ("one", "two"))
    assert one["step"] == two["step"] == 5
    for name, each in one["parameters"].items():
        # Adam divides by the size of the gradient, so rounding shows where a gradient is nearly nothing.
        assert torch.allclose(each, two["parameters"][name], atol=2e-3), name
