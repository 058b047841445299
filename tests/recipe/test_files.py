"""The committed model, its card and the probes."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

gguf = pytest.importorskip("gguf")

from .conftest import DEFAULT, RECIPE  # noqa: E402


@pytest.fixture(scope="module")
def reader() -> object:
    return gguf.GGUFReader(DEFAULT / "guide.gguf")


def value(reader: object, key: str) -> object:
    return reader.fields[key].contents()  # type: ignore[attr-defined]


def test_size() -> None:
    assert (DEFAULT / "guide.gguf").stat().st_size <= 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("general.architecture", "llama"),
        ("general.name", "chatapp guide"),
        ("general.license", "CC-BY-SA-4.0"),
        ("llama.context_length", 1024),
        ("tokenizer.ggml.model", "gpt2"),
        ("tokenizer.ggml.pre", "gpt-2"),
        ("tokenizer.ggml.bos_token_id", 0),
        ("tokenizer.ggml.eos_token_id", 2),
        ("tokenizer.ggml.eot_token_id", 2),
        ("tokenizer.ggml.add_bos_token", False),
        ("tokenizer.ggml.add_space_prefix", False),
    ],
)
def test_metadata(reader: object, key: str, wanted: object) -> None:
    assert value(reader, key) == wanted


def test_tokens(reader: object) -> None:
    tokens = value(reader, "tokenizer.ggml.tokens")
    assert tokens[:3] == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert len(tokens) == 4096


def test_template(reader: object) -> None:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    template = ImmutableSandboxedEnvironment().from_string(value(reader, "tokenizer.chat_template"))
    turns = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    assert template.render(messages=turns, add_generation_prompt=True) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
    )
    assert "system" not in template.render(messages=turns[1:], add_generation_prompt=False)


def test_types(reader: object) -> None:
    kinds = {t.name: t.tensor_type.name for t in reader.tensors}  # type: ignore[attr-defined]
    assert "output.weight" not in kinds
    assert all(k == ("F32" if "norm" in n else "Q8_0") for n, k in kinds.items())


def test_card_names_this_very_file() -> None:
    card = DEFAULT / "CARD.md"
    digest = hashlib.sha256((DEFAULT / "guide.gguf").read_bytes()).hexdigest()
    assert digest in card.read_text()


@pytest.mark.parametrize("path", sorted((RECIPE / "probes").glob("*.jsonl")), ids=lambda p: p.stem)
def test_probe_patterns_compile(path: object) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]  # type: ignore[attr-defined]
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        for pattern in [*row.get("expect", []), *row.get("forbid", [])]:
            re.compile(pattern)
