"""Settings: flag, then environment (`CHATAPP_MODEL`), then config.toml, then the default below."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from chatapp.core.errors import SettingsError, VariableError
from chatapp.core.types import Sampling

RANGES: dict[str, tuple[float, float]] = {
    "n_ctx": (0, 2**24),
    "threads": (0, 512),
    "gpu_layers": (-1, 10_000),
    "alternatives": (1, 9),
    "alternatives_temperature": (0.0, 10.0),
    "seed": (0, 2**32 - 1),
    "temperature": (0.0, 10.0),
    "top_k": (0, 2**31 - 1),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repeat_penalty": (0.01, 10.0),
    "xtc_probability": (0.0, 1.0),
    "xtc_threshold": (0.0, 1.0),
    "max_tokens": (1, 2**31 - 1),
}
"""Of each number, ends included; the flags of `chatapp ask` have the same."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that config.toml may say at its top level; `[sampling]` holds the fields of `Sampling`."""

    model: str = "guide"
    """Name in `chatapp models list`, or the path of a GGUF file."""
    adapter: str = "active"
    """`active` is the one that `chatapp adapters use` or a training chose last for the model, `base` is none;
    else the name of an adapter or the path of a GGUF adapter."""
    system: str = ""
    """System prompt of a new conversation."""
    n_ctx: int = 0
    """Context length in tokens; 0 takes the model's own, at most 8192."""
    threads: int = 0
    """Threads of the engine; 0 measures once which count is fastest and remembers it."""
    gpu_layers: int = 0
    """How many layers llama.cpp puts on a GPU, where it was built for one; -1 is all."""
    alternatives: int = 3
    """How many more replies the key for alternatives samples."""
    alternatives_temperature: float = 1.0
    """Temperature of those, hotter than the first reply so that they differ."""
    rival: bool = True
    """Alternatives are drawn from the adapter in use and the one before it, so that you can tell which you
    like better."""
    theme: str = "chatapp-dark"
    sampling: Sampling = field(default_factory=Sampling)
    said: tuple[str, ...] = ()
    """Fields of `sampling` that were set, even where to the default: no key of its own."""

    def sampling_with(self, model: Sampling) -> Sampling:
        """What was set, and where nothing was, what the model recommends."""
        usual = Sampling()
        own = {each.name: getattr(self.sampling, each.name) for each in fields(Sampling)}
        return replace(model, **{k: v for k, v in own.items() if k in self.said or v != getattr(usual, k)})


def load_settings(file: Path, environment: dict[str, str] | None = None) -> Settings:
    """Read config.toml and the environment.

    Errors: `SettingsError` names the file or the variable, the key and what was expected.
    """
    env = dict(os.environ if environment is None else environment)
    try:
        table: dict[str, Any] = tomllib.loads(read_text(file))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from error
    sampling_table = table.pop("sampling", {})
    if not isinstance(sampling_table, dict):
        raise SettingsError(f"{file}: [sampling] must be a table")
    settings = _filled(Settings(), table, str(file))
    sampling = _filled(settings.sampling, sampling_table, f"{file} [sampling]")
    settings = replace(settings, sampling=sampling, said=tuple(sampling_table))
    from_env = {
        name: _as_type(name, env[key], getattr(settings, name), key, VariableError)
        for name in _names(settings)
        if (key := f"CHATAPP_{name.upper()}") in env
    }
    return replace(settings, **from_env)


def read_text(file: Path) -> str:
    """What config.toml holds; nothing where it is not there. Errors: `SettingsError`."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from error
    except OSError as error:
        raise SettingsError(f"cannot read {file}: {error.strerror}", "check who may read it") from error


_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}
_NO_KEY = ("sampling", "said")


def _names(target: Any) -> list[str]:
    return [each.name for each in fields(target) if each.name not in _NO_KEY]


def _known(target: Any) -> str:
    return ", ".join(_names(target)) + (", [sampling]" if isinstance(target, Settings) else "")


def _filled(target: Any, values: dict[str, Any], where: str) -> Any:
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name not in _names(target):
            raise SettingsError(f"{where}: unknown setting {name!r}", f"known: {_known(target)}")
        changes[name] = _as_type(name, value, getattr(target, name), f"{where}: {name}", SettingsError)
    return replace(target, **changes)


def _as_type(name: str, value: Any, example: Any, where: str, refuse: type[SettingsError]) -> Any:
    """`value` of the setting `name` as the type of the default; text from the environment is parsed."""
    try:
        found = _parsed(value, example)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise refuse(f"{where}: {value!r} is not {_allowed(name, example)}") from error
    if name in RANGES:
        low, high = RANGES[name]
        if not low <= found <= high:  # also for nan
            raise refuse(f"{where}: {value!r} is not between {low} and {high}")
    return found


def _allowed(name: str, example: Any) -> str:
    match example:
        case bool():
            return "true or false"
        case tuple():
            return "a list of texts"
        case str():
            return "a text"
    low, high = RANGES[name]
    return f"a {'' if isinstance(example, float) else 'whole '}number from {low} to {high}"


def _parsed(value: Any, example: Any) -> Any:
    if isinstance(example, bool):
        return value if isinstance(value, bool) else _BOOLEANS[str(value).lower()]
    if isinstance(value, bool):
        raise TypeError
    if isinstance(example, tuple):
        return tuple(str(each) for each in (value.split(",") if isinstance(value, str) else value))
    if isinstance(example, int) or example is None:
        if int(value) != float(value):
            raise ValueError
        return int(value)
    if isinstance(example, float):
        return float(value)
    if not isinstance(value, str):
        raise TypeError
    return value
