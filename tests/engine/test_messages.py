"""What crosses the pipe comes out as it went in, and nothing else comes out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.core.errors import EngineError
from chatapp.core.types import Sampling, Turn
from chatapp.engine import messages
from chatapp.engine.base import AdapterSpec, Delta, LaneDone, ModelSpec, Request


@given(st.text(st.characters()), st.integers(0, 2**32 - 1) | st.none(), st.lists(st.text(), max_size=3))
def test_round_trip(text: str, seed: int | None, stop: list[str]) -> None:
    request = Request((Turn("user", text),), Sampling(seed=seed, stop=tuple(stop)), 3, 1, begun=text)
    for message in (
        messages.Generate(1, request),
        messages.DeltaEvent(2, Delta(1, text)),
        messages.SetAdapter(3, None),
        messages.SetAdapter(3, AdapterSpec(text, Path("a.gguf"), 0.5)),
        messages.Load(4, ModelSpec(Path("m.gguf"), text), Path("cache"), True, False),
        messages.LaneDoneEvent(5, LaneDone(0, "stop", 3, None, 1.5, 7)),
        messages.Failed(6, "ModelError", text, text),
    ):
        line = messages.encode(message)
        assert line.endswith(b"\n") and line.count(b"\n") == 1
        assert messages.decode(line) == message


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"type":"Cancel"}',
        b'{"type":"Cancel","id":"1"}',
        b'{"type":"Cancel","id":true}',
        b'{"type":"Cancel","id":1,"more":2}',
        b'{"type":"__class__","id":1}',
        b'{"type":"Failed","id":1,"kind":"SystemExit","message":"","hint":""}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(EngineError):
        messages.decode(line)


def test_too_long_is_refused_before_it_is_sent() -> None:
    with pytest.raises(EngineError):
        messages.encode(messages.Count(1, (Turn("user", "x" * messages.LIMIT),)))
