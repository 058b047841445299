"""One request to the engine, written to the store as it comes: every delta is on its way to disk before it is
shown, and whatever ends the request, the replies are sealed with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace

from chatapp.core.types import FinishReason, Message, Provenance
from chatapp.engine.base import Delta, Engine, LaneDone, ModelInfo, Request, Started
from chatapp.session.journal import Journal
from chatapp.session.stores import Stores
from chatapp.session.updates import Began, Dropped, Finished, Text, Update


@dataclass(slots=True)
class Lane:
    """One reply that is being written. `number` is its place among the replies that the user asked for."""

    number: int
    reply: Message
    provenance: Provenance
    text: str = ""
    finished: bool = False


@dataclass(slots=True)
class Writing:
    """Runs `request` as replies to the stored message `prompt`; iterate `run` once.

    `numbers[i]` is what the updates call the engine's lane i. `lanes` and `started` can be read afterwards.
    """

    stores: Stores
    engine: Engine
    request: Request
    conversation: int
    prompt: int
    model: ModelInfo
    adapter: str | None
    numbers: tuple[int, ...]
    activate: bool
    stopped: Callable[[], bool]
    """Whether the user stopped it before the engine could be told."""
    lanes: list[Lane] = field(default_factory=list)
    started: Started | None = None

    def run(self) -> Iterator[Update]:
        """Errors: those of the engine, after the partial texts are sealed with finish_reason `error`.

        Closing the iterator early seals them as `cancelled`.
        """
        reason: FinishReason = "error"
        with Journal(self.stores) as journal:
            try:
                with closing(self.engine.generate(self.request)) as events:  # type: ignore[type-var]
                    for event in events:
                        match event:
                            case Started():
                                yield from self._begin(event)
                                if self.stopped():
                                    self.engine.cancel()
                            case Delta(number, text):
                                lane = self.lanes[number]
                                there = max(len(lane.text), len(self.request.begun))
                                lane.text += text
                                if more := lane.text[there:]:
                                    journal.write(lane.reply.id, lane.text)
                                    yield Text(lane.reply.id, lane.number, more)
                            case LaneDone(lane=number):
                                journal.forget(self.lanes[number].reply.id)
                                yield self._finish(self.lanes[number], event)
            except (GeneratorExit, KeyboardInterrupt):
                reason = "cancelled"
                raise
            finally:
                with ExitStack() as all_of_them:  # each is sealed, also where another could not be
                    for lane in self.lanes:
                        if not lane.finished:
                            journal.forget(lane.reply.id)
                            all_of_them.callback(self._seal, lane, reason, lane.provenance)

    def _begin(self, started: Started) -> Iterator[Update]:
        self.started = started
        provenances = [
            Provenance(
                model=self.model.name,
                model_sha256=self.model.sha256,
                adapter=self.adapter,
                template_sha256=self.model.template_sha256,
                sampling=replace(self.request.sampling, seed=started.seed + self.request.first_lane + number),
                prompt_tokens=started.prompt_tokens,
                cached_tokens=started.cached_tokens,
                dropped_turns=started.dropped_turns,
            )
            for number in range(self.request.lanes)
        ]
        conversations = self.stores.here().conversations
        if self.activate:
            begun, provenance = self.request.begun, provenances[0]
            replies = [conversations.begin_reply(self.conversation, self.prompt, provenance, begun)]
        else:
            replies = conversations.begin_replies(self.conversation, self.prompt, provenances, activate=False)
        self.lanes = [
            Lane(number, reply, provenance)
            for number, reply, provenance in zip(self.numbers, replies, provenances, strict=True)
        ]
        if started.dropped_turns:
            yield Dropped(started.dropped_turns)
        for lane in self.lanes:
            yield Began(lane.reply, lane.number)

    def _finish(self, lane: Lane, done: LaneDone) -> Finished:
        provenance = replace(
            lane.provenance,
            sampling=replace(lane.provenance.sampling, seed=done.seed),
            completion_tokens=done.completion_tokens,
            first_token_seconds=done.first_token_seconds,
            seconds=done.seconds,
        )
        self._seal(lane, done.finish_reason, provenance)
        return Finished(lane.reply, lane.number)

    def _seal(self, lane: Lane, reason: FinishReason, provenance: Provenance) -> None:
        conversations = self.stores.here().conversations
        lane.reply = conversations.finish(lane.reply.id, lane.text, reason, provenance)
        lane.finished = True
        if reason in ("cancelled", "error") and self.request.begun.startswith(lane.text):
            # Ended before its first word: there is nothing to show, and all stands as it did.
            conversations.delete_message(lane.reply.id)
