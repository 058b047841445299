"""What training asks of the engine: ids, log-probabilities, hidden states, many samples."""

from __future__ import annotations

import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from chatapp.core.errors import EngineError, PromptTooLong
from chatapp.core.types import Sampling, Turn
from chatapp.engine import messages
from chatapp.engine.base import AdapterSpec, ModelSpec, Request, gather
from chatapp.engine.child import Child
from chatapp.engine.gguf import read_header
from chatapp.engine.rollout import _Tables
from chatapp.engine.study import cache_bytes
from chatapp.engine.tuning import TuningClient
from tests.engine.tiny_gguf import make_adapter, make_model

PURE = Sampling(seed=3, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, repeat_penalty=1.0, max_tokens=20)
GREEDY = replace(PURE, temperature=0.0)
END = 2
ENDS = (0, 2)


@pytest.fixture(scope="module")
def client(cache: Path, models: Path) -> Iterator[TuningClient]:
    made = TuningClient(cache)
    made.load(ModelSpec(make_model(models / "tuning.gguf", n_ctx=2048), "tuning", threads=1))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def on_the_base(client: TuningClient) -> None:
    client.set_adapter(None)


def prompt(client: TuningClient, text: str) -> tuple[int, ...]:
    return client.encode([Turn("user", text)]).ids


def near(first: Sequence[float], second: Sequence[float], tolerance: float = 2e-2) -> bool:
    return len(first) == len(second) and all(
        math.isclose(a, b, abs_tol=tolerance) for a, b in zip(first, second, strict=True)
    )


def test_ids_and_mask_of_a_conversation(client: TuningClient) -> None:
    asked = [Turn("user", "hi")]
    opened = client.encode(asked)
    assert len(opened.ids) == client.count(asked) and not any(opened.mask)
    whole = client.encode([*asked, Turn("assistant", "yo")])
    assert whole.ids[: len(opened.ids)] == opened.ids
    learned = [token for token, own in zip(whole.ids, whole.mask, strict=True) if own]
    assert len(learned) == 3 and learned[-1] == END
    typed = client.encode([Turn("user", "<|im_end|>")]).ids
    assert typed.count(END) == 1


def test_greedy_samples_are_what_the_chat_writes(client: TuningClient) -> None:
    words = [f"{number} words" for number in range(40)] + ["long " * 60]
    prompts = [prompt(client, text) for text in words]
    drawn = client.rollout(prompts, 2, GREEDY)
    same = 0
    for text, samples in zip(words, drawn, strict=True):
        assert samples[0] == samples[1]
        reply = gather(client.generate(Request((Turn("user", text),), replace(GREEDY, seed=1))), 1).replies[0]
        assert reply.done is not None
        if samples[0].text != reply.text:
            continue
        same += 1
        assert samples[0].finish_reason == reply.done.finish_reason
        assert len(samples[0].ids) == reply.done.completion_tokens + (samples[0].ids[-1] in ENDS)
    # Wide batches take other kernels, and a random model has near ties.
    assert same >= 0.8 * len(words)


def test_a_sample_says_where_each_token_begins(client: TuningClient) -> None:
    prompts = [prompt(client, f"{number} words") for number in range(8)]
    whole = [own[0] for own in client.rollout(prompts, 1, GREEDY)]
    assert all(len(each.starts) == len(each.ids) for each in whole)
    for most in (1, 2, 5):
        short = client.rollout(prompts, 1, replace(GREEDY, max_tokens=most))
        for cut, full in zip(short, whole, strict=True):
            if len(full.ids) > most:
                assert full.text[: full.starts[most]] == cut[0].text


@pytest.mark.parametrize("length", [5, 300])
def test_one_cache_or_many_give_the_same(client: TuningClient, length: int) -> None:
    # Short prompts share a cache, long ones have one for each lane.
    prompts = [tuple(10 + (at * (number + 3)) % 200 for at in range(length)) for number in range(9)]
    drawn = client.rollout(prompts, 4, GREEDY)
    for row, samples in zip(prompts, drawn, strict=True):
        assert len({sample.ids for sample in samples}) == 1
        ids = samples[0].ids
        assert len(ids) == GREEDY.max_tokens or ids[-1] in ENDS
        score = client.logprobs([row + ids])[0]
        assert list(score.top[length - 1 : -1]) == list(ids)


def test_log_probabilities_are_of_the_next_token(client: TuningClient) -> None:
    row = prompt(client, "the quick brown fox")
    (score,) = client.logprobs([row])
    assert len(score.logprobs) == len(row) - 1 and len(score.top) == len(row)
    assert all(each < 0 for each in score.logprobs)
    # All continuations of a prefix together are certain.
    size = 259
    everything = client.logprobs([(*row[:5], token) for token in range(size)])
    assert math.isclose(sum(math.exp(each.logprobs[-1]) for each in everything), 1, abs_tol=1e-3)
    best = max(range(size), key=lambda token: everything[token].logprobs[-1])
    assert best == score.top[4]


def test_a_row_longer_than_a_batch(client: TuningClient) -> None:
    row = tuple(10 + at * at % 220 for at in range(1300))
    (whole,) = client.logprobs([row])
    (part,) = client.logprobs([row[:600]])
    assert near(whole.logprobs[:599], part.logprobs)
    assert len(whole.logprobs) == 1299


def test_the_adapter_that_is_set_is_used(client: TuningClient, adapter: Path) -> None:
    row = prompt(client, "hello")
    base, drawn = client.logprobs([row]), client.rollout([row], 2, GREEDY)
    client.set_adapter(AdapterSpec("lora", adapter))
    assert not near(client.logprobs([row])[0].logprobs, base[0].logprobs, 0.5)
    assert client.rollout([row], 2, GREEDY) != drawn
    client.set_adapter(None)
    assert client.logprobs([row]) == base
    assert client.rollout([row], 2, GREEDY) == drawn


def test_an_adapter_that_was_rewritten_is_loaded_again(client: TuningClient, tmp_path: Path) -> None:
    row = prompt(client, "hello")
    path = tmp_path / "training.gguf"
    seen = []
    for seed in (1, 2, 3):
        shutil.copy(make_adapter(tmp_path / f"{seed}.gguf", seed=seed), tmp_path / "new")
        (tmp_path / "new").replace(path)
        client.set_adapter(AdapterSpec("training", path))
        seen.append(client.logprobs([row])[0].logprobs)
    assert len(set(seen)) == 3


def test_states_under_another_adapter_leave_the_chat_alone(client: TuningClient, adapter: Path) -> None:
    request = Request((Turn("user", "hello there"),), GREEDY)
    before = gather(client.generate(request), 1)
    rows = [prompt(client, text) for text in ("a", "bcd", "something longer", "x" * 700)] * 6
    base = client.states(rows)
    tuned = client.states(rows, AdapterSpec("reward", adapter))
    assert len(base) == len(rows) and {len(state) for state in base} == {64}
    for at in range(4):
        assert near(client.states([rows[at]])[0], base[at])
        assert near(base[at], base[at + 4])
    assert not near(tuned[0], base[0], 0.5)
    assert near(client.states([rows[0]])[0], base[0])
    after = gather(client.generate(request), 1)
    assert after.replies[0].text == before.replies[0].text
    assert after.started is not None and after.started.cached_tokens > 0


def test_samples_repeat_by_their_seed_alone(client: TuningClient) -> None:
    first, second = prompt(client, "one"), prompt(client, "two")
    both = client.rollout([first, second], 4, PURE)
    assert client.rollout([first, second], 4, PURE) == both
    assert len({sample.ids for sample in both[0]}) == 4
    # Sample j of prompt i draws with seed + i * samples + j.
    alone = client.rollout([second], 4, replace(PURE, seed=3 + 4))
    assert [sample.ids[0] for sample in alone[0]] == [sample.ids[0] for sample in both[1]]


@pytest.mark.parametrize("sampling", [PURE, replace(PURE, top_k=200)], ids=["tables", "chains"])
def test_samples_have_the_probabilities_of_the_model(client: TuningClient, sampling: Sampling) -> None:
    row = prompt(client, "probable")
    best = client.logprobs([row])[0].top[-1]
    expected = math.exp(client.logprobs([(*row, best)])[0].logprobs[-1])
    count = 1500
    drawn = client.rollout([row], count, replace(sampling, max_tokens=1, seed=0))[0]
    share = sum(sample.ids == (best,) for sample in drawn) / count
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / count)


def test_the_table_finds_every_token_where_it_lies() -> None:
    import numpy as np

    chances = np.random.default_rng(0).dirichlet(np.ones(130)).astype(np.float32)
    chances[[0, 63, 64, 129]] = 0
    with np.errstate(divide="ignore"):
        logits = np.log(chances)[None]
    tables = _Tables(1.0)
    tables.update(logits)
    edges = np.cumsum(chances.astype(np.float64) / chances.sum(dtype=np.float64))
    for token in chances.nonzero()[0]:
        low = edges[token - 1] if token else 0.0
        assert tables.find(0, (low + edges[token]) / 2) == token
    assert chances[tables.find(0, 0.0)] > 0
    assert chances[tables.find(0, math.nextafter(1.0, 0.0))] > 0


@pytest.mark.parametrize("unlikely", [0.0, 1.0], ids=["filters", "without the most probable"])
def test_penalties_and_filters_are_the_chats(client: TuningClient, unlikely: float) -> None:
    sampling = Sampling(seed=5, temperature=0.8, max_tokens=30)
    if unlikely:
        sampling = Sampling(5, 1.0, 0, 1.0, 0.0, 1.0, xtc_probability=unlikely, max_tokens=30)
    drawn = client.rollout([prompt(client, "filter")], 1, sampling)[0][0]
    request = Request((Turn("user", "filter"),), sampling)
    assert drawn.text == gather(client.generate(request), 1).replies[0].text


@pytest.mark.parametrize("row", [(), (5, 259), (5, -1)], ids=["empty", "beyond", "negative"])
def test_rows_that_llama_cpp_would_die_of(client: TuningClient, row: tuple[int, ...]) -> None:
    child = client.pid
    for call in (
        lambda: client.logprobs([row]),
        lambda: client.states([row]),
        lambda: client.rollout([row], 1, PURE),
    ):
        with pytest.raises(EngineError, match="no token"):
            call()
    with pytest.raises(PromptTooLong):
        client.logprobs([[5] * 2048])
    with pytest.raises(EngineError, match="at least one"):
        client.rollout([(5,)], 0, PURE)
    assert client.rollout([], 4, PURE) == () and client.pid == child


def test_a_reply_ends_where_the_context_does(client: TuningClient) -> None:
    long = tuple(10 + at % 200 for at in range(2040))
    (sample,) = client.rollout([long], 1, replace(GREEDY, max_tokens=500))[0]
    assert sample.finish_reason == "stop" or len(long) + len(sample.ids) == 2048


def test_progress_is_reported(client: TuningClient) -> None:
    seen: list[float] = []
    client.rollout([prompt(client, "hi")], 40, PURE, seen.append)
    assert seen == sorted(seen) and seen[-1] == 1.0 and len(seen) > 5


def test_long_work_is_never_silent(
    client: TuningClient, large: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[float] = []
    receive = Child.receive

    def recorded(child: Child, deadline: Callable[[float], float]) -> messages.Answer:
        answer = receive(child, deadline)
        if isinstance(answer, messages.Progress):
            heard.append(answer.fraction)
        return answer

    monkeypatch.setattr(Child, "receive", recorded)
    row = tuple(10 + at * at % 220 for at in range(1800))
    for work in (client.logprobs, client.states):
        heard.clear()
        work([row])
        assert len(heard) > 2 and heard == sorted(heard) and heard[-1] == 1
    slow = TuningClient(cache)
    try:
        slow.load(ModelSpec(large, "large", threads=1))
        heard.clear()
        # One reply, which is not whole for seconds.
        slow.rollout([row[:20]], 1, replace(PURE, max_tokens=1500))
    finally:
        slow.close()
    assert heard.count(0) > 1 and heard[-1] == 1


def test_a_killed_child_comes_back_with_its_adapter(client: TuningClient, adapter: Path) -> None:
    row = prompt(client, "hello")
    client.set_adapter(AdapterSpec("lora", adapter))
    expected = client.logprobs([row])
    assert client.pid is not None
    os.kill(client.pid, signal.SIGKILL)
    with pytest.raises(EngineError):
        # The first request may notice the death, or find it done.
        while True:
            assert client.logprobs([row]) == expected
            raise EngineError("noticed before")
    assert client.logprobs([row]) == expected


def test_the_caches_are_as_large_as_was_said(cache: Path, models: Path) -> None:
    file = make_model(models / "caches.gguf", n_ctx=8192)
    client = TuningClient(cache)
    try:
        info = client.load(ModelSpec(file, "caches", threads=1, n_ctx=4096))
        assert client.pid is not None
        process, header = psutil.Process(client.pid), read_header(file)
        client.rollout([(3,) * 8], 1, replace(PURE, max_tokens=1))
        before = process.memory_info().rss
        client.rollout([(3,) * 4090], 1, replace(PURE, max_tokens=1))
        grown = process.memory_info().rss - before
        said = cache_bytes(header, info.n_ctx, info.cells) - cache_bytes(header, 256, info.cells)
        assert said > 2**22 and 0.9 * said < grown < 2 * said
    finally:
        client.close()
