"""Makes tiny random llama models and LoRA adapters as GGUF files: real to llama.cpp, meaningless to read."""

from __future__ import annotations

from pathlib import Path

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
WIDTH, LAYERS, HEADS, KV_HEADS, FEED = 64, 2, 2, 1, 96
HEAD = WIDTH // HEADS


def byte_alphabet() -> list[str]:
    """GPT-2's printable stand-in for each byte, in the order of the bytes."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    names = {byte: chr(byte) for byte in kept}
    for extra, byte in enumerate(byte for byte in range(256) if byte not in names):
        names[byte] = chr(256 + extra)
    return [names[byte] for byte in range(256)]


def make_model(
    path: Path,
    *,
    seed: int = 0,
    n_ctx: int = 512,
    template: str | None = CHATML,
    quantisation: str = "F16",
    add_bos: bool = False,
    width: int = WIDTH,
    layers: int = LAYERS,
    endless: bool = False,
    temperature: float | None = None,
    split: int = 0,
) -> Path:
    """Write a random llama with a byte-level tokenizer (ids 0..2 special, then one token for each byte).

    `quantisation` is F32, F16 or Q8_0 for the matrices. A byte tokenizer makes prompts long and replies that
    are mostly broken UTF-8, which is what the tests want. `endless`: the tokens that end a reply are never
    among the most likely. `temperature` is the one that the file recommends.
    `split`: in parts of so many tensors after a first part without any, which is what comes back.
    """
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType, quantize

    rng = np.random.default_rng(seed)
    head = width // HEADS
    tokens = [*SPECIAL, *byte_alphabet()]
    writer = GGUFWriter(path, "llama", split_max_tensors=split, small_first_shard=split > 0)
    writer.add_name("tiny")
    writer.add_license("CC0-1.0")
    writer.add_file_type({"F32": 0, "F16": 1, "Q8_0": LlamaFileType.MOSTLY_Q8_0}[quantisation])
    if temperature is not None:
        writer.add_sampling_temp(temperature)
    writer.add_context_length(n_ctx)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL] * len(SPECIAL) + [TokenType.NORMAL] * 256)
    writer.add_token_merges(["h e", "l l"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_eot_token_id(2)
    writer.add_add_bos_token(add_bos)
    if template is not None:
        writer.add_chat_template(template)

    def add(name: str, rows: int, columns: int, scale: float = 1.0) -> None:
        values = (rng.standard_normal((rows, columns)) * scale / columns**0.5).astype(np.float32)
        if endless and name == "output.weight":
            values[: len(SPECIAL)] = 0.0
        kind = GGMLQuantizationType[quantisation]
        data = values if quantisation == "F32" else quantize(values, kind)
        writer.add_tensor(name, data, raw_dtype=kind)

    def norm(name: str) -> None:
        writer.add_tensor(name, np.ones(width, dtype=np.float32))

    add("token_embd.weight", len(tokens), width, scale=4.0)
    add("output.weight", len(tokens), width, scale=4.0)
    norm("output_norm.weight")
    for layer in range(layers):
        norm(f"blk.{layer}.attn_norm.weight")
        norm(f"blk.{layer}.ffn_norm.weight")
        add(f"blk.{layer}.attn_q.weight", width, width, 2.0)
        add(f"blk.{layer}.attn_k.weight", KV_HEADS * head, width, 2.0)
        add(f"blk.{layer}.attn_v.weight", KV_HEADS * head, width, 2.0)
        add(f"blk.{layer}.attn_output.weight", width, width, 2.0)
        add(f"blk.{layer}.ffn_gate.weight", FEED, width, 2.0)
        add(f"blk.{layer}.ffn_up.weight", FEED, width, 2.0)
        add(f"blk.{layer}.ffn_down.weight", width, FEED, 2.0)
    _write(writer)
    return min(path.parent.glob(f"{path.stem}-00001-of-*")) if split else path


def make_adapter(
    path: Path,
    *,
    seed: int = 1,
    rank: int = 4,
    architecture: str = "llama",
    alpha: float = 64.0,
    width: int = WIDTH,
    kind: str = "lora",
    target: str = "blk.{layer}.ffn_up.weight",
) -> Path:
    """Write a random LoRA adapter for `make_model`'s model, strong enough to change every reply."""
    import numpy as np
    from gguf import GGUFWriter

    rng = np.random.default_rng(seed)
    writer = GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", kind)
    writer.add_float32("adapter.lora.alpha", alpha)
    for layer in range(LAYERS if "{layer}" in target else 1):
        name = target.format(layer=layer)
        writer.add_tensor(f"{name}.lora_a", rng.standard_normal((rank, width)).astype(np.float32))
        writer.add_tensor(f"{name}.lora_b", rng.standard_normal((FEED, rank)).astype(np.float32))
    _write(writer)
    return path


def _write(writer: object) -> None:
    writer.write_header_to_file()  # type: ignore[attr-defined]
    writer.write_kv_data_to_file()  # type: ignore[attr-defined]
    writer.write_tensors_to_file()  # type: ignore[attr-defined]
    writer.close()  # type: ignore[attr-defined]
