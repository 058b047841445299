"""Replies of a guide file through llama.cpp, prompts built by ids."""
from __future__ import annotations

import random
from pathlib import Path

from clean import Turn


class Player:
    """One loaded GGUF file that answers dialogues."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        from llama_cpp import Llama
        self.llama = Llama(str(path), n_ctx=1024, n_threads=threads,
                           n_threads_batch=threads, verbose=False, seed=1)
        self.temperature = round(float(
            self.llama.metadata.get("general.sampling.temp", 0.7)), 3)
        self.ended = True  # whether the last reply came to its own end

    def ids(self, turns: list[Turn]) -> list[int]:
        """The prompt of a dialogue; user text is never special."""
        def plain(text: str) -> list[int]:
            return self.llama.tokenize(text.encode(), add_bos=False,
                                       special=False)
        out: list[int] = []
        for role, text in turns:
            out += [1, *plain(role + "\n"), *plain(text), 2, *plain("\n")]
        return [*out, 1, *plain("assistant\n")]

    def reply(self, turns: list[Turn], temperature: float = 0.0,
              limit: int = 120, seed: int = 1) -> str:
        """The next reply, at temperature 0 or the app's default sampling."""
        out: list[int] = []
        prompt = self.ids(turns)
        if len(prompt) > 1023 - limit:
            prompt = prompt[-(1023 - limit):]
        self.llama.set_seed(seed)
        self.ended = False
        for token in self.llama.generate(prompt, temp=temperature, top_k=40,
                                         top_p=0.95, min_p=0.05,
                                         repeat_penalty=1.1 if temperature
                                         else 1.0):
            if token in (0, 2):
                self.ended = True
                break
            if len(out) >= limit:
                break
            out.append(token)
        return self.llama.detokenize(out).decode("utf-8", "replace").strip()


def seeds(count: int) -> list[int]:
    """Seeds for repeated sampling."""
    return random.Random(5).sample(range(1, 100000), count)
