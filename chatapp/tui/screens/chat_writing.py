"""The chat's writing: a prompt is stored, answered, stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

from textual import work

from chatapp.core.errors import ChatappError
from chatapp.core.types import Message
from chatapp.session.updates import Began, Dropped, Finished, Text, Update
from chatapp.tui.commands import is_command
from chatapp.tui.screens.chat_page import ChatPage
from chatapp.tui.session_thread import Job
from chatapp.tui.snapshot import Item
from chatapp.tui.widgets.message import MessageView


class ChatWriting(ChatPage):
    """Prompts and their replies as they come."""

    @work(group="reply")
    async def send(self, text: str) -> None:
        """Store a prompt, show it, and let it be answered."""
        self._set_writing(True)
        try:
            prompt = await self.session.do(lambda session: session.begin(text))
        except ChatappError as error:
            self.give_back(text)
            self._set_writing(False)
            self.complain(error)
            return
        self.say("")
        await self.show_path()
        self.transcript.anchor()
        await self._answer(lambda session: session.stream(prompt.id))

    def give_back(self, text: str) -> None:
        """Put a message that was not sent into the prompt, as one also where it looks like a command."""
        self.composer.give_back(f" {text}" if is_command(text) else text)

    @work(group="reply")
    async def answer(self, prompt: Message) -> None:
        """Let a stored prompt be answered."""
        self._set_writing(True)
        await self._answer(lambda session: session.stream(prompt.id))

    @work(group="reply")
    async def write_on(self, reply: Message) -> None:
        """Let a reply that was cut be gone on with, in its place; the caller says that one is written."""
        await self._answer(lambda session: session.write_on(reply.id), reply.id)

    async def _answer(self, request: Job[Iterator[Update]], instead: int | None = None) -> None:
        """Show the reply as it comes: at the end, or `instead` of this message and what follows it."""
        view: MessageView | None = None
        failed: ChatappError | None = None
        waiting = await self.transcript.wait(self.snapshot.model if self.snapshot else "")
        try:
            if not await self.load() or self._stopped:
                return
            async for batch in self.session.stream(request):
                text = ""
                for update in batch:
                    match update:
                        case Began(reply):
                            with self.app.batch_update():
                                await waiting.remove()
                                view = MessageView(Item(reply), streaming=True)
                                await self.transcript.add(view, instead)
                        case Text(delta=delta):
                            text += delta
                        case Finished(reply):
                            if view is not None:
                                await view.write(text)
                                await view.finish(reply)
                            text = ""
                        case Dropped(turns):
                            first = (
                                "message no longer fits" if turns == 1 else f"{turns} messages no longer fit"
                            )
                            self.say(f"The first {first} into the context.")
                if view is not None and text:
                    await view.write(text, sum(isinstance(each, Text) for each in batch))
        except ChatappError as error:
            failed = error
        finally:
            if waiting.is_attached:
                waiting.remove()
            self._set_writing(False)
        await self._answered(view, failed)

    async def _answered(self, view: MessageView | None, failed: ChatappError | None) -> None:
        if not self.app.is_running:
            return
        if view is not None and view.streaming:
            reply = view.message.id
            await view.finish(
                await self.session.do(lambda session: session.store.conversations.message(reply))
            )
        await self.show_path()
        if failed is not None:
            if view is not None and view.is_attached:
                view.fail(f"{failed}: {failed.hint}")
            else:
                self.complain(failed)

    # Stopping

    def action_stop(self) -> None:
        """Stop at once; what came so far is kept."""
        self._stopped = True
        self.session.cancel()

    async def stopped(self) -> None:
        """Stop, and wait until what came is stored. A model that is still being loaded is not waited for."""
        if self.writing:
            self.action_stop()
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._idle.wait()

    def still_writing(self) -> bool:
        """Whether something has to wait for the end of a reply; says so."""
        if self.writing:
            self.say_for_now("A reply is still being written. Esc stops it.")
        return self.writing

    def interrupt(self) -> None:
        """Ctrl+C where nothing is selected."""
        if self.writing or (self.ranker is not None and self.ranker.writing):
            self.action_stop()
        else:
            self.say("Ctrl+Q quits.")
