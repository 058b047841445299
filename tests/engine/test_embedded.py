"""The model that comes with the program, through the real engine. Nothing is asserted on what it says."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from chatapp.core.paths import embedded_model
from chatapp.core.types import Sampling, Turn
from chatapp.engine.base import Delta, Request, Started, gather
from chatapp.engine.gguf import read_header
from chatapp.engine.usable import require_model
from tests.engine.conftest import Start

PROMPTS = ("Hello, who are you?", "How do I rank replies?", "Tell me about the weather on Saturday, please.")


@pytest.fixture(scope="module")
def guide() -> Path:
    path = embedded_model()
    if not path.is_file():
        pytest.skip("the embedded model is not in this checkout")
    return path


def test_its_header_is_whole(guide: Path) -> None:
    header = read_header(guide)
    require_model(header)
    assert header.chat_template and header.licence and header.context_length > 0


def test_it_needs_no_workaround(start: Start, guide: Path) -> None:
    info = start(guide).info
    assert info and info.notice is None


def test_lanes_are_token_identical_to_single_runs(start: Start, guide: Path) -> None:
    client = start(guide)
    for prompt in PROMPTS:
        sampling = Sampling(seed=1, temperature=0, max_tokens=48)
        together = gather(client.generate(Request((Turn("user", prompt),), sampling, 4)), 4).replies
        alone = gather(client.generate(Request((Turn("user", prompt),), sampling)), 1).replies
        assert {reply.text for reply in together} == {alone[0].text}
        assert alone[0].text and alone[0].done


@pytest.mark.parametrize("repeat_penalty", [1.0, 1.3])
def test_a_greedy_reply_that_was_cut_goes_on_as_it_would_have(
    start: Start, guide: Path, repeat_penalty: float
) -> None:
    client = start(guide)
    for prompt in PROMPTS:
        turns = (Turn("user", prompt),)
        greedy = Sampling(seed=1, temperature=0, max_tokens=48, repeat_penalty=repeat_penalty)
        [whole] = gather(client.generate(Request(turns, greedy)), 1).replies
        [cut] = gather(client.generate(Request(turns, replace(greedy, max_tokens=5))), 1).replies
        assert whole.done and cut.done and cut.done.finish_reason == "length" and cut.text
        events = list(client.generate(Request(turns, greedy, begun=cut.text)))
        [again] = gather(iter(events), 1).replies
        assert again.text == whole.text and again.done
        assert again.done.finish_reason == whole.done.finish_reason
        assert again.done.completion_tokens == whole.done.completion_tokens - 5
        assert isinstance(events[0], Started)
        assert events[0].prompt_tokens == client.count(turns) + 5
        assert events[0].cached_tokens >= client.count(turns)
        seen = [each.text for each in events if isinstance(each, Delta)]
        assert seen[0] == cut.text


def test_it_ends_its_replies_and_starts_soon(start: Start, guide: Path) -> None:
    begun = time.monotonic()
    client = start(guide)
    turns = [Turn("user", PROMPTS[0])]
    for _ in range(3):
        reply = gather(client.generate(Request(turns, Sampling(seed=1))), 1).replies[0]
        assert reply.done and reply.done.completion_tokens > 0
        turns += [Turn("assistant", reply.text), Turn("user", PROMPTS[1])]
    assert time.monotonic() - begun < 30
