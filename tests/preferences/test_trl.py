"""Exported files, read by the libraries that they are for: datasets and TRL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatapp.core.types import Group, GroupReply, Turn
from chatapp.preferences.formats.load import load
from chatapp.preferences.formats.save import save
from chatapp.preferences.pairs import group_pairs

datasets = pytest.importorskip("datasets", reason="needs the train extra")
trl = pytest.importorskip("trl", reason="needs the train extra")
pytestmark = pytest.mark.train

SYSTEM = Turn("system", "Be brief.")
GROUPS = [
    Group(
        (SYSTEM, Turn("user", "Sky?")), tuple(map(GroupReply, ("Blue.", "Green.", "Red."))), ((0,), (2, 1))
    ),
    Group((Turn("user", "Tea?"),), (GroupReply("Yes."), GroupReply("No.")), all_bad=True),
    Group(
        (Turn("user", "Hi"), Turn("assistant", "Hello"), Turn("user", 'A "quote"\nand 🙂?')),
        (GroupReply("Typed.", "edit"), GroupReply("Sampled.", "model", "guide")),
        demonstration=0,
    ),
    Group((Turn("user", "Rain?"),), (GroupReply("Soon.", thumb=1),)),
    Group((Turn("user", "Rain?"),), (GroupReply("Never.", thumb=-1),)),
]
TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def loaded(tmp_path: Path, format: str, ending: str = "jsonl") -> Any:
    file = tmp_path / f"{format}.{ending}"
    save(file, GROUPS, format)
    kind = "json" if ending == "jsonl" else "parquet"
    return datasets.load_dataset(kind, data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """A word-piece tokenizer of bytes, made here."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {token: index for index, token in enumerate(["<pad>", "<end>", *alphabet])}
    made = Tokenizer(models.BPE(vocab=words, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<end>")
    fast.chat_template = TEMPLATE
    return fast


def tiny(kind: str, tokenizer: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, num_labels=1, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return (LlamaForSequenceClassification if kind == "reward" else LlamaForCausalLM)(config)


def settings(kind: Any, tmp_path: Path, **more: Any) -> Any:
    return kind(
        output_dir=str(tmp_path / "out"), use_cpu=True, bf16=False, gradient_checkpointing=False, max_steps=1,
        per_device_train_batch_size=2, report_to=[], save_strategy="no", disable_tqdm=True, **more,
    )  # fmt: skip


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_datasets_loads_what_was_saved(tmp_path: Path, ending: str) -> None:
    pairs = loaded(tmp_path, "trl-preference", ending)
    assert pairs.column_names == ["prompt", "chosen", "rejected"]
    assert len(pairs) == sum(len(group_pairs(group)) for group in GROUPS) == 3
    assert pairs[0]["prompt"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Sky?"},
    ]
    assert (pairs[0]["chosen"][0]["content"], pairs[0]["rejected"][0]["content"]) == ("Blue.", "Red.")
    labels = loaded(tmp_path, "trl-unpaired", ending)
    assert labels.features["label"].dtype == "bool"
    assert labels["label"][:] == [False, False, True, False]
    assert len(loaded(tmp_path, "trl-sft", ending)) == 3
    assert len(loaded(tmp_path, "rankings", ending)) == len(GROUPS)


def test_our_reader_reads_them_back(tmp_path: Path) -> None:
    for format in ("trl-preference", "trl-unpaired", "trl-sft"):
        file = tmp_path / f"{format}.jsonl"
        count = save(file, GROUPS, format)
        again = load(file)
        assert (again.format, len(again.groups), again.malformed) == (format, count, [])


def test_trl_sees_its_own_types(tmp_path: Path) -> None:
    from trl.data_utils import extract_prompt, is_conversational

    for format in ("trl-preference", "trl-unpaired", "trl-sft"):
        rows = loaded(tmp_path, format)
        assert all(is_conversational(row) for row in rows)
    for row in loaded(tmp_path, "trl-preference"):
        implicit = {name: row["prompt"] + row[name] for name in ("chosen", "rejected")}
        assert extract_prompt(implicit) == row


def test_dpo_trains_on_the_file(tmp_path: Path, tokenizer: Any) -> None:
    trainer = trl.DPOTrainer(
        tiny("dpo", tokenizer),
        ref_model=tiny("dpo", tokenizer),
        args=settings(trl.DPOConfig, tmp_path),
        train_dataset=loaded(tmp_path, "trl-preference"),
        processing_class=tokenizer,
    )
    row = trainer.train_dataset[0]
    prompt, chosen = (tokenizer.decode(row[name]) for name in ("prompt_ids", "chosen_ids"))
    assert prompt == "<system>Be brief.<end><user>Sky?<end><assistant>"
    assert chosen.startswith("Blue.<end>")
    assert trainer.train().global_step == 1


def test_the_reward_trainer_trains_on_the_file(tmp_path: Path, tokenizer: Any) -> None:
    trainer = trl.RewardTrainer(
        tiny("reward", tokenizer),
        args=settings(trl.RewardConfig, tmp_path),
        train_dataset=loaded(tmp_path, "trl-preference"),
        processing_class=tokenizer,
    )
    assert tokenizer.decode(trainer.train_dataset[0]["rejected_ids"]).endswith("<assistant>Red.<end>")
    assert trainer.train().global_step == 1


def test_sft_trains_on_the_file(tmp_path: Path, tokenizer: Any) -> None:
    trainer = trl.SFTTrainer(
        tiny("sft", tokenizer),
        args=settings(trl.SFTConfig, tmp_path),
        train_dataset=loaded(tmp_path, "trl-sft"),
        processing_class=tokenizer,
    )
    assert trainer.train().global_step == 1


def test_kto_trains_on_the_file(tmp_path: Path, tokenizer: Any) -> None:
    trainer = trl.KTOTrainer(
        tiny("kto", tokenizer),
        ref_model=tiny("kto", tokenizer),
        args=settings(trl.KTOConfig, tmp_path),
        train_dataset=loaded(tmp_path, "trl-unpaired"),
        processing_class=tokenizer,
    )
    assert trainer.train().global_step == 1
