"""The scripted engine: deterministic, cancellable, able to fail."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from chatapp.core.errors import EngineDied, EngineError
from chatapp.core.types import Sampling, Turn
from chatapp.engine.base import Delta, LaneDone, ModelSpec, Request, Started, gather
from chatapp.engine.scripted import ScriptedEngine


def ask(text: str, lanes: int = 1, **sampling: object) -> Request:
    return Request((Turn("user", text),), Sampling(**sampling), lanes)  # type: ignore[arg-type]


def texts(engine: ScriptedEngine, request: Request) -> list[str]:
    return [reply.text for reply in gather(engine.generate(request), request.lanes).replies]


def test_the_same_request_gives_the_same_replies_and_lanes_differ() -> None:
    request = ask("what is the plan?", lanes=4, seed=5)
    first = texts(ScriptedEngine(pace=0), request)
    assert first == texts(ScriptedEngine(pace=0), request)
    assert len(set(first)) == 4
    alone = ask("what is the plan?", lanes=1, seed=7)
    assert texts(ScriptedEngine(pace=0), alone) == [first[2]]


def test_a_request_for_code_has_a_code_block() -> None:
    assert "```python" in texts(ScriptedEngine(pace=0), ask("Show me some Python code", seed=0))[0]


def test_events_come_in_order() -> None:
    events = list(ScriptedEngine(["one two three", "four five"], pace=0).generate(ask("x", lanes=2, seed=0)))
    assert isinstance(events[0], Started)
    assert [(e.lane, e.text) for e in events if isinstance(e, Delta)] == [
        (0, "one "), (1, "four "), (0, "two "), (1, "five"), (0, "three"),
    ]  # fmt: skip
    assert [(e.lane, e.finish_reason, e.completion_tokens) for e in events if isinstance(e, LaneDone)] == [
        (1, "stop", 2),
        (0, "stop", 3),
    ]


def test_max_tokens_ends_with_length() -> None:
    result = gather(ScriptedEngine(["a b c d"], pace=0).generate(ask("x", max_tokens=2)), 1)
    assert result.replies[0].text == "a b "
    assert result.replies[0].done and result.replies[0].done.finish_reason == "length"


def test_cancel_from_another_thread_stops_at_once() -> None:
    engine = ScriptedEngine(["word " * 1000], pace=30.0)
    threading.Timer(0.05, engine.cancel).start()
    begun = time.monotonic()
    result = gather(engine.generate(ask("x")), 1)
    assert time.monotonic() - begun < 5
    assert result.replies[0].done and result.replies[0].done.finish_reason == "cancelled"


def test_failure_in_mid_stream_happens_once() -> None:
    engine = ScriptedEngine(["a b c d"], pace=0)
    engine.fail_after(2)
    seen: list[str] = []
    with pytest.raises(EngineDied):
        for event in engine.generate(ask("x")):
            if isinstance(event, Delta):
                seen.append(event.text)
    assert seen == ["a ", "b "]
    assert texts(engine, ask("x")) == ["a b c d"]


def test_a_second_request_while_one_runs_is_refused() -> None:
    engine = ScriptedEngine(pace=0)
    running = engine.generate(ask("x"))
    next(running)
    with pytest.raises(EngineError):
        next(engine.generate(ask("y")))
    running.close()  # type: ignore[attr-defined]
    assert texts(engine, ask("y"))[0]


def test_load_needs_no_file() -> None:
    engine = ScriptedEngine(pace=0)
    assert engine.info is None
    info = engine.load(ModelSpec(Path("nowhere.gguf"), "demo"))
    assert engine.info == info and info.name == "demo"


def test_a_reply_that_was_cut_is_gone_on_with() -> None:
    engine = ScriptedEngine(["one two three", "four five"], pace=0)
    asked = Request((Turn("user", "x"),), Sampling(seed=1, max_tokens=1), begun="one ")
    [reply] = gather(engine.generate(asked), 1).replies
    assert reply.text == "one two "
    assert reply.done and (reply.done.finish_reason, reply.done.completion_tokens) == ("length", 1)
    assert texts(engine, Request((Turn("user", "x"),), Sampling(seed=1), begun="six ")) == ["six four five"]
    [begun] = texts(engine := ScriptedEngine(pace=0), ask("Show me some code", seed=0, max_tokens=3))
    whole = texts(engine, Request((Turn("user", "Show me some code"),), Sampling(seed=5), begun=begun))
    assert whole == texts(engine, ask("Show me some code", seed=0))
