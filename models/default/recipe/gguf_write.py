"""Writes a trained guide as a GGUF file, F16 or Q8_0."""
from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
from model import Guide
from tokenizer import END, IM_END, SPECIAL

TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content "
    "+ '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}"
    "{{- '<|im_start|>assistant\\n' -}}"
    "{%- endif -%}")


def permute(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k from the half-split to the paired rotary layout."""
    rows = weight.shape[0]
    return (weight.reshape(heads, 2, rows // heads // 2, -1)
            .swapaxes(1, 2).reshape(weight.shape))


NAMES = {"norm1": "attn_norm", "norm2": "ffn_norm", "q": "attn_q",
         "k": "attn_k", "v": "attn_v", "o": "attn_output",
         "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}
"""The weights of a block, here and in a GGUF."""
TOKENS, SECONDS = "guide.trained.tokens", "guide.trained.seconds"
"""Where a file says what it was trained on, and for how long."""


def tensors(model: Guide) -> dict[str, np.ndarray]:
    """Every weight under its GGUF name, in float32."""
    out = {}
    for key, value in model.state_dict().items():
        array = value.detach().float().cpu().numpy()
        parts = key.split(".")
        if parts[0] == "embed":
            out["token_embd.weight"] = array
        elif parts[0] == "norm":
            out["output_norm.weight"] = array
        else:
            if parts[2] in ("q", "k"):
                array = permute(array, model.shape.heads)
            out[f"blk.{parts[1]}.{NAMES[parts[2]]}.weight"] = array
    return out


TEMPERATURE = 0.4
"""Recommended in the file: a small model's likeliest words are its best."""


def write(model: Guide, tokenizer_json: Path, path: Path, kind: str,
          tokens: int = 0, seconds: float = 0.0) -> None:
    """Write `path`; `kind` is "F16" or "Q8_0". Norms stay float32. `tokens`
    and `seconds` are what it was trained on, and for how long."""
    s = model.shape
    w = gguf.GGUFWriter(str(path), "llama")
    w.add_name("chatapp guide")
    w.add_description("A small guide, trained from nothing for chatapp.")
    w.add_license("CC-BY-SA-4.0")
    w.add_type("model")
    w.add_sampling_temp(TEMPERATURE)
    w.add_uint64(TOKENS, tokens)
    w.add_float64(SECONDS, seconds)
    w.add_context_length(s.context)
    w.add_embedding_length(s.width)
    w.add_block_count(s.layers)
    w.add_feed_forward_length(s.ffn)
    w.add_head_count(s.heads)
    w.add_head_count_kv(s.heads)
    w.add_rope_dimension_count(s.width // s.heads)
    w.add_rope_freq_base(s.rope_base)
    w.add_layer_norm_rms_eps(s.eps)
    w.add_vocab_size(s.vocab)
    w.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if kind == "F16"
                    else gguf.LlamaFileType.MOSTLY_Q8_0)
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    data = json.loads(tokenizer_json.read_text())["model"]
    vocab = [""] * s.vocab
    for token, number in data["vocab"].items():
        vocab[number] = token
    special = gguf.TokenType.CONTROL
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(vocab)
    w.add_token_types([special if t in SPECIAL else gguf.TokenType.NORMAL
                       for t in vocab])
    w.add_token_merges([" ".join(m) if isinstance(m, list) else m
                        for m in data["merges"]])
    w.add_bos_token_id(END)
    w.add_eos_token_id(IM_END)
    w.add_eot_token_id(IM_END)
    w.add_pad_token_id(END)
    w.add_add_bos_token(False)
    w.add_add_eos_token(False)
    w.add_add_space_prefix(False)
    w.add_chat_template(TEMPLATE)
    q8 = gguf.GGMLQuantizationType.Q8_0
    for name, array in tensors(model).items():
        if array.ndim == 1:
            w.add_tensor(name, array)
        elif kind == "F16":
            w.add_tensor(name, array.astype(np.float16))
        else:
            w.add_tensor(name, gguf.quants.quantize(array, q8), raw_dtype=q8)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
