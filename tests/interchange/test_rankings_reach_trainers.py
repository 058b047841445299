"""Twenty rankings from the command line, with ties and all-bad ones, reach the tools that train on them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chatapp.cli.app import app
from chatapp.core.paths import find_paths
from chatapp.core.types import Provenance
from chatapp.store.database import open_store

# Order of the replies a, b, c, d to each of 20 questions; None is all bad.
ORDERS: list[str | None] = [
    "a>b>c>d", "d>c>b>a", "a=b>c=d", "a>b=c=d", "a=b=c>d", "a=b=c=d", None, "b>a", "c=d>a", "b>d>a",
    "d>a=c", None, "a>c", "b=c>a>d", "c>b>a=d", "d=a", "b>c=d=a", None, "c>d>b>a", "a>d=b>c",
]  # fmt: skip
# The pairs that each order says, worked out by hand: chosen then rejected.
PAIRS = [
    "ab ac ad bc bd cd", "dc db da cb ca ba", "ac ad bc bd", "ab ac ad", "ad bd cd", "", "", "ba", "ca da",
    "bd ba da", "da dc", "", "ac", "ba bd ca cd ad", "cb ca cd ba bd", "", "bc bd ba", "",
    "cd cb ca db da ba", "ad ab ac dc bc",
]  # fmt: skip


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Ranks all questions through `rankings add` and gives a function that exports them in a format."""
    monkeypatch.setenv("CHATAPP_HOME", str(tmp_path / "home"))
    prompts, ids = [], []
    with open_store(find_paths().database) as store:
        chats = store.conversations
        for number in range(len(ORDERS)):
            chat = chats.create(f"question {number}").id
            prompt = chats.add(chat, None, "user", f"question {number}?", "typed").id
            replies = chats.begin_replies(chat, prompt, [Provenance("guide")] * 4)
            for name, reply in zip("abcd", replies, strict=True):
                chats.finish(reply.id, f"answer {name} to {number}", "stop", Provenance("guide"))
            prompts.append(prompt)
            ids.append({name: str(reply.id) for name, reply in zip("abcd", replies, strict=True)})

    for prompt, names, order in zip(prompts, ids, ORDERS, strict=True):
        said = ["--all-bad"] if order is None else ["--order", "".join(names.get(c, c) for c in order)]
        run("rankings", "add", "--prompt", str(prompt), *said)

    def export(format: str) -> Path:
        file = tmp_path / f"{format}.jsonl"
        run("rankings", "export", str(file), "--format", format)
        return file

    return export


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_exported_pairs_are_those_worked_out_by_hand(export) -> None:
    rows = [json.loads(line) for line in export("trl-preference").read_text().splitlines()]
    said = sorted(
        (row["prompt"][0]["content"], row["chosen"][0]["content"], row["rejected"][0]["content"])
        for row in rows
    )
    by_hand = sorted(
        (f"question {number}?", f"answer {pair[0]} to {number}", f"answer {pair[1]} to {number}")
        for number, pairs in enumerate(PAIRS)
        for pair in pairs.split()
    )
    assert said == by_hand
    stats = json.loads(run("rankings", "stats", "--json"))
    assert (stats["rankings"], stats["all_bad"], stats["pairs"]) == (20, 3, len(by_hand))


@pytest.mark.train
def test_datasets_and_trl_take_the_files_unchanged(export, tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="the train extra is not installed")
    import datasets

    def load(format: str):
        return datasets.load_dataset(
            "json", data_files=str(export(format)), split="train", cache_dir=str(tmp_path / "cache")
        )

    from peft import LoraConfig
    from transformers import LlamaForCausalLM, LlamaForSequenceClassification
    from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

    tokenizer = word_tokenizer()
    common = {"output_dir": str(tmp_path / "out"), "use_cpu": True, "bf16": False, "report_to": "none"}
    pairs = load("trl-preference")
    assert set(pairs.column_names) == {"prompt", "chosen", "rejected"}
    policy = LlamaForCausalLM(tiny_llama(tokenizer))
    dpo = DPOTrainer(
        policy,
        args=DPOConfig(**common),
        train_dataset=pairs,
        processing_class=tokenizer,
        peft_config=LoraConfig(r=2, target_modules=["q_proj"]),
    )
    assert len(dpo.train_dataset) == len(pairs)
    scorer = LlamaForSequenceClassification(tiny_llama(tokenizer, num_labels=1))
    reward = RewardTrainer(
        scorer, args=RewardConfig(**common), train_dataset=pairs, processing_class=tokenizer
    )
    assert len(reward.train_dataset) == len(pairs)
    best = load("trl-sft")
    plain = LlamaForCausalLM(tiny_llama(tokenizer))
    sft = SFTTrainer(plain, args=SFTConfig(**common), train_dataset=best, processing_class=tokenizer)
    assert len(sft.train_dataset) == len(best) > 0
    for trainer in (dpo, reward, sft):
        batch = next(iter(trainer.get_train_dataloader()))
        assert all(len(value) for value in batch.values())
    unpaired = load("trl-unpaired")
    assert set(unpaired.column_names) == {"prompt", "completion", "label"}
    assert len(unpaired) == 3 * 4  # every reply of the three that were all bad


def word_tokenizer():
    """A tokenizer with one token a word and a chat template, made here: no hub is asked."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "</s>", "<pad>", "<unk>"]
    words = [*special, *"abcd?", "question", "answer", "to", "user", "assistant"]
    words += [str(number) for number in range(len(ORDERS))]
    model = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=model, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}<s>{{ m['role'] }} {{ m['content'] }}</s>{% endfor %}"
        "{% if add_generation_prompt %}<s>assistant {% endif %}"
    )
    return tokenizer


def tiny_llama(tokenizer, **more):
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, pad_token_id=tokenizer.pad_token_id, **more,
    )  # fmt: skip
