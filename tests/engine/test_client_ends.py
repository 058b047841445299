"""The client's child process is stopped, dies or is killed: it costs one reply at most."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from chatapp.core.errors import EngineDied, EngineError
from chatapp.core.types import Turn
from chatapp.engine import child
from chatapp.engine import client as client_module
from chatapp.engine.base import AdapterSpec, Delta, LaneDone, ModelSpec, Started
from chatapp.engine.client import LlamaClient
from tests.engine.asking import ENDLESS, ask, run, texts
from tests.engine.conftest import Start


def test_cancel_stops_all_lanes_at_once(start: Start, endless: Path) -> None:
    client = start(endless)
    reasons: list[str] = []
    for event in client.generate(ask(lanes=4, **ENDLESS)):
        if isinstance(event, Delta) and event.lane == 0:
            client.cancel()
        if isinstance(event, LaneDone):
            reasons.append(event.finish_reason)
    assert reasons == ["cancelled"] * 4
    assert run(client, ask(max_tokens=3)).replies[0].done


def test_cancel_in_a_long_prompt_takes_less_than_200_ms(start: Start, large: Path) -> None:
    client = start(large)

    def seconds(letter: str) -> float:
        at: list[float] = []

        def cancel() -> None:
            at.append(time.monotonic())
            client.cancel()

        threading.Timer(0.4, cancel).start()
        done = run(client, ask(letter * 8000, max_tokens=8)).replies[0].done
        taken = time.monotonic() - at[0]
        assert done and (done.finish_reason, done.completion_tokens) == ("cancelled", 0)
        return taken

    # A machine that is busy with other things gets two more tries.
    assert any(seconds(letter) < 0.2 for letter in "xyz")
    # What was in the cache before the cancel is still good, and nothing else is.
    short = ask("x" * 300, temperature=0, max_tokens=6)
    assert texts(client, short) == texts(start(large, fresh=True), short)


def test_a_cancel_after_a_long_silence_leaves_time_to_stop(
    start: Start, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start(large)
    before = client.pid
    monkeypatch.setattr(child, "_POLL_SECONDS", 0.001)
    monkeypatch.setattr(client_module, "_CANCEL_SECONDS", 0.4)
    threading.Timer(0.6, client.cancel).start()
    done = run(client, ask("w" * 8000, max_tokens=8)).replies[0].done
    assert done and done.finish_reason == "cancelled" and client.pid == before


def test_an_engine_that_does_not_stop_is_ended(
    start: Start, endless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start(endless, fresh=True)
    monkeypatch.setattr(client_module, "_CANCEL_SECONDS", 0.1)
    events = client.generate(ask(**ENDLESS))
    next(events)
    stuck = client.pid
    assert stuck
    os.kill(stuck, signal.SIGSTOP)
    client.cancel()
    with pytest.raises(EngineDied, match="silent"):
        for _ in events:
            pass
    with pytest.raises(ProcessLookupError):
        os.kill(stuck, 0)
    assert run(client, ask()).replies[0].done


def test_a_program_that_stood_still_does_not_blame_the_engine(
    start: Start, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start(tiny, fresh=True)
    real, slept = time.monotonic, threading.Event()
    monkeypatch.setattr(child, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(
        child, "time", SimpleNamespace(monotonic=lambda: real() + (5000 if slept.is_set() else 0))
    )
    pid = client.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    for seconds, wake in ((0.3, slept.set), (0.6, lambda: os.kill(pid, signal.SIGCONT))):
        threading.Timer(seconds, wake).start()
    assert client.count([Turn("user", "hello")]) and client.pid == pid


def test_closing_ends_a_load_and_its_hashing(
    start: Start, tiny: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashing = threading.Event()

    def endless(path: Path, cache: Path, stopped: Callable[[], bool]) -> str:
        hashing.set()
        while not stopped():
            time.sleep(0.01)
        raise EngineError("loading was stopped")

    monkeypatch.setattr(client_module, "sha256", endless)
    client = LlamaClient(cache)
    failed: list[Exception] = []

    def load() -> None:
        try:
            client.load(ModelSpec(tiny, "tiny"))
        except EngineError as error:
            failed.append(error)

    loading = threading.Thread(target=load, daemon=True)
    loading.start()
    assert hashing.wait(60)
    client.close()
    loading.join(60)
    assert not loading.is_alive() and failed


def test_closing_the_iterator_stops_the_request(start: Start, endless: Path) -> None:
    client = start(endless)
    events = client.generate(ask(**ENDLESS))
    assert isinstance(next(events), Started)
    with pytest.raises(EngineError):
        client.count((Turn("user", "meanwhile"),))
    events.close()  # type: ignore[attr-defined]
    assert client.count((Turn("user", "x"),)) > 0


def test_a_kill_in_mid_stream_costs_only_that_reply(start: Start, endless: Path, adapter: Path) -> None:
    client = start(endless, fresh=True)
    client.set_adapter(AdapterSpec("strong", adapter))
    expected = texts(client, ask(temperature=0))
    killed = client.pid
    assert killed
    with pytest.raises(EngineDied, match=r"the engine was killed \(SIGKILL\)"):
        for event in client.generate(ask(**ENDLESS)):
            if isinstance(event, Started):
                os.kill(killed, signal.SIGKILL)
    assert client.pid is None
    # The child is reaped: nobody has its number any more.
    with pytest.raises(ProcessLookupError):
        os.kill(killed, 0)
    assert texts(client, ask(temperature=0)) == expected
    assert client.pid not in (None, killed)


def test_a_death_right_after_loading_costs_only_that_reply(
    start: Start, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start(tiny, fresh=True)
    expected = texts(client, ask(temperature=0))
    load, unlucky = client._load, 2

    def end() -> None:
        assert client.pid
        os.kill(client.pid, signal.SIGKILL)
        while client.pid:
            time.sleep(0.01)

    def load_and_end(*given: object) -> object:
        nonlocal unlucky
        info = load(*given)  # type: ignore[arg-type]
        if unlucky:
            unlucky -= 1
            end()
        return info

    end()
    monkeypatch.setattr(client, "_load", load_and_end)
    for _ in range(2):
        with pytest.raises(EngineDied):
            run(client, ask())
    assert texts(client, ask(temperature=0)) == expected


def test_a_crash_names_the_signal(start: Start, endless: Path) -> None:
    client = start(endless, fresh=True)
    with pytest.raises(EngineDied, match=r"the model crashed llama.cpp \(SIGSEGV\)"):
        for event in client.generate(ask(**ENDLESS)):
            if isinstance(event, Started):
                assert client.pid
                os.kill(client.pid, signal.SIGSEGV)
    assert run(client, ask()).replies[0].done


def test_close_ends_the_child_and_can_be_repeated(start: Start, tiny: Path) -> None:
    client = start(tiny, fresh=True)
    pid = client.pid
    assert pid
    client.close()
    client.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(EngineError):
        run(client, ask())


def test_the_child_goes_with_its_parent(tiny: Path, cache: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from chatapp.engine.base import ModelSpec\n"
        "from chatapp.engine.client import LlamaClient\n"
        "client = LlamaClient(Path(sys.argv[2])); client.load(ModelSpec(Path(sys.argv[1]), 'm', threads=1))\n"
        "print(client.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    parent = subprocess.run(
        [sys.executable, "-c", program, tiny, cache], capture_output=True, text=True, timeout=60
    )
    child = int(parent.stdout)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if "\nState:\tZ" in Path(f"/proc/{child}/status").read_text():
                return
        except FileNotFoundError:
            return
        threading.Event().wait(0.02)
    pytest.fail("the engine outlived its parent")


def test_the_child_ignores_the_terminals_interrupt(start: Start, tiny: Path) -> None:
    client = start(tiny)
    assert client.pid and os.getsid(client.pid) == client.pid != os.getsid(0)


def test_a_folder_full_of_traps_is_not_imported_from(
    start: Start, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "llama_cpp.py").write_text("raise SystemExit(9)")
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert run(start(tiny, fresh=True), ask()).replies[0].done
