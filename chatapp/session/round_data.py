"""What a round of training learns from, gathered from the store, from files, and from the base itself."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.core.errors import ChatappError, TrainingError
from chatapp.core.paths import embedded_model, expanded, replay_dialogues
from chatapp.core.types import Group, Message, Turn
from chatapp.engine.cache import sha256 as digest_of
from chatapp.preferences.formats.load import load_some
from chatapp.session.run_folder import Dialogue, RoundInput, read_dialogues, write_dialogues
from chatapp.store.conversations import as_turns
from chatapp.training.base import Ids, drawn_in_parts
from chatapp.training.data import (
    LONGEST_ROW,
    Data,
    SftRow,
    build,
    conversation_rows,
    encode_prompt,
    is_held_out,
    split_key,
)
from chatapp.training.freshness import freshness
from chatapp.training.progress import Listener, Pace, Progress, silent
from chatapp.training.rollouts import UNFILTERED
from chatapp.training.settings import Material

if TYPE_CHECKING:
    from chatapp.engine.tuning import TuningClient
    from chatapp.store.database import Store

UNTOUCHED = 10
"""One dialogue in so many is for the perplexity alone."""
UNRANKED = 1000
"""Prompts that nobody judged, at most: no evaluation gets further."""
SAMPLED = 80
"""Replies of its own that stand for a base that comes without dialogue."""
_AT_ONCE = 16
"""Of those, drawn before it is said how far it is."""
_TOO_FEW = 20
"""Of those that came to an end: fewer are not remembered."""
_FEW = 50
"""Fewer than so many are parted so that a fifth of them is left for the perplexity."""
_SAMPLING = replace(UNFILTERED, top_p=0.95, max_tokens=256, seed=1)
"""A base that is not small says unlikely things where nothing is filtered, and ends most replies later than
the recipes' samples."""
_SMALL = 512
"""Tokens of a context that a row may fill."""


def groups_of(files: Sequence[Path]) -> tuple[list[Group], tuple[str, ...]]:
    """The judgements in files of any format that `rankings import` reads, and what was passed over in words.

    Errors: `FormatError`, also for a file of which no line can be read.
    """
    groups: list[Group] = []
    notes: list[str] = []
    for file in files:
        loaded = load_some(expanded(file))
        groups += loaded.groups
        if bad := loaded.malformed:
            lines = "line was" if len(bad) == 1 else "lines were"
            notes.append(f"{len(bad)} {lines} passed over in {file.name}, the first: {bad[0]}")
    return groups, tuple(notes)


def unranked_prompts(store: Store, groups: Iterable[Group]) -> list[Dialogue]:
    """Prompts of stored conversations that nobody judged a reply to, on the side that is held out; at most
    `UNRANKED`, those of the conversations that changed last.

    They are what people ask here, so the tuned model is tried on them.
    """
    judged = {group.prompt for group in groups}
    found: dict[Dialogue, None] = {}
    for conversation in store.conversations.list():
        paths: dict[int | None, tuple[Message, ...]] = {None: ()}
        for message in store.conversations.messages(conversation.id):
            if message.parent not in paths:
                continue  # below a deleted one
            path = paths[message.id] = (*paths[message.parent], message)
            if message.role != "user" or message.origin != "typed":
                continue
            prompt = as_turns(path, conversation.system)
            if prompt not in judged and is_held_out(split_key(prompt)):
                found[prompt] = None
                if len(found) == UNRANKED:
                    return list(found)
    return list(found)


def is_untouched(dialogue: Dialogue) -> bool:
    """The same answer for ever."""
    return _lot(dialogue) == 0


def _lot(dialogue: Dialogue) -> int:
    return int(sha256(repr(dialogue).encode("utf-8", "replace")).hexdigest()[:8], 16) % UNTOUCHED


def parted(dialogues: Sequence[Dialogue], least: int = 0) -> tuple[list[Dialogue], list[Dialogue]]:
    """(to mix in, never trained on), at least `least` of them the latter."""
    untouched = {*filter(is_untouched, dialogues), *sorted(dialogues, key=_lot)[:least]}
    mix = [each for each in dialogues if each not in untouched]
    return mix, [each for each in dialogues if each in untouched]


def own_dialogues(
    engine: TuningClient, dialogues: Sequence[Dialogue], progress: Listener = silent
) -> list[Dialogue]:
    """What the base says to the openings of `dialogues`: mixed in, it keeps the base what it is."""
    asked = list(dict.fromkeys(turn for each in dialogues for turn in each[:2] if turn.role == "user"))
    random.Random(0).shuffle(asked)
    encoded = ((turn, engine.encode((turn,)).ids) for turn in asked)
    limit = longest(engine)
    prompts = list(islice(((turn, ids) for turn, ids in encoded if len(ids) < limit), SAMPLED))
    pace = Pace("mix", len(prompts), progress)
    drawn = drawn_in_parts(engine.rollout, [ids for _, ids in prompts], 1, _SAMPLING, _AT_ONCE, pace)
    return [
        (turn, Turn("assistant", reply.text.strip()))
        for (turn, _), (reply,) in zip(prompts, drawn, strict=True)
        if reply.text.strip() and reply.finish_reason == "stop"
    ]


def _remembered(
    engine: TuningClient, base: str, cache: Path, dialogues: Sequence[Dialogue], progress: Listener
) -> list[Dialogue]:
    """`own_dialogues` of the base with the digest `base`, which are the same each time."""
    asked = sha256(repr((_SAMPLING, dialogues)).encode("utf-8", "replace")).hexdigest()
    file = cache / f"dialogues-{base[:16]}-{asked[:8]}.jsonl"
    with suppress(ChatappError):
        if file.exists():
            return read_dialogues(file)
    found = own_dialogues(engine, dialogues, progress)
    if len(found) < _TOO_FEW:
        note = f"only {len(found)} replies of the model's own came to an end: that it forgets may not be seen"
        progress(Progress("mix", 0, 0, note=note))
    else:
        write_dialogues(file, found)
    return found


def mix_of_file(file: Path) -> tuple[list[Dialogue], list[Dialogue]]:
    """The general dialogue in `file` as `parted` gives it. Errors: `FormatError`, `TrainingError`."""
    found = read_dialogues(file)
    if not found:
        raise TrainingError(f"{file.name} holds no conversation", "one object a line with `messages`")
    return parted(found)


def mix_of(
    engine: TuningClient, base: str, cache: Path, progress: Listener = silent
) -> tuple[list[Dialogue], list[Dialogue]]:
    """The general dialogue that is shipped as `parted` gives it. It speaks as the guide does, so another base
    (`base` is the digest of its file) gives its own replies to the same openings."""
    dialogues = read_dialogues(replay_dialogues())
    if base != digest_of(embedded_model(), cache):
        dialogues = _remembered(engine, base, cache, dialogues, progress)
        return parted(dialogues, ceil(len(dialogues) / 5) if len(dialogues) < _FEW else 0)
    return parted(dialogues)


def data_of(given: RoundInput, engine: TuningClient, lineage: Sequence[str]) -> Data:
    """The judgements as token ids, split by conversation. `lineage` as `training.freshness` has it."""
    weight = freshness(given.groups, lineage) if lineage else lambda _: 1.0
    return build(given.groups, engine, max_tokens=longest(engine), weight=weight)


def material_of(given: RoundInput, data: Data, engine: TuningClient) -> Material:
    limit = longest(engine)
    judged = {split_key(group.prompt) for group in given.groups}
    held = set(filter(is_held_out, judged))
    trained = judged - held
    # A file of one's own dialogue may hold the very conversations that were judged.
    mix = [row for row in conversation_rows(given.mix, engine, limit) if row.key not in held]
    own = [ids for prompt in given.prompts if (ids := encode_prompt(prompt, engine, limit)) is not None]
    untouched = [row for row in conversation_rows(given.untouched, engine, limit) if row.key not in trained]
    prompts = [ids for ids in (*own, *openings(untouched)) if len(ids) < limit]
    return Material(data, mix, untouched, list(dict.fromkeys(prompts)))


def longest(engine: TuningClient) -> int:
    """Tokens of a row at most. It has to fit the context too; half of a larger one is room for a reply beside
    the longest prompt."""
    n_ctx = engine.info.n_ctx if engine.info is not None else 2 * LONGEST_ROW
    return min(n_ctx, max(_SMALL, min(LONGEST_ROW, n_ctx // 2)))


def openings(rows: Sequence[SftRow]) -> list[Ids]:
    """Of each conversation what stands before its first reply."""
    return [row.opening for row in rows if 1 in row.mask[1:]]


def parity_conversations(
    given: RoundInput, data: Data, engine: TuningClient, most: int = 12
) -> list[tuple[Dialogue, tuple[int, ...]]]:
    """Prompts of real conversations with the ids that the trainer learned from."""
    known = {*data.train.prompts, *data.held_out.prompts}
    found: dict[tuple[int, ...], Dialogue] = {}
    for group in given.groups:
        ids = engine.encode(group.prompt).ids
        if ids in known:  # a long one lost its oldest turns
            found[ids] = group.prompt
        if len(found) == most:
            break
    return [(turns, ids) for ids, turns in found.items()]
