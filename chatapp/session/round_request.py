"""What one round of training was asked for: written into the run's folder, read again when it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from chatapp import __version__
from chatapp.core.errors import TrainingError
from chatapp.core.types import Sampling
from chatapp.engine.base import AdapterSpec
from chatapp.training.data import Data
from chatapp.training.plan import Stage
from chatapp.training.rollouts import guards_from
from chatapp.training.settings import Settings

Method = Literal["auto", "sft", "reward", "dpo", "rloo", "ppo"]
Made = TypeVar("Made")
_STAGES = ("sft", "reward", "dpo", "rloo", "ppo")
_LONGEST = 96
"""Tokens of a reply that is judged, at most, where people ranked none that are longer."""
_LONGER = 1.2
"""Longer than what was ranked: so much is room for a policy that writes more."""
_FEWEST_PROMPTS, _FEWEST_SAMPLES = 48, 2
"""To judge by, however long the replies are."""


@dataclass(frozen=True, slots=True)
class RoundRequest:
    method: Method
    model: str
    path: Path
    """Of the base's file."""
    start: AdapterSpec | None
    """What the training goes on from; None: the base."""
    settings: Settings
    data: tuple[str, ...] = ()
    """Files that were named instead of the person's own judgements."""
    mix: str | None = None
    base_sha256: str = ""
    data_sha256: str = ""
    lineage: tuple[str, ...] = ()
    """The adapter that the training starts from, its parent, and so on."""
    version: str = __version__

    @property
    def only(self) -> Stage | None:
        return None if self.method == "auto" else self.method

    def to_json(self) -> dict[str, Any]:
        found = asdict(self)
        start = self.start
        found["path"] = str(self.path)
        found["start"] = None if start is None else {"name": start.name, "path": str(start.path)}
        return found

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RoundRequest:
        """Errors: `TrainingError` for what `to_json` did not make."""
        try:
            start = values["start"]
            return cls(
                **{
                    **values,
                    "path": Path(values["path"]),
                    "start": None if start is None else AdapterSpec(start["name"], Path(start["path"])),
                    "settings": made_from(Settings(), values["settings"]),
                    "data": tuple(values["data"]),
                    "lineage": tuple(values["lineage"]),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise TrainingError("the run cannot be gone on with: its run.json is damaged") from error


def settings_for(
    seed: int, sampling: Sampling, max_memory: int | None, start: AdapterSpec | None
) -> Settings:
    """The measured defaults with this seed in every stage. `sampling`: how the chat samples."""
    chat = replace(sampling, seed=None, max_tokens=min(sampling.max_tokens, _LONGEST))
    settings = Settings(chat=chat, max_memory=max_memory, seed=seed)
    if start is not None:
        settings = replace(settings, start=start.name)
    return replace(settings, **{name: replace(getattr(settings, name), seed=seed) for name in _STAGES})


def examined(settings: Settings, data: Data, most: int) -> Settings:
    """`settings` with judged replies as long as the ranked ones in `data`, `most` tokens at most. Of longer
    ones there are fewer, first to each prompt, then prompts, so that together they take no more tokens while
    enough are left to judge by."""
    rows = [*data.train.rankings, *data.held_out.rankings]
    ranked = int(_LONGER * guards_from(rows).longest) if rows else 0
    longest = min(max(_LONGEST, ranked), most)
    prompts, samples = settings.evaluate_prompts, settings.evaluate_samples
    budget = prompts * samples * _LONGEST // longest
    samples = min(samples, max(_FEWEST_SAMPLES, budget // prompts))
    prompts = min(prompts, max(_FEWEST_PROMPTS, budget // samples))
    chat = replace(settings.chat, max_tokens=longest)
    return replace(settings, chat=chat, evaluate_prompts=prompts, evaluate_samples=samples)


def made_from(example: Made, values: Mapping[str, Any]) -> Made:
    """A dataclass like `example` with what `dataclasses.asdict` and JSON made of another one."""
    assert is_dataclass(example) and not isinstance(example, type)
    changes: dict[str, Any] = {}
    for each in fields(example):
        if each.name not in values:
            continue
        own, value = getattr(example, each.name), values[each.name]
        if is_dataclass(own):
            value = made_from(own, value)
        elif isinstance(own, tuple):
            value = tuple(value)
        changes[each.name] = value
    return replace(example, **changes)
