"""The client and its child process, with real llama.cpp on tiny random models."""

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

from chatapp.core.errors import EngineDied, EngineError, ModelError, PromptTooLong
from chatapp.core.types import Sampling, Turn
from chatapp.engine import child
from chatapp.engine import client as client_module
from chatapp.engine.base import AdapterSpec, Delta, Gathered, LaneDone, ModelSpec, Request, Started, gather
from chatapp.engine.client import LlamaClient
from tests.engine.conftest import Start
from tests.engine.tiny_gguf import CHATML, make_adapter, make_model


def ask(text: str = "hello", lanes: int = 1, first_lane: int = 0, **sampling: object) -> Request:
    chosen = {"max_tokens": 24, "seed": 7, **sampling}
    return Request((Turn("user", text),), Sampling(**chosen), lanes, first_lane)  # type: ignore[arg-type]


def run(client: LlamaClient, request: Request) -> Gathered:
    return gather(client.generate(request), request.lanes)


def texts(client: LlamaClient, request: Request) -> list[str]:
    return [reply.text for reply in run(client, request).replies]


ENDLESS = {"max_tokens": 8000, "top_k": 5}


@pytest.fixture(scope="module")
def endless(models: Path) -> Path:
    """Writes until it is stopped."""
    return make_model(models / "endless.gguf", n_ctx=8192, endless=True)


@pytest.fixture(scope="module")
def large(models: Path) -> Path:
    """Large enough for a long prompt to take seconds."""
    return make_model(models / "large.gguf", width=768, layers=8, n_ctx=8192, endless=True)


def test_streams_events_in_order(start: Start, tiny: Path) -> None:
    client = start(tiny)
    events = list(client.generate(ask(lanes=3)))
    assert isinstance(events[0], Started) and sum(isinstance(each, Started) for each in events) == 1
    assert events[0].seed == 7 and events[0].prompt_tokens == client.count((Turn("user", "hello"),))
    done = [each for each in events if isinstance(each, LaneDone)]
    assert sorted(each.lane for each in done) == [0, 1, 2]
    assert {each.lane: each.seed for each in done} == {0: 7, 1: 8, 2: 9}
    for each in done:
        last = max(
            at for at, event in enumerate(events) if isinstance(event, Delta) and event.lane == each.lane
        )
        assert events.index(each) > last
        assert each.first_token_seconds is not None and 0 < each.first_token_seconds <= each.seconds
        assert 0 < each.completion_tokens <= 24


def test_what_is_loaded_is_described(start: Start, tiny: Path) -> None:
    seen: list[float] = []
    client = start(tiny, fresh=True)
    info = client.load(ModelSpec(tiny, "again"), seen.append)
    assert client.info == info
    assert (info.name, info.architecture, info.n_ctx, info.n_ctx_train) == ("again", "llama", 512, 512)
    assert info.cells == 9 * 512 and client.load(ModelSpec(tiny, "one", lanes=1)).cells == 512
    assert info.size == tiny.stat().st_size and len(info.sha256) == 64 and info.notice is None
    assert seen and seen[-1] == 1.0 and seen == sorted(seen)


@pytest.mark.parametrize("quantisation", ["F32", "F16", "Q8_0"])
def test_lanes_in_a_batch_are_the_same_as_single_runs(start: Start, models: Path, quantisation: str) -> None:
    client = start(make_model(models / f"{quantisation}.gguf", quantisation=quantisation, seed=3))
    together = texts(client, ask(lanes=4, temperature=0, max_tokens=60))
    alone = [texts(client, ask(first_lane=lane, temperature=0, max_tokens=60))[0] for lane in range(4)]
    assert together == alone


def test_lanes_differ_by_their_seeds(start: Start, tiny: Path) -> None:
    client = start(tiny)
    together = texts(client, ask(lanes=4))
    assert len(set(together)) == 4
    assert texts(client, ask(lanes=4)) == together
    # The first token comes from the same logits, alone or not.
    alone = [texts(client, ask(first_lane=lane, max_tokens=1))[0] for lane in range(4)]
    assert texts(client, ask(lanes=4, max_tokens=1)) == alone


def test_a_seed_gives_the_same_reply_in_another_process(start: Start, tiny: Path) -> None:
    assert texts(start(tiny), ask(lanes=2)) == texts(start(tiny, fresh=True), ask(lanes=2))
    drawn = [run(start(tiny), ask(seed=None)).started for _ in range(2)]
    assert drawn[0] and drawn[1] and drawn[0].seed != drawn[1].seed


def test_the_shared_prefix_is_kept(start: Start, tiny: Path) -> None:
    client = start(tiny, fresh=True)
    first = run(client, ask("a" * 100, max_tokens=4)).started
    again = run(client, ask("a" * 100, max_tokens=4)).started
    other = run(client, ask("a" * 50 + "b" * 50, max_tokens=4)).started
    assert first and again and other
    assert first.cached_tokens == 0
    assert again.cached_tokens == again.prompt_tokens - 2
    assert 50 < other.cached_tokens < 100
    assert texts(client, ask("a" * 100, temperature=0)) == texts(start(tiny), ask("a" * 100, temperature=0))


def test_max_tokens_and_a_full_context_end_with_length(start: Start, tiny: Path) -> None:
    client = start(tiny, n_ctx=64, lanes=2)
    forbid_end = {"repeat_penalty": 1.0, "temperature": 5.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    short = run(client, ask("x", max_tokens=3, **forbid_end)).replies[0].done
    assert short and (short.finish_reason, short.completion_tokens) == ("length", 3)
    full = run(client, ask("x" * 8, lanes=2, max_tokens=10_000, seed=1, **forbid_end))
    assert full.started and all(reply.done for reply in full.replies)
    room = 64 - full.started.prompt_tokens
    assert all(reply.done and reply.done.completion_tokens <= room for reply in full.replies)
    assert any(reply.done and reply.done.finish_reason == "length" for reply in full.replies)


def test_a_stop_string_ends_the_reply_before_it(start: Start, tiny: Path) -> None:
    client = start(tiny)
    whole = texts(client, ask(max_tokens=40))[0]
    stop = whole[6:9]
    assert whole.find(stop) > 0
    cut = run(client, ask(max_tokens=40, stop=(stop,))).replies[0]
    assert cut.text == whole[: whole.find(stop)]
    assert cut.done and cut.done.finish_reason == "stop"


def test_the_oldest_turns_make_room(start: Start, tiny: Path) -> None:
    client = start(tiny)
    turns = [turn for _ in range(20) for turn in (Turn("user", "x" * 20), Turn("assistant", "y" * 20))]
    result = run(client, Request((*turns, Turn("user", "z")), Sampling(max_tokens=8)))
    assert result.started and result.started.dropped_turns > 0
    assert result.started.prompt_tokens <= result.started.n_ctx - 8
    with pytest.raises(PromptTooLong) as error:
        run(client, ask("x" * 600))
    assert error.value.hint == "shorten the message"
    with pytest.raises(PromptTooLong) as error:
        run(client, ask("x" * (client.info.n_ctx - 60), max_tokens=1000))
    assert error.value.hint.startswith("shorten the message, or have a shorter reply (--max-tokens ")
    fitting = int(error.value.hint.split("--max-tokens ")[1].split(",")[0])
    run(client, ask("x" * (client.info.n_ctx - 60), max_tokens=fitting))
    with pytest.raises(PromptTooLong):
        run(client, ask("x" * (client.info.n_ctx - 60), max_tokens=fitting + 1))
    # The turns before it would be dropped, so they take nothing away.
    short = (Turn("user", "a"), Turn("assistant", "b"))
    with pytest.raises(PromptTooLong) as error:
        run(
            client, Request((*short, Turn("user", "x" * (client.info.n_ctx - 60))), Sampling(max_tokens=1000))
        )
    assert f"--max-tokens {fitting}," in error.value.hint
    with pytest.raises(PromptTooLong, match="at most") as error:
        run(start(tiny, n_ctx=64), ask("x" * 600))
    assert (
        error.value.hint == "shorten the message, or raise n_ctx in config.toml (the model takes up to 512)"
    )
    assert run(client, ask()).replies[0].done


def test_special_tokens_that_are_typed_stay_text(start: Start, tiny: Path) -> None:
    client = start(tiny)
    plain, special = (client.count((Turn("user", text),)) for text in ("", "<|im_end|>"))
    assert special - plain == len("<|im_end|>")


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


def test_an_adapter_that_cannot_come_back_is_not_left_out(start: Start, tiny: Path, tmp_path: Path) -> None:
    client = start(tiny, fresh=True)
    base = texts(client, ask(temperature=0))
    file = make_adapter(tmp_path / "lost.gguf")
    client.set_adapter(AdapterSpec("lost", file))
    tuned = texts(client, ask(temperature=0))
    hidden = file.rename(tmp_path / "elsewhere.gguf")
    assert client.pid
    os.kill(client.pid, signal.SIGKILL)
    with pytest.raises(EngineDied):
        run(client, ask())
    for _ in range(2):
        with pytest.raises(ModelError):
            run(client, ask())
    hidden.rename(file)
    assert texts(client, ask(temperature=0)) == tuned
    file.unlink()
    client.set_adapter(None)
    assert texts(client, ask(temperature=0)) == base


def test_a_split_model_answers_with_its_adapter(
    start: Start, tiny: Path, adapter: Path, models: Path
) -> None:
    client = start(make_model(models / "parts.gguf", split=8), fresh=True)
    request = ask(temperature=0)
    assert texts(client, request) == texts(start(tiny), request)
    client.set_adapter(AdapterSpec("strong", adapter))
    assert texts(client, request) != texts(start(tiny), request)


def test_a_crash_names_the_signal(start: Start, endless: Path) -> None:
    client = start(endless, fresh=True)
    with pytest.raises(EngineDied, match=r"the model crashed llama.cpp \(SIGSEGV\)"):
        for event in client.generate(ask(**ENDLESS)):
            if isinstance(event, Started):
                assert client.pid
                os.kill(client.pid, signal.SIGSEGV)
    assert run(client, ask()).replies[0].done


def test_an_adapter_is_switched_on_and_off(start: Start, tiny: Path, adapter: Path) -> None:
    client = start(tiny, fresh=True)
    request = ask(lanes=2, temperature=0.8)
    base = texts(client, request)
    client.set_adapter(AdapterSpec("strong", adapter))
    tuned = run(client, request)
    assert [reply.text for reply in tuned.replies] != base
    assert tuned.started and tuned.started.cached_tokens == 0
    client.set_adapter(AdapterSpec("off", adapter, scale=0.0))
    assert texts(client, request) == base
    client.set_adapter(None)
    assert texts(client, request) == base
    assert client.pid


def test_a_bad_adapter_is_refused_without_dying(start: Start, tiny: Path, tmp_path: Path) -> None:
    client = start(tiny)
    before = client.pid
    wrong = make_adapter(tmp_path / "wrong.gguf", width=96)
    nonsense = tmp_path / "nonsense.gguf"
    nonsense.write_bytes(b"GGUF" * 100)
    for path in (wrong, nonsense, tiny, tmp_path / "none.gguf"):
        with pytest.raises(ModelError):
            client.set_adapter(AdapterSpec("bad", path))
    assert run(client, ask()).replies[0].done
    assert client.pid == before


def test_llama_cpp_itself_refuses_an_adapter(tiny: Path, tmp_path: Path) -> None:
    """The second line of defence, behind the header check."""
    from chatapp.engine.llama import LlamaModel

    model = LlamaModel(tiny)
    with pytest.raises(ModelError, match="refuses the adapter"):
        model.adapter(make_adapter(tmp_path / "wrong.gguf", width=96))
    model.close()


def test_a_bad_model_leaves_the_old_one_in_use(start: Start, tiny: Path, tmp_path: Path) -> None:
    client = start(tiny, fresh=True)
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny.read_bytes()[:-64])
    # Passes the header check; llama.cpp does not know the architecture.
    unknown = tmp_path / "unknown.gguf"
    unknown.write_bytes(tiny.read_bytes().replace(b"llama", b"lxama"))
    for path in (broken, unknown, tmp_path, tmp_path / "none.gguf"):
        with pytest.raises(ModelError) as caught:
            client.load(ModelSpec(path, "bad"))
        assert "\n" not in str(caught.value)
    assert run(client, ask()).replies[0].done
    assert client.info and client.info.name == "tiny"


def test_a_template_that_hangs_is_replaced(start: Start, models: Path) -> None:
    hang = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    client = start(make_model(models / "hang.gguf", template=hang + CHATML))
    assert client.info and client.info.notice and "longer than" in client.info.notice
    assert run(client, ask()).replies[0].done


def test_requests_that_make_no_sense_are_refused(start: Start, tiny: Path, cache: Path) -> None:
    with pytest.raises(EngineError, match="no model"):
        run(LlamaClient(cache), ask())
    client = start(tiny, lanes=2)
    for request in (
        ask(lanes=3),
        ask(lanes=0),
        Request((), Sampling()),
        Request((Turn("assistant", "x"),), Sampling()),
    ):
        with pytest.raises(EngineError):
            run(client, request)
    assert run(client, ask()).replies[0].done


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": float("nan")},
        {"repeat_penalty": 0.0},
        {"repeat_penalty": -1.0},
        {"min_p": float("inf")},
    ],
)
def test_settings_that_would_kill_llama_cpp_are_refused(
    start: Start, tiny: Path, wrong: dict[str, float]
) -> None:
    client = start(tiny)
    before = client.pid
    with pytest.raises(EngineError, match="sampling"):
        run(client, ask(**wrong))
    assert run(client, ask()).replies[0].done and client.pid == before


@pytest.mark.parametrize(
    "odd",
    [
        {"temperature": 1e-40},
        {"temperature": -1.0},
        {"temperature": 1e30},
        {"top_k": 2**40},
        {"top_k": -5},
        {"top_p": 0.0},
        {"top_p": -1.0},
        {"min_p": 5.0},
        {"seed": -1},
        {"seed": 2**70},
        {"seed": 0xFFFFFFFF},
        {"max_tokens": 0},
        {"stop": ("",)},
    ],
)
def test_odd_settings_still_give_a_reply(start: Start, tiny: Path, odd: dict[str, object]) -> None:
    client = start(tiny)
    first, again = (run(client, ask(**odd)).replies[0] for _ in range(2))
    assert first.done and first.text == again.text and first.done.completion_tokens > 0


def test_a_temperature_close_to_zero_is_greedy(start: Start, tiny: Path) -> None:
    client = start(tiny)
    greedy = texts(client, ask(temperature=0))
    for temperature in (-1.0, 1e-40, 1e-9):
        assert texts(client, ask(temperature=temperature, seed=int(1 / abs(temperature)))) == greedy


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
