"""The trainer against llama.cpp on a tiny random model of every architecture; each known fault shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatapp.core.errors import ModelError
from chatapp.training import architectures, export, model, recompute
from chatapp.training.export import write_adapter
from chatapp.training.model import Policy, load_policy
from chatapp.training.parity import FLOAT, ParityReport, bounds_for, compare, score
from tests.training.architectures import SHAPES, make
from tests.training.llama_child import quantised, scored_with

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")
Q4_K_M = 15
CELLS = 512


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def rows(count: int = 4, length: int = 40, seed: int = 1) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, 261, (count, length), generator=generator).tolist()


def changed(policy: Policy, seed: int = 5) -> Policy:
    """A policy whose adapter does something."""
    generator = torch.Generator().manual_seed(seed)
    for _, _, b in policy.lora():
        b.data.normal_(std=0.02, generator=generator)
    return policy


def report(policy: Policy, folder: Path, cells: int = CELLS) -> ParityReport:
    """Parity of `policy`, written to a file, with llama.cpp."""
    adapter = write_adapter(policy, folder / "adapter.gguf", {})
    ids = rows()
    tuned = score(policy, ids)
    with policy.reference():
        base = score(policy, ids)
    engine_base, engine_tuned = scored_with(policy.path, ids, [None, adapter], cells=cells)
    return compare(base, tuned, engine_base, engine_tuned, bounds_for(policy.header.quantisation))


def made(folder: Path, name: str, quantisation: str) -> Path:
    if quantisation != "Q4_K_M":
        return make(folder / f"{name}.gguf", name, quantisation=quantisation)
    return quantised(make(folder / "f16.gguf", name), folder / f"{name}.gguf", Q4_K_M)


@pytest.mark.parametrize("quantisation", ["F16", "Q8_0", "Q4_K_M"])
@pytest.mark.parametrize("name", SHAPES)
def test_trainer_equals_engine(tmp_path: Path, name: str, quantisation: str) -> None:
    policy = changed(load_policy(made(tmp_path, name, quantisation), context=CELLS))
    found = report(policy, tmp_path)
    assert found.ok, found.reason
    assert found.change > 0.3
    if quantisation == "F16":
        assert found.correlation >= 0.999


def test_bfloat16_is_coarser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "llama.gguf", "llama", quantisation="BF16")
    policy = changed(load_policy(path, context=CELLS))
    found = report(policy, tmp_path)
    assert found.ok, found.reason
    assert found.change > 0.3 and found.correlation >= 0.998
    assert FLOAT.difference < found.difference_base < bounds_for("BF16").difference / 2
    monkeypatch.setattr(export, "interleave", lambda values, heads: values)
    assert "adapter" in report(policy, tmp_path).reason


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_rows_are_scored_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    policy = changed(load_policy(make(tmp_path / "model.gguf", name)))
    whole = score(policy, rows())
    sizes: list[int] = []
    log_softmax = torch.Tensor.log_softmax

    def counted(self: Any, dim: int) -> Any:
        sizes.append(self.numel())
        return log_softmax(self, dim)

    monkeypatch.setattr(recompute, "LOGITS", 3000)
    monkeypatch.setattr(torch.Tensor, "log_softmax", counted)
    for one, other in zip(score(policy, rows()), whole, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5) and one.top == other.top
    assert max(sizes) <= 3000


def test_long_rotary_factors_follow_the_context(tmp_path: Path) -> None:
    path = make(tmp_path / "phi.gguf", "phi3long")
    short = changed(load_policy(path, context=256))
    assert report(short, tmp_path, cells=256).ok
    assert not report(short, tmp_path, cells=512).ok


def test_ignored_rotary_factors_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "rotary", lambda *_: None)
    for name in ("llama3", "linear", "gemma3", "phi3long"):
        found = report(changed(load_policy(make(tmp_path / f"{name}.gguf", name), context=CELLS)), tmp_path)
        assert "of the base differ" in found.reason, name


def test_rows_in_the_wrong_order_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "llama.gguf", "llama")
    policy = changed(load_policy(path))
    with monkeypatch.context() as patch:
        patch.setattr(export, "interleave", lambda values, heads: values)
        assert "adapter" in report(policy, tmp_path).reason
    with monkeypatch.context() as patch:
        patch.setattr(model, "deinterleave", lambda values, heads: values)
        assert "of the base differ" in report(load_policy(path), tmp_path).reason


def test_an_unpermuted_adapter_shows_on_a_quantised_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load_policy(made(tmp_path, "llama", "Q8_0"))
    generator = torch.Generator().manual_seed(0)
    for name, _, b in policy.lora():
        if "attn_q" in name or "attn_k" in name:
            b.data.normal_(std=0.03, generator=generator)
    assert report(policy, tmp_path).ok
    monkeypatch.setattr(export, "interleave", lambda values, heads: values)
    assert not report(policy, tmp_path).ok


def test_a_wrong_head_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "qwen3.gguf", "qwen3")
    monkeypatch.setattr(architectures, "head_size", lambda header: 64)
    with pytest.raises(ModelError, match=r"another shape|only a part"):
        load_policy(path)


def test_each_bound_can_fail() -> None:
    class Row:
        def __init__(self, logprobs: list[float], top: list[int]) -> None:
            self.logprobs, self.top = logprobs, top

    base = [Row([-1.0, -2.0, -3.0, -4.0], [1, 2, 3, 4, 5])]
    tuned = [Row([-1.5, -1.0, -3.5, -3.0], [1, 2, 3, 4, 5])]
    assert compare(base, tuned, base, tuned, FLOAT).ok
    assert compare(base, base, base, base, FLOAT).ok
    off = [Row([-1.1, -2.1, -3.1, -4.1], [1, 2, 3, 4, 5])]
    other = [Row([-1.0, -2.0, -3.0, -4.0], [9, 9, 3, 4, 5])]
    broken = [Row([float("nan")] * 4, [1, 2, 3, 4, 5])]
    assert "base differ by" in compare(base, tuned, off, tuned, FLOAT).reason
    assert "base agrees" in compare(base, tuned, other, tuned, FLOAT).reason
    assert "adapter on they differ" in compare(base, tuned, base, base, FLOAT).reason
    assert "not a number" in compare(base, tuned, base, broken, FLOAT).reason
    assert "switched off" in compare(base, tuned, base, tuned, FLOAT, restored=False).reason
    assert "other tokens" in compare(base, tuned, base, tuned, FLOAT, ids_equal=False).reason
