"""llama.cpp alone, without the project's engine: the yardstick that the trainer is measured against.

Run as a script it takes one JSON job on standard input and writes one JSON answer to standard output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Scored:
    """One row of token ids as llama.cpp sees it."""

    logprobs: list[float]
    """log p(ids[t + 1] | ids[: t + 1]) for each t but the last."""
    top: list[int]
    """The most probable next token after each prefix."""
    embedding: list[float]
    """The last token's state after the final norm, when it was asked for."""


def scored(
    model: Path,
    rows: Sequence[Sequence[int]],
    *,
    cells: int = 512,
    embeddings: bool = False,
) -> list[Scored]:
    """Every row through llama.cpp in a process of its own; `cells` is the size of its context."""
    return scored_with(model, rows, [None], cells=cells, embeddings=embeddings)[0]


def scored_with(
    model: Path,
    rows: Sequence[Sequence[int]],
    adapters: Sequence[Path | None],
    *,
    cells: int = 512,
    embeddings: bool = False,
) -> list[list[Scored]]:
    """As `scored`, once with each of `adapters` (None is the base)."""
    job = {
        "model": str(model),
        "rows": [list(row) for row in rows],
        "adapters": [str(adapter) if adapter else None for adapter in adapters],
        "cells": cells,
        "embeddings": embeddings,
    }
    return [[Scored(**row) for row in answers] for answers in _child(job)]


def quantised(source: Path, target: Path, kind: int) -> Path:
    """`source` re-quantised by llama.cpp; `kind` is its file type (15 is Q4_K_M)."""
    _child({"model": str(source), "target": str(target), "kind": kind})
    return target


def tokenised(model: Path, text: str) -> list[int]:
    """llama.cpp's own token ids of `text`, special tokens written out in it included."""
    return _child({"model": str(model), "text": text})


def _child(job: dict[str, Any]) -> Any:
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, __file__], input=json.dumps(job), capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def _main() -> None:
    job = json.load(sys.stdin)
    out = os.dup(1)
    # llama.cpp writes to the standard descriptors as it likes.
    os.dup2(2, 1)
    from llama_cpp import llama_cpp as lib

    lib.llama_backend_init()
    if "kind" in job:
        params = lib.llama_model_quantize_default_params()
        params.ftype = job["kind"]
        params.nthread = 1
        answer: Any = lib.llama_model_quantize(job["model"].encode(), job["target"].encode(), params)
        assert answer == 0
    else:
        params = lib.llama_model_default_params()
        params.use_extra_bufts = False
        params.vocab_only = "text" in job
        model = lib.llama_model_load_from_file(job["model"].encode(), params)
        assert model
        answer = _tokens(lib, model, job["text"]) if "text" in job else _score(lib, model, job)
    with os.fdopen(out, "w") as file:
        json.dump(answer, file)


def _tokens(lib: Any, model: Any, text: str) -> list[int]:
    data = text.encode()
    tokens = (lib.llama_token * (len(data) + 8))()
    vocab = lib.llama_model_get_vocab(model)
    count = lib.llama_tokenize(vocab, data, len(data), tokens, len(tokens), False, True)
    return list(tokens[:count])


def _score(lib: Any, model: Any, job: dict[str, Any]) -> list[list[dict[str, Any]]]:
    import ctypes

    params = lib.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = job["cells"]
    params.n_threads = params.n_threads_batch = 1
    params.type_k = params.type_v = 0
    params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.swa_full = True
    if job["embeddings"]:
        params.embeddings = True
        params.pooling_type = lib.LLAMA_POOLING_TYPE_LAST
    context = lib.llama_init_from_model(model, params)
    assert context
    answers = []
    for path in job["adapters"]:
        adapter = lib.llama_adapter_lora_init(model, path.encode()) if path else None
        assert adapter or not path, "the adapter was refused"
        adapters = (lib.llama_adapter_lora_p_ctypes * 1)(adapter)
        lib.llama_set_adapters_lora(context, adapters, int(path is not None), (ctypes.c_float * 1)(1.0))
        answers.append(_decode(lib, model, context, job))
    return answers


def _decode(lib: Any, model: Any, context: Any, job: dict[str, Any]) -> list[dict[str, Any]]:
    import numpy as np

    vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    width = lib.llama_model_n_embd(model)
    answers = []
    batch = lib.llama_batch_init(job["cells"], 0, 1)
    for row in job["rows"]:
        lib.llama_memory_clear(lib.llama_get_memory(context), True)
        batch.n_tokens = len(row)
        for place, token in enumerate(row):
            batch.token[place], batch.pos[place] = token, place
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
            batch.logits[place] = True
        assert lib.llama_decode(context, batch) == 0
        if job["embeddings"]:
            state = np.ctypeslib.as_array(lib.llama_get_embeddings_seq(context, 0), (width,))
            answers.append({"logprobs": [], "top": [], "embedding": state.tolist()})
            continue
        logits = np.ctypeslib.as_array(lib.llama_get_logits(context), (len(row), vocab)).astype(np.float64)
        top = logits.argmax(-1)
        logits = logits - logits.max(-1, keepdims=True)
        logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        chosen = logprobs[np.arange(len(row) - 1), row[1:]]
        answers.append({"logprobs": chosen.tolist(), "top": top.tolist(), "embedding": []})
    return answers


if __name__ == "__main__":
    _main()
