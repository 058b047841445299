"""A build of llama.cpp that crashes on batches is found out once and worked around from then on."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatapp.core.errors import EngineDied, ModelError
from chatapp.core.types import Sampling, Turn
from chatapp.engine import child, probe, threads
from chatapp.engine.base import ModelSpec, Request, gather
from chatapp.engine.client import LlamaClient
from chatapp.engine.llama import CancelFlag, LlamaContext, LlamaModel

CRASHING = """
import os, signal, sys
sys.path.append(sys.argv[1])
from chatapp.engine import llama, worker
load, decode = llama.LlamaModel.__init__, llama.LlamaContext.decode
buffers = []
def loading(self, path, **options):
    buffers[:] = [options["extra_buffers"]]
    load(self, path, **options)
def decoding(self, rows):
    if len(rows) > 1 and buffers[0] in {crashes}:
        os.kill(os.getpid(), signal.SIGSEGV)
    return decode(self, rows)
llama.LlamaModel.__init__, llama.LlamaContext.decode = loading, decoding
worker.main()
"""


def load(cache: Path, model: Path) -> LlamaClient:
    client = LlamaClient(cache)
    client.load(ModelSpec(model, "tiny", threads=1))
    return client


def test_extra_buffers_that_crash_are_left_off_and_remembered(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_START", CRASHING.replace("{crashes}", "{True}"))
    client = load(tmp_path, tiny)
    assert client.info and client.info.notice == probe.NOTICE
    result = gather(client.generate(Request((Turn("user", "hi"),), Sampling(max_tokens=4))), 1)
    assert result.replies[0].done
    client.close()
    (finding,) = probe.read_findings(tmp_path)
    assert finding == probe.finding_for(tmp_path, "F16")
    assert not finding.extra_buffers and "SIGSEGV" in finding.reason and finding.quantisation == "F16"
    # The next start does not crash first.
    started: list[int] = []
    real = child._spawn
    monkeypatch.setattr(child, "_spawn", lambda log: (started.append(1), real(log))[1])
    client = load(tmp_path, tiny)
    assert len(started) == 1 and client.info and client.info.notice == probe.NOTICE
    client.close()


def test_a_build_that_works_is_remembered_too(tiny: Path, tmp_path: Path) -> None:
    load(tmp_path, tiny).close()
    assert [each.extra_buffers for each in probe.read_findings(tmp_path)] == [True]


def test_a_model_that_always_crashes_is_refused(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_START", CRASHING.replace("{crashes}", "{True, False}"))
    with pytest.raises(ModelError, match="SIGSEGV"):
        load(tmp_path, tiny)
    assert probe.read_findings(tmp_path) == []


def test_a_crash_later_on_makes_the_next_load_try_again(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe.remember(tmp_path, "F16", True)
    monkeypatch.setattr(child, "_START", CRASHING.replace("{crashes}", "{True}"))
    client = load(tmp_path, tiny)
    request = Request((Turn("user", "hi"),), Sampling(max_tokens=4))
    with pytest.raises(EngineDied, match="SIGSEGV"):
        gather(client.generate(request), 1)
    assert gather(client.generate(request), 1).replies[0].done
    assert client.info and client.info.notice == probe.NOTICE
    client.close()


def test_a_missing_library_is_said_so(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_START", "import sys; sys.modules['llama_cpp'] = None\n" + child._START)
    with pytest.raises(EngineDied, match=r"llama\.cpp cannot be loaded") as caught:
        load(tmp_path, tiny)
    assert "llama-cpp-python" in caught.value.hint


def test_broken_findings_are_no_findings(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"a": 1}', '{"a": {"machine": 1}}'):
        (tmp_path / "probe.json").write_text(text)
        assert probe.read_findings(tmp_path) == []


def test_threads_are_measured_once_and_remembered(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LlamaModel(tiny)
    context = LlamaContext(model, 64, 2, 32, CancelFlag())
    file = tmp_path / "threads.json"
    monkeypatch.setattr("os.getloadavg", lambda: (0.75 * threads.cores() + 0.5, 0.0, 0.0))
    chosen = threads.choose(context, 1234, tmp_path, 0)
    assert all(1 <= each <= threads.cores() for each in chosen)
    assert not file.exists(), "on a busy machine it holds for the moment alone"
    monkeypatch.setattr("os.getloadavg", lambda: (0.1, 9.0, 9.0))
    threads.choose(context, 1234, tmp_path, 0)
    (key,) = threads.read_table(file)
    threads.write_table(file, {key: [1, 1]})
    assert threads.choose(context, 1234, tmp_path, 0) == (1, 1)
    with monkeypatch.context() as changed:
        changed.setenv("GOMP_SPINCOUNT", "77")
        assert threads.chosen(1234, tmp_path) is None, "threads that wait otherwise are measured again"
    threads.write_table(file, {key: [0, 10_000]})
    assert threads.choose(context, 1234, tmp_path, 0) != (0, 10_000)
    context.close()
    model.close()
