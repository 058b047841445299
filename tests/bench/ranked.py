"""What the scripted judge ranks: replies drawn as the chat draws them."""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")

from chatapp.core.settings import Settings
from chatapp.core.types import Group, GroupReply, Sampling, Turn
from chatapp.engine.base import AdapterSpec, ModelSpec
from chatapp.engine.gguf import read_header
from chatapp.engine.recommended import recommended_sampling
from chatapp.engine.tuning import TuningClient
from chatapp.session.session import Session
from chatapp.store.database import open_store
from tests.bench import tastes


@dataclass
class Bench:
    """One model, its engine, and the prompts."""

    model: Path
    engine: TuningClient
    spec: ModelSpec
    material: tastes.Material
    folder: Path
    threads: int
    options: argparse.Namespace
    written: dict[tuple[int, int, str], list[list[str]]] = field(default_factory=dict)

    @property
    def first(self) -> Sampling:
        """How the chat samples the first reply: as the model's file recommends."""
        return replace(recommended_sampling(read_header(self.model).metadata), max_tokens=96)

    def groups(
        self, taste: str, rankings: int, label_seed: int, adapter: AdapterSpec | None = None
    ) -> list[Group]:
        """What the judge says of four replies to each prompt."""
        prompts = self.material.label[label_seed * 200 :][:rankings]
        writer = None if adapter is None else adapter.name
        name = (rankings, label_seed, "" if adapter is None else str(adapter.path))
        if name not in self.written:
            self.written[name] = self.replies(prompts, label_seed, adapter)
        judge = tastes.Judge(taste, random.Random(f"{taste} {label_seed}"))
        return [
            Group(
                turns, tuple(GroupReply(text, "model", adapter=writer) for text in texts), judge.order(texts)
            )
            for turns, texts in zip(prompts, self.written[name], strict=True)
        ]

    def replies(
        self, prompts: Sequence[tuple[Turn, ...]], label_seed: int, adapter: AdapterSpec | None
    ) -> list[list[str]]:
        """Four to each prompt, written as the chat writes them: one, then three alternatives beside it."""
        # One adapter writes: which of two is better is another question.
        settings = Settings(sampling=self.first, rival=False)
        with TemporaryDirectory() as folder, open_store(Path(folder) / "chatapp.db") as store:
            session = Session(store, self.engine, settings, self.spec, adapter)
            seeds = range(1_000_000 * label_seed, 1_000_000 * (label_seed + 1), 1_000)
            return [four_replies(session, *each) for each in zip(prompts, seeds, strict=False)]

    def answers(
        self, prompts: Sequence[Sequence[Turn]], seeds: Sequence[int], samples: int = 1
    ) -> list[list[Any]]:
        """For each prompt one reply (or `samples`) for each seed, from the engine as it is set."""
        first = self.first
        encoded = [self.engine.encode(each).ids for each in prompts]
        drawn = [self.engine.rollout(encoded, samples, replace(first, seed=90_000 * seed)) for seed in seeds]
        return [[reply for column in own for reply in column] for own in zip(*drawn, strict=True)]


def four_replies(session: Session, turns: Sequence[Turn], seed: int) -> list[str]:
    """What a person sees who asks the last of `turns`, then presses the key for alternatives."""
    store = session.store
    talk = store.conversations.create(title="bench", system="").id
    parent = None
    for turn in turns:
        origin: Literal["typed", "import"] = "typed" if turn.role == "user" else "import"
        parent = store.conversations.add(talk, parent, turn.role, turn.text, origin).id
    assert parent is not None
    session.open(talk)
    first = session.sampling
    hotter = replace(first, temperature=Settings().alternatives_temperature, seed=seed + 500_000)
    for _ in session.stream(parent, sampling=replace(first, seed=seed)):
        pass
    kept = [each.id for each in store.conversations.children(talk, parent)]
    for _ in session.alternatives(parent, Settings().alternatives, keep=kept, sampling=hotter):
        pass
    texts = [each.text.strip() for each in store.conversations.children(talk, parent)]
    return list(dict.fromkeys(text for text in texts if text))
