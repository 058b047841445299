"""Loading a GGUF file to train it, and its adapter there and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from chatapp.core.errors import ModelError
from chatapp.engine.gguf import read_header
from chatapp.engine.usable import require_adapter
from chatapp.training.architectures import SUPPORTED, require_trainable
from chatapp.training.export import BASE, HEAD, adapter_metadata, write_adapter, write_peft
from chatapp.training.model import Policy, load_policy
from chatapp.training.parity import score
from chatapp.training.weights import deinterleave, interleave
from tests.training.architectures import SHAPES, make, make_shape
from tests.training.test_parity import changed, rows

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return make(tmp_path_factory.mktemp("model") / "llama.gguf", "llama")


def test_every_supported_architecture_has_a_tiny_model() -> None:
    assert {shape.architecture for shape in SHAPES.values()} == set(SUPPORTED)


def test_a_fresh_adapter_is_the_identity_and_off_is_the_base(llama: Path) -> None:
    policy = load_policy(llama)
    fresh = score(policy, rows())
    with policy.reference():
        assert score(policy, rows()) == fresh
    changed(policy)
    assert score(policy, rows()) != fresh
    with policy.reference():
        assert score(policy, rows()) == fresh


def test_every_linear_layer_is_adapted_and_nothing_else_learns(llama: Path) -> None:
    policy = load_policy(llama, rank=4)
    kinds = {name.split(".")[2] for name, _, _ in policy.lora()}
    assert kinds == {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}
    learning = sum(each.numel() for each in policy.model.parameters() if each.requires_grad)
    assert learning == sum(a.numel() + b.numel() for _, a, b in policy.lora())
    assert all(a.shape[0] == b.shape[1] == 4 for _, a, b in policy.lora())
    assert not policy.model.training


def test_the_seed_alone_decides_the_adapter(llama: Path) -> None:
    def first(seed: int) -> list[float]:
        return next(a for _, a, _ in load_policy(llama, seed=seed).lora()).flatten().tolist()

    state = torch.random.get_rng_state()
    assert first(1) == first(1) != first(2)
    assert torch.equal(state, torch.random.get_rng_state())


def test_interleaved_rows_by_hand() -> None:
    import numpy as np

    # Two heads of four: the halves (0 1 | 2 3) become neighbours (0 2 1 3).
    plain = np.arange(8, dtype=np.float32)[:, None]
    assert interleave(plain, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert deinterleave(interleave(plain, 2), 2).tolist() == plain.tolist()


@pytest.mark.parametrize("kind", ["gguf", "peft"])
@pytest.mark.parametrize("name", ["llama", "phi3", "qwen2"])
def test_an_adapter_goes_on_where_it_was(tmp_path: Path, name: str, kind: str) -> None:
    path = make(tmp_path / "base.gguf", name)
    policy = changed(load_policy(path, rank=4, alpha=12))
    if kind == "gguf":
        saved = write_adapter(policy, tmp_path / "adapter.gguf", {"round": 2, "loss": 0.5, "data": "abc"})
    else:
        saved = write_peft(policy, tmp_path / "adapter", {"round": 2})
    again = load_policy(path, adapter=saved)
    assert (again.rank, again.alpha) == (4, 12)
    assert score(again, rows()) == score(policy, rows())


def test_a_peft_folder_works_without_us(tmp_path: Path, llama: Path) -> None:
    from peft import PeftModel

    policy = changed(load_policy(llama))
    expected = score(policy, rows())
    folder = write_peft(policy, tmp_path / "adapter", {})
    base = load_policy(llama).model.unload()
    foreign = PeftModel.from_pretrained(base, str(folder))
    with torch.inference_mode():
        logits = foreign(input_ids=torch.tensor(rows()[:1])).logits[0]
    assert logits.argmax(-1).tolist() == list(expected[0].top)
    assert json.loads((folder / "chatapp.json").read_text())["base.sha256"] == policy.base_sha256


def test_an_adapter_carries_what_it_is(tmp_path: Path, llama: Path) -> None:
    policy = changed(load_policy(llama))
    head = [0.5] * policy.width
    path = write_adapter(
        policy,
        tmp_path / "a.gguf",
        {"round": 3, "kl": 1.5, "recipe": "dpo", "ok": True},
        head=head,
        bias=0.25,
    )
    header = read_header(path, arrays=True)
    require_adapter(header, policy.header)
    assert header.metadata[BASE] == policy.base_sha256
    assert header.metadata[HEAD] == head
    carried = adapter_metadata(header)
    assert (carried["round"], carried["kl"], carried["recipe"], carried["ok"]) == (3, 1.5, "dpo", True)
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_adapter_refuses_another_base(tmp_path: Path, llama: Path) -> None:
    path = write_adapter(load_policy(llama), tmp_path / "a.gguf", {})
    folder = write_peft(load_policy(llama), tmp_path / "peft", {})
    other = make(tmp_path / "other.gguf", "llama", seed=9)
    for adapter in (path, folder):
        with pytest.raises(ModelError, match="another model file"):
            load_policy(other, adapter=adapter)
    with pytest.raises(ModelError, match="is for llama"):
        load_policy(make(tmp_path / "qwen.gguf", "qwen2"), adapter=path)


def test_a_failed_write_leaves_the_old_adapter(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gguf

    policy = changed(load_policy(llama))
    path = write_adapter(policy, tmp_path / "a.gguf", {})
    before = path.read_bytes()

    def full(self: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf.GGUFWriter, "write_tensors_to_file", full)
    with pytest.raises(OSError, match="No space"):
        write_adapter(policy, path, {})
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.gguf"]


@pytest.mark.parametrize(
    ("name", "more", "why"),
    [
        ("llama", {"rope.scaling.type": "yarn"}, "rotary scaling is yarn"),
        ("llama", {"expert_count": 8}, "mixture of experts"),
        ("qwen2", {"rope.dimension_count": 16}, "only a part of each head"),
        ("gemma2", {"rope.freq_base_swa": 5.0}, "positions of their own"),
    ],
)
def test_what_would_be_trained_wrongly_is_refused(
    tmp_path: Path, name: str, more: dict[str, object], why: str
) -> None:
    shape = SHAPES[name]
    path = make_shape(tmp_path / "odd.gguf", replace(shape, more={**shape.more, **more}))
    with pytest.raises(ModelError, match=why):
        load_policy(path)


def test_an_unknown_architecture_is_refused_before_its_weights_are_read(llama: Path) -> None:
    header = replace(read_header(llama), architecture="command-r", path=Path("no-such-file"))
    with pytest.raises(ModelError, match="architecture is command-r") as caught:
        require_trainable(header)
    assert "qwen3" in caught.value.hint


def test_an_unknown_tensor_is_refused(tmp_path: Path) -> None:
    # Qwen3's query norms in a Qwen2 file: ignoring them would train another model.
    path = make_shape(tmp_path / "odd.gguf", replace(SHAPES["qwen2"], qk_norm=True))
    with pytest.raises(ModelError, match=r"does not know its blk\.0\.attn_q_norm"):
        load_policy(path)


@pytest.mark.parametrize("name", ["llama", "gemma2", "gemma3"])
def test_boolean_masks_mean_the_same_everywhere(tmp_path: Path, name: str) -> None:
    policy: Policy = load_policy(make(tmp_path / "model.gguf", name))
    ids = torch.tensor(rows(1, 24))
    causal = torch.ones(24, 24, dtype=torch.bool).tril()
    places = torch.arange(24)
    sliding = causal & (places[:, None] - places[None, :] < 8)
    mask = {"full_attention": causal[None, None], "sliding_attention": sliding[None, None]}
    with torch.inference_mode():
        plain = policy.model(input_ids=ids).logits
        masked = policy.model(
            input_ids=ids, attention_mask=mask if name != "llama" else causal[None, None]
        ).logits
    torch.testing.assert_close(plain, masked, rtol=0, atol=1e-4)
