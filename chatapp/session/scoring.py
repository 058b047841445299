"""The reward model at work: it scores replies, agrees with rankings or not, picks the best of several.

The adapter in use brings it along (`reward.gguf` beside it); scores come from the chat's own engine, without
torch. All of it in the session's thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.core.errors import ModelError, PromptTooLong
from chatapp.core.types import Message, Ranking, Sampling, Turn
from chatapp.engine.prompt import first_that_fits, without_oldest
from chatapp.engine.tuning import TuningClient
from chatapp.preferences.next import Candidate, doubt
from chatapp.preferences.pairs import pairs as pairs_of
from chatapp.session.alternatives import same_text
from chatapp.session.updates import Finished, Removed, Replaced, Scored, Update
from chatapp.training.base import Ids
from chatapp.training.data import encode_reply
from chatapp.training.serve import ServedReward

if TYPE_CHECKING:
    from chatapp.session.session import Session


_AGREEMENT_TOKENS = 3000
"""What is scored at most where nobody asked for it: a message that follows waits for it."""


class Scoring:
    """`adapters` is the folder in which each adapter has one of its own."""

    def __init__(self, session: Session, adapters: Path) -> None:
        self._session = session
        self._adapters = adapters

    @property
    def available(self) -> bool:
        """Whether the adapter in use has a reward model and the engine can serve it."""
        return isinstance(self._session.engine, TuningClient) and self._file() is not None

    def score(self, prompt: int, texts: Sequence[str]) -> list[float]:
        """Of each of `texts` as a reply to the message `prompt`: an average reply has 0, one standard
        deviation is 1. Errors: `ModelError` without a reward model, `EngineError`."""
        return self._scored(*self._encoded(prompt, texts))

    def agreement(self, ranking: Ranking) -> tuple[int, int] | None:
        """(pairs that the reward model orders as this ranking does, pairs in all); None where it has nothing
        to say, or would have to read for too long. Errors: `ModelError`, `EngineError`."""
        pairs = pairs_of(ranking)
        if not pairs or not self.available:
            return None
        replies = sorted({reply for pair in pairs for reply in pair})
        texts = [self._session.store.conversations.message(each).text for each in replies]
        ids, encoded = self._encoded(ranking.prompt, texts)
        if sum(len(ids) + len(each) for each in encoded) > _AGREEMENT_TOKENS:
            return None
        scores = dict(zip(replies, self._scored(ids, encoded), strict=True))
        return sum(scores[better] > scores[worse] for better, worse in pairs), len(pairs)

    def best_of(self, prompt: int, n: int, *, sampling: Sampling | None = None) -> Iterator[Update]:
        """Write `n` replies to `prompt`, make the one with the best score the active one, keep the others
        beside it. The last update is a `Scored`. Errors: `ModelError`, `EngineError`; `PromptTooLong` before
        anything is written."""
        self._require_read(len(self._encoded(prompt, ())[0]))
        replies: dict[int, Message] = {}
        for update in self._session.alternatives(prompt, n, sampling=sampling, alone=True):
            match update:
                case Finished(reply, lane):
                    replies[lane] = reply
                case Replaced(lane=lane) | Removed(lane=lane):
                    replies.pop(lane, None)
            yield update
        found = list(replies.values())
        if not found:
            return
        scores = self.score(prompt, [each.text for each in found])
        order = sorted(range(len(found)), key=lambda at: -scores[at])
        self._session.activate(found[order[0]].id)
        adapter = self._session.adapter
        yield Scored(
            tuple(found[at] for at in order),
            tuple(scores[at] for at in order),
            adapter.name if adapter else "",
        )

    def require_fit(self, text: str) -> None:
        """See whether it reads `text` as a prompt; nothing is stored. Errors: as `best_of`."""
        engine, _ = self.require()
        self._session.prepare()
        self._require_read(len(engine.encode(self._session.least(text)).ids))

    def _require_read(self, tokens: int) -> None:
        from chatapp.session.round_data import longest

        engine, _ = self.require()
        if tokens >= (most := longest(engine)):
            raise PromptTooLong(
                f"the message takes {tokens} tokens, and the reward model reads fewer than {most}"
            )

    def doubt(self, candidate: Candidate) -> float:
        """How unsure the reward model is of the order of a prompt's replies, from 0 to 1; 0 where there is
        nothing to order. Errors: `ModelError`, `EngineError`."""
        texts = list({same_text(each): each for each in candidate.replies if each.strip()}.values())
        return doubt(self.score(candidate.prompt, texts)) if len(texts) > 1 else 0.0

    def _encoded(self, prompt: int, texts: Sequence[str]) -> tuple[Ids, list[Ids]]:
        """Ids of the message `prompt` and of each of `texts` as a reply to it, without as many of the oldest
        turns as it takes for them to be no longer than what reward models learn from."""
        from chatapp.session.round_data import longest

        engine, _ = self.require()
        self._session.prepare()
        shorter = without_oldest(self._session.turns(prompt))

        def encoded(kept: Sequence[Turn]) -> tuple[Ids, list[Ids]]:
            ids = engine.encode(kept).ids
            return ids, [encode_reply(engine, kept, ids, text) for text in texts]

        def short(kept: Sequence[Turn]) -> tuple[Ids, list[Ids]] | None:
            ids, replies = encoded(kept)
            fits = len(ids) + max(map(len, replies), default=1) <= longest(engine)
            return (ids, replies) if fits else None

        # The last message stays, whether it fits or not.
        return first_that_fits(shorter, short) or encoded(shorter[-1])

    def _scored(self, prompt: Ids, replies: Sequence[Ids]) -> list[float]:
        engine, file = self.require()
        return ServedReward(file).score(engine, prompt, replies, self._session.adapter)

    def require(self) -> tuple[TuningClient, Path]:
        """The engine and the file of the reward model. Errors: `ModelError` where there is none."""
        engine, file = self._session.engine, self._file()
        if file is None or not isinstance(engine, TuningClient):
            who = "the adapter in use" if self._session.adapter else "no adapter is in use, and the base"
            raise ModelError(f"{who} has no reward model", self._how_to_get_one())
        return engine, file

    def _how_to_get_one(self) -> str:
        """A hint: the newest adapter that has a reward model, where none is in use."""
        if self._session.adapter is None:
            sha256 = self._session.prepare().sha256
            for each in reversed(self._session.store.adapters.list(sha256)):
                if self._reward_of(each.name).is_file():
                    use = f"`chatapp adapters use {each.name}`"
                    return f"{each.name} has one: {use}, or /adapters in the chat; or train again"
        return "train first: ^T in the chat, or `chatapp train`"

    def _file(self) -> Path | None:
        adapter = self._session.adapter
        if adapter is None:
            return None
        file = self._reward_of(adapter.name)
        return file if file.is_file() else None

    def _reward_of(self, name: str) -> Path:
        return self._adapters / name / "reward.gguf"
