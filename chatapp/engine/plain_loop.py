"""llama.cpp's own loop and nothing else: what the engine's speed is measured against.

`plain.PlainLoop` runs this file by itself, in a process of its own; nothing of the program is imported. Each
line of standard input is a JSON object and gets one as its answer: first what to load, then prompts to run.
Settings that are not sent keep llama.cpp's defaults.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from typing import Any, BinaryIO

from llama_cpp import llama_cpp as lib

_WARNING, _ERROR = 3, 4


class Loop:
    """A loaded model and a context for one reply; a request for several gets a context of its own."""

    def __init__(self, setup: dict[str, Any]) -> None:
        lib.llama_backend_init()
        params = lib.llama_model_default_params()
        params.n_gpu_layers = setup["gpu_layers"]
        params.use_extra_bufts = setup["extra_buffers"]
        self._setup = setup
        self._model = lib.llama_model_load_from_file(os.fsencode(setup["model"]), params)
        if not self._model:
            raise ValueError("the model cannot be loaded")
        self._vocab = lib.llama_model_get_vocab(self._model)
        self._adapter: Any = None
        if setup["adapter"]:
            self._adapter = lib.llama_adapter_lora_init(self._model, os.fsencode(setup["adapter"]))
            if not self._adapter:
                raise ValueError("the adapter cannot be loaded")
        self._context = self._new_context(setup["n_ctx"], 1)

    def _new_context(self, n_ctx: int, lanes: int) -> Any:
        params = lib.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_seq_max = lanes
        params.kv_unified = True
        params.n_threads, params.n_threads_batch = self._setup["threads"]
        context = lib.llama_init_from_model(self._model, params)
        if not context:
            raise ValueError("there is not enough memory for a context")
        if self._adapter is not None:
            adapters = (lib.llama_adapter_lora_p_ctypes * 1)(self._adapter)
            scales = (ctypes.c_float * 1)(self._setup["scale"])
            if lib.llama_set_adapters_lora(context, adapters, 1, scales) != 0:
                raise ValueError("the adapter cannot be used")
        return context

    def _chain(self, sampling: dict[str, Any], seed: int) -> Any:
        """llama.cpp's sampler chain, in the order of its own tools."""
        chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        n_vocab = lib.llama_vocab_n_tokens(self._vocab)
        parts: list[Any] = []
        if sampling["repeat_penalty"] != 1:
            parts.append(lib.llama_sampler_init_penalties(n_vocab, 64, sampling["repeat_penalty"], 0.0, 0.0))
        if sampling["temperature"] < 1e-3:
            parts.append(lib.llama_sampler_init_greedy())
        else:
            if sampling["top_k"] > 0:
                parts.append(lib.llama_sampler_init_top_k(sampling["top_k"]))
            if sampling["top_p"] < 1:
                parts.append(lib.llama_sampler_init_top_p(sampling["top_p"], 1))
            if sampling["min_p"] > 0:
                parts.append(lib.llama_sampler_init_min_p(sampling["min_p"], 1))
            if sampling["xtc_probability"] > 0:
                xtc = (sampling["xtc_probability"], sampling["xtc_threshold"])
                parts.append(lib.llama_sampler_init_xtc(*xtc, 1, seed))
            parts.append(lib.llama_sampler_init_temp(sampling["temperature"]))
            parts.append(lib.llama_sampler_init_dist(seed))
        for part in parts:
            lib.llama_sampler_chain_add(chain, part)
        return chain

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """`lanes` replies of `tokens` tokens to the token ids `prompt`; ends of replies are passed over."""
        lanes, tokens = job["lanes"], job["tokens"]
        chains = [self._chain(job["sampling"], job["seed"] + lane) for lane in range(lanes)]
        room = max(self._setup["n_ctx"], len(job["prompt"]) + lanes * tokens)
        context = self._context if lanes == 1 else self._new_context(room, lanes)
        try:
            lib.llama_memory_clear(lib.llama_get_memory(context), True)
            return (self._one if lanes == 1 else self._several)(context, chains, job["prompt"], tokens)
        finally:
            for chain in chains:
                lib.llama_sampler_free(chain)
            if lanes > 1:
                lib.llama_free(context)

    def _one(self, context: Any, chains: list[Any], prompt: list[int], tokens: int) -> dict[str, Any]:
        (chain,) = chains
        ids = (lib.llama_token * len(prompt))(*prompt)
        next_id = (lib.llama_token * 1)()
        reply: list[int] = []
        begun = time.perf_counter()
        _decode(context, lib.llama_batch_get_one(ids, len(prompt)))
        next_id[0] = lib.llama_sampler_sample(chain, context, -1)
        first = time.perf_counter() - begun
        reply.append(next_id[0])
        while len(reply) < tokens:
            lib.llama_vocab_is_eog(self._vocab, next_id[0])
            _decode(context, lib.llama_batch_get_one(next_id, 1))
            next_id[0] = lib.llama_sampler_sample(chain, context, -1)
            reply.append(next_id[0])
        return {"first": first, "seconds": time.perf_counter() - begun, "replies": [reply]}

    def _several(self, context: Any, chains: list[Any], prompt: list[int], tokens: int) -> dict[str, Any]:
        lanes = range(len(chains))
        memory = lib.llama_get_memory(context)
        batch = lib.llama_batch_init(len(chains), 0, 1)
        ids = (lib.llama_token * len(prompt))(*prompt)
        begun = time.perf_counter()
        _decode(context, lib.llama_batch_get_one(ids, len(prompt)))
        for lane in lanes[1:]:
            lib.llama_memory_seq_cp(memory, 0, lane, -1, -1)
        replies = [[lib.llama_sampler_sample(chain, context, -1)] for chain in chains]
        first = time.perf_counter() - begun
        batch.n_tokens = len(chains)
        for place in range(len(prompt), len(prompt) + tokens - 1):
            for lane in lanes:
                lib.llama_vocab_is_eog(self._vocab, replies[lane][-1])
                batch.token[lane] = replies[lane][-1]
                batch.pos[lane] = place
                batch.n_seq_id[lane] = 1
                batch.seq_id[lane][0] = lane
                batch.logits[lane] = True
            _decode(context, batch)
            for lane in lanes:
                replies[lane].append(lib.llama_sampler_sample(chains[lane], context, lane))
        seconds = time.perf_counter() - begun
        lib.llama_batch_free(batch)
        return {"first": first, "seconds": seconds, "replies": replies}


def _decode(context: Any, batch: Any) -> None:
    status = lib.llama_decode(context, batch)
    if status != 0:
        raise ValueError(f"llama.cpp failed to decode ({status})")


def _log(level: int, text: bytes, _: Any) -> None:
    if level in (_WARNING, _ERROR):
        os.write(2, text)


def _main() -> None:
    """Serve until standard input ends. Standard output becomes the log: C cannot write into answers."""
    source: BinaryIO = sys.stdin.buffer
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        callback = lib.llama_log_callback(_log)
        lib.llama_log_set(callback, ctypes.c_void_p(0))
        loop: Loop | None = None
        for line in source:
            answer: dict[str, Any]
            try:
                if loop is None:
                    loop = Loop(json.loads(line))
                    answer = {"ready": True}
                else:
                    answer = loop.run(json.loads(line))
            except ValueError as error:
                answer = {"error": str(error)}
            out.write(json.dumps(answer).encode("ascii") + b"\n")
            out.flush()


if __name__ == "__main__":
    _main()
