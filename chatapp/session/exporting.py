"""An adapter for other programs: as a PEFT folder, or merged into a stand-alone GGUF file."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.core.errors import ChatappError, FileError, UsageError
from chatapp.core.paths import replay_dialogues
from chatapp.core.types import Group, Turn
from chatapp.engine.base import AdapterSpec, ModelSpec
from chatapp.engine.tuning import TuningClient
from chatapp.preferences.pairs import group_pairs

if TYPE_CHECKING:
    from chatapp.session.wiring import House
    from chatapp.training.merge import Survival

_ROWS = 48
"""Texts that a merged model is checked on."""
_ENOUGH = 12
"""Own texts from which on no other dialogue is needed."""


def export_adapter(house: House, adapter: AdapterSpec, model: ModelSpec, folder: Path) -> Path:
    """A new `folder` that `peft.PeftModel.from_pretrained` takes, with the GGUF adapter in it.

    Errors: `TrainingError` with the command that installs what is missing; `UsageError` where `folder` is
    there already; `FileError` where the one above it is not; `ModelError` for what the trainer cannot read.
    """
    from chatapp.training.export import write_peft
    from chatapp.training.extra import require_extra
    from chatapp.training.model import load_policy

    require_extra()
    _require_free(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, about itself
        policy = load_policy(model.path, adapter=adapter.path, cache=house.paths.cache)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
        made = Path(name) / "made"
        write_peft(policy, made, {"name": adapter.name, "model": model.name})
        shutil.copyfile(adapter.path, made / "adapter.gguf")
        made.replace(folder)
    return folder


def merge_adapter(
    house: House, adapter: AdapterSpec, model: ModelSpec, target: Path, quantisation: str, force: bool
) -> Survival:
    """`model` with `adapter` in its weights as a new file `target`, checked on what the person ranked, and on
    general dialogue where that is little.

    Errors: as `training.merge.merge`; `UsageError` where `target` is there already, `FileError` where its
    folder is not.
    """
    from chatapp.training.extra import require_extra
    from chatapp.training.merge import merge

    require_extra()
    _require_free(target)
    engine = house.engine()
    if not isinstance(engine, TuningClient):
        raise ChatappError("a scripted engine has no weights to merge into")
    engine.load(model)
    rows = check_rows(engine, house.store().groups.list())
    return merge(
        adapter.path,
        model.path,
        target,
        quantisation,
        rows,
        scale=adapter.scale,
        force=force,
        cache=house.paths.cache,
    )


def check_rows(engine: TuningClient, groups: Sequence[Group]) -> list[tuple[int, ...]]:
    """Token ids of at most `_ROWS` texts: what was judged, with the best reply, then general dialogue."""
    from chatapp.session.round_data import longest
    from chatapp.session.run_folder import read_dialogues

    limit = longest(engine)
    own = list(dict.fromkeys((*group.prompt, Turn("assistant", _best(group))) for group in groups))
    random.Random(0).shuffle(own)
    conversations = own if len(own) >= _ENOUGH else [*own, *read_dialogues(replay_dialogues())]
    rows = []
    for turns in conversations:
        ids = engine.encode(turns).ids
        if 1 < len(ids) <= limit:
            rows.append(ids)
        if len(rows) == _ROWS:
            break
    return rows


def _best(group: Group) -> str:
    pairs = group_pairs(group)
    return group.replies[pairs[0][0] if pairs else 0].text


def _require_free(place: Path) -> None:
    if os.path.lexists(place):
        raise UsageError(f"{place} is there already", "name a place where nothing lies yet")
    if not place.parent.is_dir():
        raise FileError(
            f"cannot write {place}: there is no folder {place.parent}", "make it, or name another"
        )
