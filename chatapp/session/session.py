"""One conversation as a person goes through it: write, read, compare, correct, take back.

What a person wrote is stored before anything else happens to it; what a model writes is stored as it comes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from chatapp.core.errors import ChatappError, UsageError
from chatapp.core.sanitize import one_line
from chatapp.core.settings import Settings
from chatapp.core.types import Conversation, Message, Sampling, Turn
from chatapp.engine.base import (
    AdapterSpec,
    Delta,
    Engine,
    ModelInfo,
    ModelSpec,
    Request,
    room_for_prompt,
    too_long,
)
from chatapp.session.alternatives import Sample, distinct_replies, hotter
from chatapp.session.judging import Judging, require_words
from chatapp.session.rival import TwoWriters, rival_of
from chatapp.session.stores import Stores
from chatapp.session.undo import UndoStack
from chatapp.session.updates import Rehearsed, Update
from chatapp.session.writing import Writing
from chatapp.store.database import Store

_TITLE = 60
"""Characters of the first prompt that become the title, at most."""


def _title_of(prompt: str) -> str:
    """Its beginning, up to the end of a word."""
    line = one_line(prompt, len(prompt))
    if len(line) <= _TITLE:
        return line
    words = line[:_TITLE].rpartition(" ")[0]
    return (words if len(words) > _TITLE // 2 else line[: _TITLE - 1]) + "…"


class Session(Judging):
    """Used by one thread at a time, any thread; `cancel` and `prepare` may run beside another method.

    With `Stores` each thread that calls uses its own connection.
    """

    def __init__(
        self,
        store: Store | Stores,
        engine: Engine,
        settings: Settings,
        spec: ModelSpec,
        adapter: AdapterSpec | None = None,
    ) -> None:
        super().__init__(store if isinstance(store, Stores) else Stores(store.path, store))
        self._engine = engine
        self._settings = settings
        self._spec = spec
        self._adapter = adapter
        self._ready: tuple[ModelSpec, AdapterSpec | None] | None = None
        self._conversation: int | None = None
        self._system = settings.system
        self._stopped = threading.Event()
        self._loading = threading.Lock()
        self._in_turn = False
        """Two adapters are writing, one after the other: `prepare` must not switch between them."""

    @property
    def engine(self) -> Engine:
        """Used in the session's thread alone."""
        return self._engine

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    def sampling(self) -> Sampling:
        """Of a first reply."""
        return self._settings.sampling_with(self._spec.sampling)

    @property
    def adapter(self) -> AdapterSpec | None:
        return self._adapter

    # Conversations

    @property
    def conversation(self) -> Conversation | None:
        """The open one; None while it is new and has no message yet, so that empty ones are never stored."""
        return None if self._conversation is None else self.store.conversations.get(self._conversation)

    @property
    def system(self) -> str:
        conversation = self.conversation
        return self._system if conversation is None else conversation.system

    def set_system(self, text: str) -> None:
        """Change the system prompt of this conversation from here on."""
        if self._conversation is not None:
            self.store.conversations.set_system(self._conversation, text)
        self._system = text

    def open(self, conversation: int | None) -> None:
        """Go on with a conversation; None begins a new one. Errors: `NotFound`, also for a deleted one."""
        if conversation is None:
            self.new()
            return
        self.store.conversations.require_open(conversation)
        self._conversation = conversation
        self._undo = UndoStack()

    def new(self, system: str | None = None) -> None:
        """Begin a conversation; it is stored with its first message."""
        self._conversation = None
        self._system = self._settings.system if system is None else system
        self._undo = UndoStack()

    def messages(self) -> list[Message]:
        """Every branch, in the order of ids, deleted messages left out."""
        return [] if self._conversation is None else self.store.conversations.messages(self._conversation)

    def path(self) -> list[Message]:
        """The active path, root first."""
        return [] if self._conversation is None else self.store.conversations.path(self._conversation)

    def deleted(self, conversations: Sequence[int], open_one: int | None = None) -> None:
        """These were deleted elsewhere: `undo` brings them back, and opens `open_one` where none is open."""

        def back() -> None:
            for each in conversations:
                self.store.conversations.restore(each)
            if self._conversation is None:
                self._conversation = open_one

        self._undo.push("the deletion", back)

    # Writing

    def least(self, text: str) -> list[Turn]:
        """What the model is given for `text` at least: the turns before it are dropped to fit."""
        path = self.path()
        before = self.turns(path[-1].id) if path else [Turn("system", self.system)]
        return [*(turn for turn in before[:1] if turn.role == "system" and turn.text), Turn("user", text)]

    def require_fit(self, text: str, max_tokens: int, lanes: int = 1) -> None:
        """Load the model and see whether it takes `text` as a prompt, with room for so many replies of
        `max_tokens`; nothing is stored. Errors: `PromptTooLong`, `ModelError`, `EngineError`."""
        info = self.prepare()
        tokens = self._engine.count(self.least(text))
        if tokens > room_for_prompt(info.n_ctx, info.cells, max_tokens, lanes):
            raise too_long(tokens, info.n_ctx, info.cells, info.n_ctx_train, max_tokens, lanes)

    def begin(self, text: str) -> Message:
        """Store a prompt after the last message of the active path.

        Errors: `UsageError` when it is empty, `NotFound` where the conversation was deleted meanwhile.
        """
        require_words(text)
        conversations = self.store.conversations
        if self._conversation is None:
            self._conversation = conversations.create(title=_title_of(text), system=self._system).id
        else:
            conversations.require_open(self._conversation)
        path = self.path()
        parent = path[-1].id if path else None
        return conversations.add(self._conversation, parent, "user", text, "typed")

    def turns(self, prompt: int) -> list[Turn]:
        """What the model is given for a reply to `prompt`: the system prompt, then the way from the root."""
        return list(self.store.conversations.turns(prompt))

    def stream(self, prompt: int, *, sampling: Sampling | None = None) -> Iterator[Update]:
        """Write one reply to the stored message `prompt` and make it the active one.

        Errors: `EngineError`, `ModelError`; what came until then is stored with finish_reason `error`.
        Closing the iterator early stores it as `cancelled`.
        """
        message = self._prompt(prompt)
        self._stopped.clear()
        wanted = self.sampling if sampling is None else sampling

        def run() -> Iterator[Update]:
            request = Request(self.turns(prompt), wanted)
            model = self.prepare()
            if not self._stopped.is_set():
                yield from self._writing(message, request, model, self._adapter, (0,), activate=True).run()

        return run()

    def write_on(self, reply: int, *, sampling: Sampling | None = None) -> Iterator[Update]:
        """Go on with a stored reply that was cut: another version of it, of the same text and what follows,
        becomes the active one. None is kept that is stopped before anything follows.

        Errors: `UsageError` where it is complete, `PromptTooLong` where nothing more fits into the context,
        and those of `stream`.
        """
        cut, prompt = self._cut(reply)
        self._stopped.clear()
        wanted = self.sampling if sampling is None else sampling
        before = self._active_child(cut.conversation, prompt.id)

        def run() -> Iterator[Update]:
            request = Request(self.turns(prompt.id), wanted, begun=cut.text)
            model = self.prepare()
            if self._stopped.is_set():
                return
            writing = self._writing(prompt, request, model, self._adapter, (0,), activate=True)
            try:
                yield from writing.run()
            finally:
                message = self.store.conversations.message
                if any(message(each.reply.id).deleted for each in writing.lanes):
                    self._show_again(before)

        return run()

    def alternatives(
        self,
        prompt: int,
        n: int,
        *,
        keep: Sequence[int] = (),
        sampling: Sampling | None = None,
        alone: bool = False,
    ) -> Iterator[Update]:
        """Write `n` more replies to `prompt` in one batch, none of them active.

        A reply that repeats a sibling, one of `keep` or another lane, or that is empty, is taken out and
        sampled again, at most `alternatives.ROUNDS` times; so is one that says nearly what one of `keep` or
        another lane says, as long as it is short and nobody called `keep` for it. Without `sampling` they are
        hotter. Where the adapter in use has a rival, the two share the lanes, unless it shall write `alone`.
        """
        if not 1 <= n <= self._spec.lanes:
            raise UsageError(f"{n} alternatives were asked for", f"from 1 to {self._spec.lanes} are possible")
        message = self._prompt(prompt)
        self._stopped.clear()
        hot = replace(self.sampling, temperature=self._settings.alternatives_temperature)
        wanted = hot if sampling is None else sampling
        conversations = self.store.conversations
        there = conversations.children(message.conversation, prompt)
        beside = [conversations.message(each) for each in keep]

        def run() -> Iterator[Update]:
            turns = self.turns(prompt)
            model = self.prepare()

            own = self._adapter

            def write(
                adapter: AdapterSpec | None,
                numbers: tuple[int, ...],
                first_lane: int,
                seed: int | None,
                rounds: int,
            ) -> Writing:
                chosen = hotter(wanted if seed is None else replace(wanted, seed=seed), rounds)
                request = Request(turns, chosen, lanes=len(numbers), first_lane=first_lane)
                return self._writing(message, request, model, adapter, numbers, activate=False)

            def distinct(sample: Sample) -> Iterator[Update]:
                return distinct_replies(
                    *(sample, n, (*there, *beside), beside),
                    *(self._take_out, self._kept.__contains__, self._stopped.is_set),
                )

            if self._stopped.is_set():
                return
            rival = rival_of(self.store, own) if self._settings.rival and not alone else None
            if rival is None:
                yield from distinct(partial(write, own))
                return
            self._in_turn = True
            try:
                yield from distinct(TwoWriters(own, rival.adapter, n, wanted.seed, write, self._load))
            finally:
                self._in_turn = False
            self.prepare()

        return run()

    def rehearse(
        self, prompts: Sequence[Sequence[Turn]], adapters: Sequence[AdapterSpec | None], seed: int = 1
    ) -> Iterator[Update]:
        """What each adapter (None is the base) replies to each prompt; nothing is stored.

        All of them draw the same random numbers. Errors: `EngineError`, `ModelError`.
        """
        self._stopped.clear()
        sampling = replace(self.sampling, seed=seed)
        self.prepare()
        self._in_turn = True
        try:
            for place, turns in enumerate(prompts):
                for which, adapter in enumerate(adapters):
                    if self._stopped.is_set():
                        return
                    self._load(adapter)
                    for event in self._engine.generate(Request(turns, sampling)):
                        if isinstance(event, Delta):
                            yield Rehearsed(place, which, event.text)
        finally:
            self._in_turn = False
            self.prepare()

    def cancel(self) -> None:
        """Stop the reply that is being written; what came so far is kept. Any thread."""
        self._stopped.set()
        self._engine.cancel()

    # The model

    def use(self, spec: ModelSpec, adapter: AdapterSpec | None = None) -> None:
        """Answer with this model from the next reply on; it is loaded when it is needed, or by `prepare`."""
        self._spec, self._adapter = spec, adapter

    def prepare(self) -> ModelInfo:
        """Load what `use` named, when it is not loaded yet. Any thread, also beside another method.

        Errors: `ModelError`, `EngineError`.
        """
        with self._loading:
            return self._load(self._ready[1] if self._in_turn and self._ready else self._adapter)

    def _load(self, adapter: AdapterSpec | None) -> ModelInfo:
        spec = self._spec
        info = self._engine.info
        if info is None or self._ready is None or self._ready[0] != spec:
            self._ready = None
            info = self._engine.load(spec)
            self._ready = (spec, None)
        if self._ready[1] != adapter:
            self._engine.set_adapter(adapter)
            self._ready = (spec, adapter)
        return info

    def used(self) -> float | None:
        """Share of the context of the model in use that the active path takes, all of it where turns were
        dropped to fit; None where nothing was written, or while it cannot be counted."""
        path, info, ready = self.path(), self._engine.info, self._ready
        written = [each.provenance for each in path if each.provenance is not None]
        if not written or info is None or not info.n_ctx or ready is None or ready[0] != self._spec:
            return None
        last = written[-1]
        if last.model_sha256 == info.sha256 and last.prompt_tokens:
            return 1.0 if last.dropped_turns else (last.prompt_tokens + last.completion_tokens) / info.n_ctx
        tokens = self._count(path[-1].id)
        return None if tokens is None else tokens / info.n_ctx

    # Inside

    def _count(self, message: int) -> int | None:
        """Tokens of the way to `message`; None where the engine has something else to do."""
        if not self._loading.acquire(blocking=False):
            return None
        try:
            return self._engine.count(self.turns(message))
        except ChatappError:  # nobody asked for it
            return None
        finally:
            self._loading.release()

    def _cut(self, reply: int) -> tuple[Message, Message]:
        """A reply that can be gone on with, and what it answers. Errors: `UsageError`, `NotFound`."""
        message = self.store.conversations.message(reply)
        another = "ask for another one with Ctrl+R"
        if message.role != "assistant" or message.parent is None:
            raise UsageError(f"message {reply} answers nothing", "name a reply")
        if message.finish_reason == "stop":
            raise UsageError("the reply ended by itself, it was not cut", another)
        if message.finish_reason is None and message.origin == "model":
            raise UsageError("the reply is still being written", "wait for its end")
        if message.finish_reason is None and message.origin != "edit":
            raise UsageError("the reply was not written here, and nothing cut it", another)
        return message, self._prompt(message.parent)

    def _writing(
        self,
        prompt: Message,
        request: Request,
        model: ModelInfo,
        adapter: AdapterSpec | None,
        numbers: tuple[int, ...],
        activate: bool,
    ) -> Writing:
        return Writing(
            self._stores,
            self._engine,
            request,
            prompt.conversation,
            prompt.id,
            model,
            None if adapter is None else adapter.name,
            numbers,
            activate,
            self._stopped.is_set,
        )
