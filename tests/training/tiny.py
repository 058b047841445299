"""A policy of a few thousand parameters, an encoder of bytes and a sampler in torch: the recipes run on
them in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from chatapp.core.types import FinishReason, Sampling, Turn
from chatapp.training.base import Ids, TrainedPolicy
from chatapp.training.weight_copy import copied, restore, scale

END, OPEN = 2, 1


@dataclass(frozen=True)
class TinyEncoded:
    ids: Ids
    mask: Ids


class ByteEncoder:
    """ids: 1 opens a turn, then the role's first letter, the bytes + 3, and 2 ends it."""

    def encode(self, turns: Sequence[Turn]) -> TinyEncoded:
        ids: list[int] = []
        mask: list[int] = []
        for turn in turns:
            text = [each + 3 for each in turn.text.encode()]
            own = int(turn.role == "assistant")
            ids += [OPEN, ord(turn.role[0]) + 3, *text, END]
            mask += [0, 0, *[own] * len(text), own]
        if turns[-1].role != "assistant":
            ids += [OPEN, ord("a") + 3]
            mask += [0, 0]
        return TinyEncoded(tuple(ids), tuple(mask))


@dataclass
class TinyPolicy:
    model: Any

    def reference(self) -> AbstractContextManager[Any]:
        return self.model.disable_adapter()

    def to_reference(self) -> None:
        scale(self.model, 0.0)


class Begun(TinyPolicy):
    """A policy in a later round: held to what it is now."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.start = copied(model)

    def reference(self) -> AbstractContextManager[Any]:
        return nullcontext(self.model)

    def to_reference(self) -> None:
        restore(self.model, self.start)


def tiny_policy(seed: int = 0, kind: str = "llama", learned: float = 0.0) -> TinyPolicy:
    """`learned`: the LoRA starts away from zero, so that the policy differs from its reference."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "vocab_size": 260,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 512,
        "initializer_range": 0.15,
    }
    config: Any = LlamaConfig(**shape)
    if kind == "gemma2":
        config = Gemma2Config(**shape, head_dim=16, sliding_window=8, attn_implementation="eager")
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    lora = LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", lora_dropout=0.0, bias="none")
    peft = get_peft_model(model, lora)
    if learned:
        with torch.no_grad():
            for name, each in peft.named_parameters():
                if "lora_B" in name:
                    each.normal_(0, learned)
    return TinyPolicy(peft)


@dataclass(frozen=True)
class TinySampled:
    ids: Ids
    text: str
    finish_reason: FinishReason

    @property
    def starts(self) -> list[int]:
        return [len(_text(self.ids[:at])) for at in range(len(self.ids))]


def _text(ids: Sequence[int]) -> str:
    """Each token but the first three is a byte."""
    return bytes(each - 3 for each in ids if 3 <= each < 259).decode("utf-8", "replace")


class TorchSampler:
    """Samples with the policy itself, one token at a time."""

    def __init__(self, limit: int = 12) -> None:
        self.limit = limit
        self.published = 0
        self.policy: TrainedPolicy | None = None

    def publish(self, policy: TrainedPolicy) -> None:
        self.policy = policy
        self.published += 1

    def rollout(self, prompts: Sequence[Ids], samples: int, sampling: Sampling) -> list[list[TinySampled]]:
        import torch

        assert self.policy is not None
        generator = torch.Generator().manual_seed(sampling.seed or 0)
        found: list[list[TinySampled]] = []
        for prompt in prompts:
            ids = torch.tensor([prompt] * samples)
            for _ in range(self.limit):
                with torch.no_grad():
                    last = self.policy.model(input_ids=ids).logits[:, -1].float()
                drawn = torch.multinomial((last / sampling.temperature).softmax(-1), 1, generator=generator)
                ids = torch.cat([ids, drawn], 1)
            found.append([self._cut(row) for row in ids[:, len(prompt) :].tolist()])
        return found

    def _cut(self, ids: list[int]) -> TinySampled:
        stopped = END in ids
        own = ids[: ids.index(END) + 1] if stopped else ids
        return TinySampled(tuple(own), _text(own), "stop" if stopped else "length")
