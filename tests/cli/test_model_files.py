"""`chatapp models pull, remove, discover`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.cli.download_display import lines
from chatapp.core.paths import embedded_model
from tests.cli.conftest import Cli
from tests.cli.test_models import write_gguf
from tests.cli.test_program import ROOT
from tests.library.hub_server import REPO, FakeHub, serving
from tests.store.test_adapters import made


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    model = write_gguf(tmp_path / "served.gguf").read_bytes()
    with serving({"m-Q4_K_M.gguf": model, "m-Q8_0.gguf": model + bytes(32)}) as served:
        home = tmp_path / "user"
        for name, value in {
            "HF_ENDPOINT": served.endpoint,
            "HF_HOME": str(home / "hf"),
            "HOME": str(home),
            "OLLAMA_MODELS": str(home / "ollama"),
        }.items():
            monkeypatch.setenv(name, value)
        for name in ("HF_TOKEN", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "LLAMA_CACHE"):
            monkeypatch.delenv(name, raising=False)
        yield served


def test_pull_says_whom_it_asks(cli: Cli, hub: FakeHub) -> None:
    assert cli.run("models", "pull", REPO) == ""
    hosts = [each.removeprefix("http://") for each in (hub.endpoint, hub.files_endpoint)]
    told = cli.notes.splitlines()
    assert told[0] == f"asking {hosts[0]} for {REPO}; nothing else is sent"
    assert told[1].startswith("m-Q4_K_M.gguf, ")
    assert told[2] == f"the file comes from {hosts[1]}"
    assert told[-1] == "added m-Q4_K_M; `chatapp models use m-Q4_K_M` chooses it"
    assert [each["name"] for each in cli.json("models", "list")] == ["guide", "m-Q4_K_M"]


def test_pull_tells_errors_in_two_lines(cli: Cli, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    for args, code, said in (
        (("nonsense",), 2, "not a repository"),
        ((f"{REPO}:Q2_K",), 1, ":Q4_K_M (768 B), :Q8_0 (800 B)"),
        (("owner/none",), 1, "there is no owner/none"),
    ):
        error = cli.fails("models", "pull", *args, code=code)
        assert said in error
        assert [line.split(":")[0] for line in error.splitlines()][-2:] == ["error", "hint"]
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "connection refused" in cli.fails("models", "pull", REPO)
    hub.gated = "secret"
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    assert "is gated" in cli.fails("models", "pull", REPO)
    monkeypatch.setenv("HF_TOKEN", "secret")
    cli.run("models", "pull", REPO)
    assert "with the token in HF_TOKEN" in cli.notes and "secret" not in cli.notes


def test_ctrl_c_keeps_what_came_and_the_next_run_goes_on(hub: FakeHub, tmp_path: Path) -> None:
    """The real program with the embedded model, killed by Ctrl+C in the middle of it."""
    content = embedded_model().read_bytes()
    hub.files = {"m-Q4_K_M.gguf": content}
    hub.cut = [3_000_000] + [0] * 20
    command = [sys.executable, "-m", "chatapp", "models", "pull", REPO]
    environment = {**os.environ, "CHATAPP_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if f" of {len(content) / 1e6:.1f}" in line and "left" in line:
            break
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert rest.splitlines()[-1] == "stopped; the same command goes on with what is here"
    (partial,) = (tmp_path / "user").rglob("*.incomplete")
    kept = partial.stat().st_size
    assert 0 < kept < len(content)
    hub.cut, hub.requests = [], []
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert hub.sent == [f"bytes={kept}-"]
    assert "are here already" in done.stderr
    link = tmp_path / "home/data/models/m-Q4_K_M.gguf"
    assert link.is_symlink() and link.read_bytes() == content


def test_discover_and_add_by_name(cli: Cli, hub: FakeHub, tmp_path: Path) -> None:
    assert cli.run("models", "discover") == ""
    assert "models pull" in cli.notes
    folder = tmp_path / "user/.lmstudio/models/a/b"
    folder.mkdir(parents=True)
    write_gguf(folder / "tiny.gguf")
    (folder / "real.gguf").symlink_to(embedded_model())
    (folder / "broken.gguf").write_bytes(b"GGUF, or not")
    found = {each["name"]: each for each in cli.json("models", "discover")}
    assert set(found) == {"tiny", "real", "broken"}
    real = found["real"]
    assert (real["in"], real["trainable"], real["added"]) == ("LM Studio", True, "guide")
    assert real["size"] == embedded_model().stat().st_size and real["quantisation"] and real["context_length"]
    tiny = found["tiny"]
    assert (tiny["trainable"], tiny["problem"]) == (False, None)
    assert tiny["not_trainable_because"]
    assert found["broken"]["problem"] and found["broken"]["trainable"] is False
    shown = {line.split("\t")[0]: line for line in cli.run("models", "discover").splitlines()}
    assert shown["real"].endswith("\tyes\tadded as guide")
    cli.run("models", "add", "tiny")
    assert cli.json("models", "info", "tiny")["problem"] is None
    assert next(e for e in cli.json("models", "discover") if e["name"] == "tiny")["added"] == "tiny"
    assert "no file" in cli.fails("models", "add", "none")


def test_remove_says_what_stays(cli: Cli, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    cli.run("models", "add", str(file))
    cli.run("models", "use", "tiny")
    assert "not in chatapp's own folder" in cli.fails("models", "remove", "tiny", "--delete-file", code=2)
    cli.run("models", "remove", "tiny")
    assert cli.notes.splitlines() == [
        f"removed tiny; its file stays: {file}",
        "it was the model in use; the guide answers from now on",
    ]
    cli.run("models", "add", str(file), "--copy")
    cli.run("models", "remove", "tiny", "--delete-file")
    assert "and deleted" in cli.notes and file.exists()
    assert "no model 'tiny'" in cli.fails("models", "remove", "tiny")
    refused = cli.fails("models", "remove", "guide", code=2)
    assert "stays" in refused and "hint: to chat with another one: `chatapp models use NAME`" in refused


def test_remove_keeps_the_adapters(cli: Cli, tmp_path: Path) -> None:
    cli.run("models", "add", str(write_gguf(tmp_path / "tiny.gguf")), "--copy")
    digest = cli.house.model_sha256(cli.house.spec("tiny"))
    cli.house.store().adapters.add(made("r1", model=digest))
    cli.house.store().adapters.add(made("r2", model="f" * 64))
    cli.run("models", "remove", "tiny", "--delete-file")
    assert cli.notes.splitlines()[1] == "kept the adapters that were trained on it: r1"
    assert [each.name for each in cli.house.store().adapters.list()] == ["r1", "r2"]


def test_lines_say_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter((5.0, 10.0, 14.5))
    listen = lines(lambda: next(clock))
    for done in (1_000_000, 1_100_000, 5_500_000, 10_000_000):
        listen(done, 10_000_000)
    assert capsys.readouterr().err.splitlines() == [
        "1.0 MB of 10.0 MB are here already",
        "5.5 MB of 10.0 MB, 0:05 left",
        "10.0 MB of 10.0 MB",
    ]


def test_discover_imports_nothing_heavy(hub: FakeHub, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom chatapp.cli.app import app\n"
        "try: app(['models', 'discover'], prog_name='chatapp')\nexcept SystemExit: pass\n"
        "print({'torch', 'llama_cpp', 'numpy', 'textual', 'huggingface_hub'} & set(sys.modules))\n"
    )
    environment = {**os.environ, "CHATAPP_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "set()\n", done.stderr
