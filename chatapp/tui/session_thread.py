"""The one thread in which the session and its database connection live.

Everything that a screen asks of the session goes through here. A request streams for seconds; what a person
does meanwhile (a thumb, a look at another version) is done between two of its updates, so nothing waits for
its end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from chatapp.engine.base import ModelInfo
    from chatapp.session.session import Session
    from chatapp.session.updates import Update

_PATIENCE = 2.0
"""Seconds that what runs has to end by itself when the program ends."""
T = TypeVar("T")
Job = Callable[["Session"], T]

_FRAME = 1 / 40
"""Seconds between two batches of a stream: drawing more often than that serves nobody."""
_SLOWEST_FRAME = 0.3
"""What it may grow to where drawing is slow: a long code block is highlighted anew with each batch."""


class SessionThread:
    """`make` builds the session; it is called in the thread, before the first job, and again if it failed."""

    def __init__(self, make: Callable[[], Session]) -> None:
        self._make = make
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="session")
        self._jobs: SimpleQueue[tuple[Job[Any], Future[Any]]] = SimpleQueue()
        self._made: Session | None = None
        self._loading = asyncio.Lock()
        self._closed = False

    async def do(self, job: Job[T]) -> T:
        """Run a short job and give back its result. Raises what the job raises; after `close` the caller,
        which belongs to a screen that is gone, is cancelled."""
        if self._closed:
            raise asyncio.CancelledError
        future: Future[T] = Future()
        self._jobs.put((job, future))
        self._pool.submit(self._drain)
        return await asyncio.wrap_future(future)

    async def prepare(self) -> ModelInfo:
        """Load the model when it is not loaded. Runs beside the session's thread, so that what a person
        writes meanwhile is stored at once. Errors: `ModelError`, `EngineError`."""
        session = await self.do(lambda session: session)
        async with self._loading:
            return await asyncio.to_thread(session.prepare)

    async def stream(self, request: Job[Iterator[Update]]) -> AsyncIterator[list[Update]]:
        """Run a request to its end and give its updates as they come, several at once when they come fast.

        One that is left before its turn has come is not run at all.
        """
        if self._closed:
            raise asyncio.CancelledError
        loop = asyncio.get_running_loop()
        arrived = asyncio.Event()
        inbox: deque[Update] = deque()
        frame = _FRAME

        def run() -> None:
            for update in request(self._session()):
                inbox.append(update)
                if len(inbox) == 1:
                    loop.call_soon_threadsafe(arrived.set)
                self._drain()

        submitted = self._pool.submit(run)
        running = asyncio.wrap_future(submitted)
        running.add_done_callback(lambda _: arrived.set())
        try:
            while not running.done() or inbox:
                await arrived.wait()
                arrived.clear()
                if batch := [inbox.popleft() for _ in range(len(inbox))]:
                    yield batch
                if not running.done():
                    slept = loop.time()
                    await asyncio.sleep(frame)
                    late = loop.time() - slept - frame
                    frame = min(max(_FRAME, 2 * late), _SLOWEST_FRAME)
                    if inbox:
                        arrived.set()
            await running
        finally:
            submitted.cancel()

    async def idle(self) -> None:
        """Wait until the request that runs has ended and what it wrote is sealed or taken out."""
        if self._closed:
            raise asyncio.CancelledError
        await asyncio.wrap_future(self._pool.submit(lambda: None))

    def cancel(self) -> None:
        """Stop the running request; any thread may call this."""
        if self._made is not None:
            self._made.cancel()

    async def close(self, last: Callable[[], object]) -> None:
        """Stop what runs, let it be sealed, run `last` in the thread and end it, and the engine with whatever
        cannot be stopped (a model that is loading); idempotent."""
        if self._closed:
            return
        self._closed = True
        self.cancel()
        self._pool.submit(last)
        ended = asyncio.create_task(asyncio.to_thread(self._pool.shutdown, True))
        await asyncio.wait([ended], timeout=_PATIENCE)
        if self._made is not None:
            await asyncio.to_thread(self._made.engine.close)
        await ended

    def _session(self) -> Session:
        if self._made is None:
            self._made = self._make()
        return self._made

    def _drain(self) -> None:
        while True:
            try:
                job, future = self._jobs.get_nowait()
            except Empty:
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job(self._session()))
            except BaseException as error:  # handed to whoever waits for the result
                future.set_exception(error)


def joined(batch: list[Update]) -> list[Update]:
    """The same batch with the pieces of each reply in one piece, as each piece costs a drawing."""
    from chatapp.session.updates import Text

    result: list[Update] = []
    text: dict[int, Text] = {}
    for update in batch:
        if isinstance(update, Text):
            before = text.get(update.reply_id)
            delta = update.delta if before is None else before.delta + update.delta
            text[update.reply_id] = Text(update.reply_id, update.lane, delta)
        else:
            result += text.values()
            text.clear()
            result.append(update)
    return [*result, *text.values()]
