"""llama.cpp's own loop does the same work as the engine: token for token."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from chatapp.core.errors import EngineError
from chatapp.core.paths import embedded_model
from chatapp.core.types import Sampling, Turn
from chatapp.engine.base import AdapterSpec, ModelSpec, Request, gather
from chatapp.engine.plain import PlainLoop
from chatapp.engine.tuning import TuningClient

pytest.importorskip("llama_cpp")
needs_guide = pytest.mark.skipif(not embedded_model().exists(), reason="the embedded model is not built")
TURNS = (Turn("user", "Tell me about a good way to spend an evening at home."),)
SAMPLED = Sampling(seed=7, temperature=1.5, min_p=0.0, top_p=1.0, max_tokens=24)


def loop(path: Path, n_ctx: int, adapter: AdapterSpec | None = None) -> PlainLoop:
    spec = ModelSpec(path, path.stem, threads=1)
    return PlainLoop(spec, n_ctx=n_ctx, threads=(1, 1), extra_buffers=True, adapter=adapter)


@needs_guide
def test_both_sides_write_the_same_tokens(tmp_path: Path) -> None:
    from chatapp.engine.llama import open_vocabulary

    path = embedded_model()
    client = TuningClient(tmp_path)
    try:
        info = client.load(ModelSpec(path, "guide", threads=1))
        ids = client.encode(TURNS).ids
        wanted = {
            lanes: gather(client.generate(Request(TURNS, SAMPLED, lanes, past_end=True)), lanes)
            for lanes in (1, 4)
        }
    finally:
        client.close()
    vocabulary = open_vocabulary(path)
    with loop(path, info.n_ctx) as plain:
        for lanes, found in wanted.items():
            run = plain.run(ids, SAMPLED, lanes)
            assert found.started is not None and found.started.prompt_tokens == len(ids)
            assert [len(each) for each in run.replies] == [SAMPLED.max_tokens] * lanes
            texts = [b"".join(map(vocabulary.piece, each)).decode("utf-8", "replace") for each in run.replies]
            assert texts == [each.text for each in found.replies]
            assert len(set(texts)) == lanes
            assert 0 < run.first_seconds < run.seconds
        assert plain.load_seconds > 0


@needs_guide
def test_past_the_end_a_reply_has_the_length_that_was_asked_for(tmp_path: Path) -> None:
    client = TuningClient(tmp_path)
    try:
        client.load(ModelSpec(embedded_model(), "guide", threads=1))
        sampling = Sampling(seed=1, temperature=0.0, max_tokens=200)
        for past_end, reason in ((False, "stop"), (True, "length")):
            reply = gather(client.generate(Request(TURNS, sampling, past_end=past_end)), 1).replies[0]
            assert reply.done is not None and reply.done.finish_reason == reason
            assert (reply.done.completion_tokens == 200) == past_end
    finally:
        client.close()


def test_an_adapter_is_on(tiny: Path, adapter: Path) -> None:
    ids, sampling = [1, 5, 9, 4], Sampling(seed=1, temperature=0.0, max_tokens=12)
    replies = []
    for each in (None, AdapterSpec("a", adapter), AdapterSpec("a", adapter, 0.0)):
        with loop(tiny, 128, each) as plain:
            replies.append(plain.run(ids, sampling).replies)
    assert replies[0] == replies[2] != replies[1]


def test_what_cannot_be_loaded_and_a_death_are_told(tiny: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(EngineError, match="own loop: the model cannot be loaded"):
        loop(broken, 128)
    with loop(tiny, 128) as plain:
        os.kill(plain._process.pid, signal.SIGKILL)
        with pytest.raises(EngineError, match="own loop ended"):
            plain.run([1, 2], SAMPLED)
    plain.close()
