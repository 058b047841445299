"""The replies that the client gets from its child process, with real llama.cpp on tiny random models."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatapp.core.errors import EngineError, PromptTooLong
from chatapp.core.types import Sampling, Turn
from chatapp.engine.base import Delta, LaneDone, Request, Started
from chatapp.engine.client import LlamaClient
from tests.engine.asking import ask, run, texts
from tests.engine.conftest import Start
from tests.engine.tiny_gguf import make_model


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
    n_ctx = client.info.n_ctx
    taken = client.count([Turn("user", "x" * 600)])
    assert str(error.value).startswith(f"the message takes {taken} tokens, and the context holds {n_ctx}, ")
    with pytest.raises(PromptTooLong) as error:
        run(client, ask("x" * (client.info.n_ctx - 60), max_tokens=1000))
    assert error.value.hint.startswith("shorten the message, or have a shorter reply (--max-tokens ")
    fitting = int(error.value.hint.split("--max-tokens ")[1].split(",")[0])
    assert f"(--max-tokens {fitting}, a flag of `chatapp ask`, or " in error.value.hint
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


def test_what_is_written_of_a_reply_takes_room_of_prompt_and_reply_alike(start: Start, tiny: Path) -> None:
    client = start(tiny, n_ctx=256)
    sampling = Sampling(max_tokens=1000, seed=7)
    earlier = (Turn("user", "a" * 40), Turn("assistant", "b" * 40))
    result = run(client, Request((*earlier, Turn("user", "z")), sampling, begun="y" * 180))
    assert result.started and result.started.dropped_turns == 2
    assert result.replies[0].text.startswith("y" * 180)
    with pytest.raises(PromptTooLong, match=" and the reply so far 250: the context of 256 has ") as error:
        run(client, Request((Turn("user", "z"),), sampling, begun="y" * 250))
    assert error.value.hint == (
        "edit the reply to be shorter, or raise n_ctx in config.toml (the model takes up to 512)"
    )


def test_a_reply_goes_on_in_every_lane_from_what_is_written(start: Start, tiny: Path) -> None:
    client = start(tiny)
    sampling = Sampling(max_tokens=24, seed=7)
    replies = run(client, Request((Turn("user", "hello"),), sampling, 3, begun="<|im_end|> é")).replies
    assert all(reply.text.startswith("<|im_end|> é") for reply in replies)
    assert len({reply.text for reply in replies}) == 3


def test_special_tokens_that_are_typed_stay_text(start: Start, tiny: Path) -> None:
    client = start(tiny)
    plain, special = (client.count((Turn("user", text),)) for text in ("", "<|im_end|>"))
    assert special - plain == len("<|im_end|>")


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
