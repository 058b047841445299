"""`chatapp adapters export`: what a training made, as other programs read it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from chatapp.cli.app import app
from chatapp.core.paths import find_paths
from chatapp.core.settings import Settings
from chatapp.core.types import Adapter
from chatapp.engine.gguf import read_header
from chatapp.session.wiring import House
from chatapp.training.export import read_adapter, write_adapter
from chatapp.training.model import load_policy
from tests.training.architectures import make
from tests.training.test_parity import changed

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")


def test_the_folder_is_what_peft_reads(tmp_path: Path) -> None:
    from peft import PeftConfig
    from safetensors.numpy import load_file

    base = make(tmp_path / "llama.gguf", "llama")
    policy = load_policy(base)
    changed(policy)
    with House(find_paths({"CHATAPP_HOME": str(tmp_path / "home")}), Settings(model=str(base))) as house:
        file = write_adapter(policy, house.paths.adapters / "r1" / "adapter.gguf", {})
        made = Adapter("r1", "dpo", "llama", house.model_sha256(), None, 0.0, True, "better", "run", "data")
        house.store().adapters.add(made)

        def run(folder: Path) -> object:
            args = ["adapters", "export", "r1", str(folder)]
            return CliRunner().invoke(app, args, obj=house, prog_name="chatapp")

        folder = tmp_path / "new" / "r1-peft"
        missing = run(folder)
        assert missing.exit_code == 1 and "there is no folder" in missing.stderr  # type: ignore[attr-defined]
        assert not folder.parent.exists()
        folder.parent.mkdir()
        done = run(folder)
        assert done.exit_code == 0, done.output  # type: ignore[attr-defined]
        assert (folder / "adapter.gguf").read_bytes() == file.read_bytes()
        assert PeftConfig.from_pretrained(str(folder)).peft_type == "LORA"
        assert load_file(folder / "adapter_model.safetensors")
        header = read_header(base)
        own, other = (read_adapter(each, header, policy.base_sha256) for each in (file, folder))
        assert own.tensors.keys() == other.tensors.keys()
        for name, pair in own.tensors.items():
            for half, same in zip(pair, other.tensors[name], strict=True):
                assert (half == same).all()
        again = run(folder)
        assert again.exit_code == 2 and "is there already" in again.stderr  # type: ignore[attr-defined]
        assert [each.name for each in folder.parent.iterdir()] == ["r1-peft"]
