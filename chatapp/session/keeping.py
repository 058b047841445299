"""From a trained policy's file to an adapter that the chat can use: proven by the engine, registered."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.core.types import Adapter
from chatapp.engine.base import AdapterSpec
from chatapp.session.run_folder import Dialogue

if TYPE_CHECKING:
    from chatapp.engine.tuning import TuningClient
    from chatapp.store.adapters import Adapters
    from chatapp.training.model import Policy
    from chatapp.training.settings import Material

_ROWS = 12
"""Texts that both score."""


def disagreement(
    policy: Policy,
    file: Path,
    engine: TuningClient,
    material: Material,
    conversations: Sequence[tuple[Dialogue, Sequence[int]]],
) -> str:
    """Why the engine with `file` on is not the trainer's `policy`, in words; empty when it is."""
    from chatapp.training.parity import check

    return check(policy, AdapterSpec("new", file), engine, parity_rows(material), conversations).reason


def parity_rows(material: Material) -> list[tuple[int, ...]]:
    """Whole texts, held-out rankings first, then others that the training knew."""
    sides = (material.data.held_out, material.data.train)
    rankings = [row.prompt + reply for side in sides for row in side.rankings for reply in row.replies[:2]]
    edits = [row.ids for side in sides for row in side.demonstrations]
    general = [row.ids for row in (*material.untouched, *material.mix)]
    return [*(rankings + edits)[:_ROWS], *general[: _ROWS // 2]]


def keep(adapters: Adapters, folder: Path, adapter: Adapter, file: Path, reward: Path | None) -> Adapter:
    """Put the files where the chat looks for them and register `adapter` under the next name.

    One that was accepted is in use from now on. A run registers once, however often it is gone on with.
    """
    for each in adapters.list(adapter.model_sha256, deleted=True):
        if each.run == adapter.run:
            return each
    name, place = _free_place(adapters, folder)
    shutil.copyfile(file, place / "adapter.gguf")
    if reward is not None:
        shutil.copyfile(reward, place / "reward.gguf")
    for each_file in place.iterdir():
        each_file.chmod(0o600)
    kept = adapters.add(replace(adapter, name=name))
    if kept.accepted:
        adapters.choose(kept.model_sha256, kept.name, "train")
    return kept


def _free_place(adapters: Adapters, folder: Path) -> tuple[str, Path]:
    """A name that nobody has and its new folder; one that a killed run left behind is passed over."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    number = int(adapters.next_name().removeprefix("r"))
    while True:
        try:
            place = folder / f"r{number}"
            place.mkdir(mode=0o700)
            return place.name, place
        except FileExistsError:
            number += 1
