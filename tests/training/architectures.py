"""Makes a tiny random GGUF model of each architecture that can be trained: real to llama.cpp.

The weights are such that every fault shows: norms are not 1, head sizes are not width / heads where the
format allows it, rotary factors are far from 1, sliding windows are shorter than the tests' texts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


@dataclass(frozen=True)
class Shape:
    """What a tiny model is made of. `architecture` is the name in the file."""

    architecture: str
    width: int = 256
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head: int = 64
    feed: int = 512
    tied: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False
    post_norms: bool = False
    fused: bool = False
    """One attn_qkv and one ffn_up with gate and up in it (phi3)."""
    embedding: float = 1.0
    """Standard deviation of the embeddings."""
    gain: float = 1.5
    """Standard deviation of a matrix's entries, times the root of its columns."""
    output_gain: float = 1.0
    """About what the final norm multiplies by."""
    rope_freqs: bool = False
    long_rope: bool = False
    more: dict[str, Any] = field(default_factory=dict)
    """Metadata keys under the architecture's own prefix."""

    @property
    def q(self) -> int:
        return self.heads * self.head

    @property
    def kv(self) -> int:
        return self.kv_heads * self.head


SHAPES = {
    "llama": Shape("llama"),
    "llama3": Shape("llama", tied=True, embedding=0.15, rope_freqs=True, more={"rope.freq_base": 500_000.0}),
    "linear": Shape("llama", more={"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}),
    "mistral": Shape("llama", head=32, more={"rope.freq_base": 1_000_000.0}),
    "qwen2": Shape("qwen2", qkv_bias=True, more={"rope.freq_base": 1_000_000.0}),
    "qwen3": Shape("qwen3", head=32, qk_norm=True, tied=True, embedding=0.15),
    "gemma2": Shape(
        "gemma2",
        head=32,
        tied=True,
        post_norms=True,
        embedding=0.03,
        output_gain=6.0,
        more={"attention.sliding_window": 8},
    ),
    "gemma3": Shape(
        "gemma3",
        layers=6,
        head=32,
        tied=True,
        post_norms=True,
        qk_norm=True,
        embedding=0.03,
        output_gain=6.0,
        more={
            "attention.sliding_window": 8,
            "rope.freq_base": 1_000_000.0,
            "rope.scaling.type": "linear",
            "rope.scaling.factor": 8.0,
        },
    ),
    "phi3": Shape("phi3", kv_heads=4, fused=True),
    "phi3long": Shape(
        "phi3",
        fused=True,
        long_rope=True,
        more={"rope.dimension_count": 48, "rope.scaling.original_context_length": 256,
              "rope.scaling.attn_factor": 1.19},
    ),
}  # fmt: skip
"""Name in the tests -> what to make. Mistral models call themselves llama in their files."""


def byte_alphabet() -> list[str]:
    """GPT-2's printable stand-in for each byte, in the order of the bytes."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    names = {byte: chr(byte) for byte in kept}
    for extra, byte in enumerate(byte for byte in range(256) if byte not in names):
        names[byte] = chr(256 + extra)
    return [names[byte] for byte in range(256)]


def make(path: Path, name: str, *, seed: int = 0, quantisation: str = "F16", pre: str = "gpt-2") -> Path:
    """Write the tiny model `name` of `SHAPES`; `quantisation` of its matrices is F32, F16, BF16 or Q8_0."""
    return make_shape(path, SHAPES[name], seed=seed, quantisation=quantisation, pre=pre)


def make_shape(
    path: Path,
    shape: Shape,
    *,
    seed: int = 0,
    quantisation: str = "F16",
    pre: str = "gpt-2",
    context: int = 512,
) -> Path:
    """Write a random model of `shape` with a byte-level tokenizer and the merges `1 2` and `l l`."""
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType, quantize

    rng = np.random.default_rng(seed)
    tokens = [*SPECIAL, *byte_alphabet(), "12", "ll"]
    writer = GGUFWriter(path, shape.architecture)
    # llama.cpp treats some models by their names.
    writer.add_name("tiny")
    writer.add_file_type(
        {
            "F32": LlamaFileType.ALL_F32,
            "F16": LlamaFileType.MOSTLY_F16,
            "BF16": LlamaFileType.MOSTLY_BF16,
            "Q8_0": LlamaFileType.MOSTLY_Q8_0,
        }[quantisation]
    )
    writer.add_context_length(context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_layer_norm_rms_eps(1e-5)
    if "rope.dimension_count" not in shape.more:
        writer.add_rope_dimension_count(shape.head)
    for key, value in shape.more.items():
        full = f"{shape.architecture}.{key}"
        match value:
            case str():
                writer.add_string(full, value)
            case int():
                writer.add_uint32(full, value)
            case float():
                writer.add_float32(full, value)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    normal = len(tokens) - len(SPECIAL)
    writer.add_token_types([TokenType.CONTROL] * len(SPECIAL) + [TokenType.NORMAL] * normal)
    writer.add_token_merges(["1 2", "l l"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_eot_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)

    def matrix(tensor: str, rows: int, columns: int, deviation: float | None = None) -> None:
        values = rng.standard_normal((rows, columns)) * (deviation or shape.gain / columns**0.5)
        kind = GGMLQuantizationType[quantisation]
        data = quantize(values.astype(np.float32), kind)
        writer.add_tensor(tensor, data, raw_dtype=kind)

    def vector(tensor: str, size: int, low: float, high: float) -> None:
        writer.add_tensor(tensor, rng.uniform(low, high, size).astype(np.float32))

    def norm(tensor: str, size: int = shape.width) -> None:
        vector(tensor, size, 0.5, 1.5)

    matrix("token_embd.weight", len(tokens), shape.width, shape.embedding)
    if not shape.tied:
        matrix("output.weight", len(tokens), shape.width, 0.15)
    vector("output_norm.weight", shape.width, 0.5 * shape.output_gain, 1.5 * shape.output_gain)
    rotary = int(shape.more.get("rope.dimension_count", shape.head))
    if shape.rope_freqs:
        writer.add_tensor("rope_freqs.weight", np.linspace(1, 32, rotary // 2, dtype=np.float32))
    if shape.long_rope:
        writer.add_tensor("rope_factors_long.weight", np.linspace(1, 24, rotary // 2, dtype=np.float32))
        writer.add_tensor("rope_factors_short.weight", np.linspace(1, 3, rotary // 2, dtype=np.float32))
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        norm(f"{block}.attn_norm.weight")
        norm(f"{block}.ffn_norm.weight")
        if shape.post_norms:
            norm(f"{block}.post_attention_norm.weight")
            norm(f"{block}.post_ffw_norm.weight")
        if shape.qk_norm:
            norm(f"{block}.attn_q_norm.weight", shape.head)
            norm(f"{block}.attn_k_norm.weight", shape.head)
        if shape.fused:
            matrix(f"{block}.attn_qkv.weight", shape.q + 2 * shape.kv, shape.width)
            matrix(f"{block}.ffn_up.weight", 2 * shape.feed, shape.width)
        else:
            matrix(f"{block}.attn_q.weight", shape.q, shape.width)
            matrix(f"{block}.attn_k.weight", shape.kv, shape.width)
            matrix(f"{block}.attn_v.weight", shape.kv, shape.width)
            matrix(f"{block}.ffn_gate.weight", shape.feed, shape.width)
            matrix(f"{block}.ffn_up.weight", shape.feed, shape.width)
        if shape.qkv_bias:
            for each, size in (("q", shape.q), ("k", shape.kv), ("v", shape.kv)):
                vector(f"{block}.attn_{each}.bias", size, -1.0, 1.0)
        matrix(f"{block}.attn_output.weight", shape.width, shape.q)
        matrix(f"{block}.ffn_down.weight", shape.width, shape.feed)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
