"""The trainer and the project's own engine: parity through the pipe, samples, reward states, token ids."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatapp.core.types import Sampling, Turn
from chatapp.engine.base import AdapterSpec, ModelSpec
from chatapp.engine.tuning import TuningClient
from chatapp.session.round_request import RoundRequest
from chatapp.session.round_work import Work
from chatapp.training.export import write_adapter
from chatapp.training.model import Policy, load_policy
from chatapp.training.parity import check, score
from chatapp.training.sampler import EngineSampler
from chatapp.training.settings import Settings
from tests.training.architectures import make
from tests.training.llama_child import tokenised
from tests.training.test_parity import changed, rows

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def engine(cache: Path) -> Iterator[TuningClient]:
    client = TuningClient(cache)
    yield client
    client.close()


def loaded(engine: TuningClient, path: Path) -> Policy:
    info = engine.load(ModelSpec(path, path.stem, threads=1))
    return changed(load_policy(path, context=info.cells))


@pytest.mark.parametrize(
    ("name", "quantisation"),
    [("llama", "F16"), ("llama", "BF16"), ("llama", "Q8_0"), ("llama3", "F16"), ("gemma2", "F16"),
     ("gemma3", "F16"), ("phi3long", "F16"), ("qwen3", "Q8_0")],
)  # fmt: skip
def test_parity_through_the_engine(
    tmp_path: Path, engine: TuningClient, name: str, quantisation: str
) -> None:
    policy = loaded(engine, make(tmp_path / "model.gguf", name, quantisation=quantisation))
    adapter = AdapterSpec("new", write_adapter(policy, tmp_path / "adapter.gguf", {}))
    turns = (Turn("user", "hello"), Turn("assistant", "12 is a number"))
    conversations = [(turns, engine.encode(turns).ids)]
    report = check(policy, adapter, engine, rows(), conversations)
    assert report.ok, report.reason
    assert report.restored and report.ids_equal and report.change > 0.3
    # Half of the adapter is not what was learned.
    weak = check(policy, AdapterSpec("half", adapter.path, 0.5), engine, rows())
    assert not weak.ok


def test_a_round_rotates_as_the_engine_does(tmp_path: Path, engine: TuningClient, cache: Path) -> None:
    """Long rotary factors go by the KV cache of all lanes, which is longer than the context of one."""
    path = make(tmp_path / "phi.gguf", "phi3long")
    info = engine.load(ModelSpec(path, "phi", n_ctx=200, threads=1))
    assert info.n_ctx < 256 < info.cells
    unused: Any = None
    request = RoundRequest("dpo", "phi", path, None, Settings())
    work = Work(request, unused, unused, unused, [engine], unused, tmp_path, cache, unused)
    policy = changed(work._policy())
    adapter = AdapterSpec("new", write_adapter(policy, tmp_path / "adapter.gguf", {}))
    report = check(policy, adapter, engine, rows(40, 80))
    assert report.ok, report.reason


def test_ids_of_a_converted_tokenizer_are_refused(tmp_path: Path, engine: TuningClient) -> None:
    from transformers import AutoTokenizer

    # This kind takes digits one by one, which conversion forgets.
    path = make(tmp_path / "model.gguf", "llama").with_name("smollm.gguf")
    make(path, "llama", pre="smollm")
    policy = loaded(engine, path)
    turns = (Turn("user", "at 12"), Turn("assistant", "12"))
    text = "<|im_start|>user\nat 12<|im_end|>\n<|im_start|>assistant\n12<|im_end|>\n"
    ours = engine.encode(turns).ids
    assert list(ours) == tokenised(path, text)
    converted = AutoTokenizer.from_pretrained(str(tmp_path), gguf_file=path.name)
    theirs = converted(text, add_special_tokens=False)["input_ids"]
    assert theirs != list(ours)
    adapter = AdapterSpec("new", write_adapter(policy, tmp_path / "adapter.gguf", {}))
    assert check(policy, adapter, engine, rows(), [(turns, ours)]).ok
    assert "other tokens" in check(policy, adapter, engine, rows(), [(turns, theirs)]).reason


def test_samples_are_drawn_from_the_newest_policy(tmp_path: Path, engine: TuningClient) -> None:
    policy = loaded(engine, make(tmp_path / "model.gguf", "llama"))
    sampler = EngineSampler([engine], tmp_path / "training.gguf")
    greedy = Sampling(seed=0, temperature=0.0, repeat_penalty=1.0, max_tokens=1)
    prompts = [tuple(row) for row in rows(12, 20)]
    for seed in (1, 2):
        changed(policy, seed)
        sampler.publish(policy)
        drawn = sampler.rollout(prompts, 2, greedy)
        best = [each.top[-1] for each in score(policy, prompts)]
        assert [group[0].ids[0] for group in drawn] == best
    changed(policy, 1)
    assert [each.top[-1] for each in score(policy, prompts)] != best


@pytest.mark.parametrize(("quantisation", "bound"), [("F32", 0.002), ("Q8_0", 0.02)])
def test_reward_states_equal_the_trainers(
    tmp_path: Path, engine: TuningClient, quantisation: str, bound: float
) -> None:
    policy = loaded(engine, make(tmp_path / "model.gguf", "llama", quantisation=quantisation))
    adapter = AdapterSpec("reward", write_adapter(policy, tmp_path / "reward.gguf", {}))
    head = torch.randn(policy.width, generator=torch.Generator().manual_seed(0)) / policy.width**0.5 / 4
    found = torch.tensor(engine.states(rows(), adapter)) @ head
    with torch.inference_mode():
        states = policy.model.get_base_model().get_decoder()(input_ids=torch.tensor(rows())).last_hidden_state
    assert (found - states[:, -1] @ head).abs().max() < bound
    with policy.reference(), torch.inference_mode():
        plain = policy.model.get_base_model().get_decoder()(input_ids=torch.tensor(rows())).last_hidden_state
    assert (found - plain[:, -1] @ head).abs().max() > bound
