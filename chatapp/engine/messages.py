"""What crosses the pipe between `client` and `worker`: one JSON object per line, each a dataclass below.

`encode` and `decode` check types in both directions, so that neither side acts on a message of another shape.
"""

from __future__ import annotations

import json
import types
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

from chatapp.core.errors import EngineError
from chatapp.core.types import Sampling, Turn
from chatapp.engine.base import (
    AdapterSpec,
    Delta,
    Encoded,
    LaneDone,
    ModelInfo,
    ModelSpec,
    Request,
    RowScore,
    Sample,
    Started,
)

VERSION = 3
"""Raised when a message changes its meaning; both sides must have the same."""
LIMIT = 32 * 2**20
"""Longest line in bytes."""

ErrorKind = Literal["EngineError", "ModelError", "PromptTooLong"]


@dataclass(frozen=True, slots=True)
class Load:
    id: int
    spec: ModelSpec
    cache: Path
    extra_buffers: bool
    """False keeps llama.cpp from repacking weights into its extra buffer types."""
    warm_up: bool
    """Decode a small batch before answering, to find out whether this build survives it."""


@dataclass(frozen=True, slots=True)
class SetAdapter:
    id: int
    adapter: AdapterSpec | None


@dataclass(frozen=True, slots=True)
class Generate:
    id: int
    request: Request


@dataclass(frozen=True, slots=True)
class Count:
    id: int
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Encode:
    id: int
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Logprobs:
    id: int
    rows: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class States:
    """The last token's hidden state of each row, with `adapter` on whatever the chat uses."""

    id: int
    rows: tuple[tuple[int, ...], ...]
    adapter: AdapterSpec | None


@dataclass(frozen=True, slots=True)
class Rollout:
    id: int
    prompts: tuple[tuple[int, ...], ...]
    samples: int
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the request `id`; taken by the worker's reader thread while its main thread works."""

    id: int


@dataclass(frozen=True, slots=True)
class Hello:
    """The worker's first message."""

    version: int
    pid: int


@dataclass(frozen=True, slots=True)
class Progress:
    id: int
    fraction: float


@dataclass(frozen=True, slots=True)
class Loaded:
    id: int
    info: ModelInfo
    """`sha256` is empty: the client knows it."""


@dataclass(frozen=True, slots=True)
class StartedEvent:
    id: int
    event: Started


@dataclass(frozen=True, slots=True)
class DeltaEvent:
    id: int
    event: Delta


@dataclass(frozen=True, slots=True)
class LaneDoneEvent:
    id: int
    event: LaneDone


@dataclass(frozen=True, slots=True)
class Counted:
    id: int
    tokens: int


@dataclass(frozen=True, slots=True)
class EncodedAnswer:
    id: int
    encoded: Encoded


@dataclass(frozen=True, slots=True)
class LogprobsAnswer:
    id: int
    rows: tuple[RowScore, ...]


@dataclass(frozen=True, slots=True)
class StatesAnswer:
    id: int
    rows: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class RolloutAnswer:
    id: int
    samples: tuple[tuple[Sample, ...], ...]
    """For each prompt, in order."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The request `id` is over and went well."""

    id: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The request `id` is over and went wrong; the worker is alive."""

    id: int
    kind: ErrorKind
    message: str
    hint: str


Command: TypeAlias = Load | SetAdapter | Generate | Count | Encode | Logprobs | States | Rollout | Cancel
Answer: TypeAlias = (
    Hello
    | Progress
    | Loaded
    | StartedEvent
    | DeltaEvent
    | LaneDoneEvent
    | Counted
    | EncodedAnswer
    | LogprobsAnswer
    | StatesAnswer
    | RolloutAnswer
    | Finished
    | Failed
)
Message: TypeAlias = Command | Answer

_KINDS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Message)}


def encode(message: Message) -> bytes:
    """`message` as one line, newline included. `EngineError` when it is longer than `LIMIT`."""
    table = {"type": type(message).__name__, **_plain(message)}
    # Lone surrogates cannot be UTF-8, so everything beyond ASCII is escaped.
    line = json.dumps(table, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"
    if len(line) > LIMIT:
        raise EngineError("the conversation is too large to send to the engine", "start a new conversation")
    return line


def decode(line: bytes) -> Message:
    """The message in `line`. `EngineError` when it is none."""
    if len(line) > LIMIT:
        raise EngineError("a message of the engine is too long")
    try:
        table = json.loads(line)
        kind = _KINDS[table.pop("type")]
        message: Message = _typed(kind, table)
        return message
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EngineError(f"a message of the engine makes no sense ({type(error).__name__})") from error


def _plain(value: Any) -> Any:
    """Dataclasses as tables, paths as text, tuples as lists."""
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _typed(kind: Any, value: Any) -> Any:
    """`value` from JSON as the type `kind`; `TypeError` or `ValueError` when it is none."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(kind):
            return None
        (only,) = (each for each in get_args(kind) if each is not type(None))
        return _typed(only, value)
    if origin is Literal:
        if value not in get_args(kind):
            raise ValueError(f"not one of {get_args(kind)}")
        return value
    if origin in (tuple, Sequence):
        if not isinstance(value, list):
            raise TypeError("expected a list")
        return tuple(_typed(get_args(kind)[0], each) for each in value)
    if is_dataclass(kind):
        hints = _hints(cast(Any, kind))
        if not isinstance(value, dict) or value.keys() != hints.keys():
            raise TypeError("expected other fields")
        return cast(Any, kind)(**{name: _typed(hint, value[name]) for name, hint in hints.items()})
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise TypeError(f"expected {kind}")
    return value
