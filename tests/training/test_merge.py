"""The adapter in the weights: nothing else changes, and what quantisation destroys is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatapp.core.errors import ModelError
from chatapp.engine.gguf import read_header
from chatapp.engine.quantise import quantise
from chatapp.training.export import write_adapter
from chatapp.training.merge import merge, write_merged
from chatapp.training.model import Policy, load_policy
from chatapp.training.parity import score
from tests.engine.tiny_gguf import make_adapter, make_model
from tests.training.architectures import make
from tests.training.llama_child import scored, scored_with, tokenised
from tests.training.test_parity import changed, rows

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")


def slightly_changed(policy: Policy, deviation: float) -> Policy:
    generator = torch.Generator().manual_seed(1)
    for _, _, b in policy.lora():
        b.data.normal_(std=deviation, generator=generator)
    return policy


@pytest.mark.parametrize("name", ["llama", "gemma3", "phi3"])
def test_the_merged_file_is_base_and_adapter(tmp_path: Path, name: str) -> None:
    base = make(tmp_path / "base.gguf", name)
    policy = changed(load_policy(base))
    adapter = write_adapter(policy, tmp_path / "adapter.gguf", {})
    merged = write_merged(adapter, base, tmp_path / "merged.gguf")
    (beside,) = scored_with(base, rows(), [adapter])
    for one, other in zip(scored(merged, rows()), beside, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=0.03)
    # It can be trained again, and says of itself what the base said.
    assert score(load_policy(merged), rows(1))[0].logprobs == pytest.approx(
        score(policy, rows(1))[0].logprobs, abs=0.03
    )
    was, became = read_header(base, arrays=True), read_header(merged, arrays=True)
    assert was.metadata == became.metadata
    assert tokenised(merged, "12 ll<|im_end|>") == tokenised(base, "12 ll<|im_end|>")


def test_the_scale_is_in_the_merged_weights(tmp_path: Path) -> None:
    base = make(tmp_path / "base.gguf", "qwen2")
    adapter = write_adapter(changed(load_policy(base)), tmp_path / "adapter.gguf", {})
    none = write_merged(adapter, base, tmp_path / "none.gguf", scale=0.0)
    for one, other in zip(scored(none, rows()), scored(base, rows()), strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-6)


def test_eight_bits_keep_what_was_learned(tmp_path: Path) -> None:
    base = make(tmp_path / "base.gguf", "llama", quantisation="Q8_0")
    adapter = write_adapter(changed(load_policy(base)), tmp_path / "adapter.gguf", {})
    survival = merge(adapter, base, tmp_path / "merged.gguf", "Q8_0", rows())
    assert survival.ok and survival.kept > 0.9 and survival.correlation > 0.9
    assert read_header(tmp_path / "merged.gguf").quantisation == "Q8_0"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["adapter.gguf", "base.gguf", "merged.gguf"]


def test_what_four_bits_destroy_is_refused(tmp_path: Path) -> None:
    base = quantise(make(tmp_path / "f16.gguf", "llama"), tmp_path / "base.gguf", "Q4_K_M")
    policy = slightly_changed(load_policy(base), 0.001)
    adapter = write_adapter(policy, tmp_path / "adapter.gguf", {})
    target = tmp_path / "merged.gguf"
    with pytest.raises(ModelError, match="survives the quantisation") as caught:
        merge(adapter, base, target, "Q4_K_M", rows())
    assert caught.value.hint.startswith("choose Q8_0 or F16, ")
    assert "--force" in caught.value.hint and not target.exists()
    with pytest.raises(ModelError, match="survives the quantisation") as caught:
        merge(adapter, base, target, "Q8_0", rows())
    assert caught.value.hint.startswith("choose F16, ")
    assert not merge(adapter, base, target, "Q4_K_M", rows(), force=True).ok
    assert read_header(target).quantisation == "Q4_K_M"
    # The same small change survives where nothing is rounded away.
    assert merge(adapter, base, target, "F16", rows()).kept == pytest.approx(1)


def test_what_cannot_be_merged_is_refused(tmp_path: Path) -> None:
    base = make(tmp_path / "base.gguf", "llama")
    adapter = write_adapter(changed(load_policy(base)), tmp_path / "adapter.gguf", {})
    other = make(tmp_path / "other.gguf", "llama", seed=4)
    target = tmp_path / "merged.gguf"
    with pytest.raises(ModelError, match="another model file"):
        merge(adapter, other, target, "Q8_0", rows())
    with pytest.raises(ModelError, match="no quantisation is called Q3"):
        merge(adapter, base, target, "Q3", rows())
    first = make_model(tmp_path / "parts.gguf", split=8)
    with pytest.raises(ModelError, match="split into several files"):
        write_merged(make_adapter(tmp_path / "strong.gguf"), first, target)
    with pytest.raises(ModelError, match="changes nothing"):
        merge(write_adapter(load_policy(base), tmp_path / "fresh.gguf", {}), base, target, "F16", rows())
    (tmp_path / "broken.gguf").write_bytes(base.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cannot quantise"):
        quantise(tmp_path / "broken.gguf", target, "Q8_0")
    assert not target.exists()
