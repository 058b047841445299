"""One training on several processes: which of them this is, and how they agree.

    accelerate launch --multi_gpu --num_processes 2 -m chatapp train dpo --data one.jsonl --data other.jsonl

(`--multi_gpu` is its word for several processes; they compute on the CPU.) Each process reads the same data,
has its own engine, and works on its share of every batch. The first one keeps the run's folder, says what
goes on, and registers what came of it. Processes on several machines need that folder (`CHATAPP_HOME`) on a
disk that they share.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")


def number(environment: Mapping[str, str] = os.environ) -> int:
    """Which process this is, from 0; `accelerate launch` and `torchrun` say so in RANK."""
    return int(environment.get("RANK", "0"))


def count(environment: Mapping[str, str] = os.environ) -> int:
    """How many there are."""
    return int(environment.get("WORLD_SIZE", "1"))


def agreed(value: Value) -> Value:
    """The first process's `value`, in all of them; each must call this in the same order."""
    if count() == 1:
        return value
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    PartialState(cpu=True)
    shared = [value]
    broadcast_object_list(shared)
    return shared[0]
