"""One message of the conversation: heading, text, and a quiet line when it did not end by itself."""

from __future__ import annotations

import time
from dataclasses import replace

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message as Event
from textual.widgets import Static

from chatapp.core.sanitize import terminal_safe
from chatapp.core.types import Message
from chatapp.tui.keys import character_of
from chatapp.tui.snapshot import Item
from chatapp.tui.widgets.heading import Heading
from chatapp.tui.widgets.markdown import ReplyMarkdown

ENDINGS = {
    "cancelled": "stopped here",
    "length": "cut at the limit of max_tokens",
    "interrupted": "interrupted: the program ended while writing this",
    "error": "the engine failed here",
}
"""What is said of a reply that did not end by itself, by its `finish_reason`."""


class MessageView(Vertical, can_focus=True):
    """Focused it is selected, and single letters act on it; any other letter goes back to the prompt."""

    class Asked(Event):
        """A key or click asks for something that the screen does: `what` names it."""

        def __init__(self, view: MessageView, what: str) -> None:
            super().__init__()
            self.view = view
            self.what = what

    class Typed(Event):
        """A letter that means nothing here: the person goes on typing."""

        def __init__(self, character: str) -> None:
            super().__init__()
            self.character = character

    BINDINGS = [
        Binding("r", "ask('alternatives')", "alternatives"),
        Binding("ctrl+r", "ask('alternatives')", show=False),
        Binding("plus", "ask('up')", "thumb", key_display="+"),
        Binding("minus", "ask('down')", "thumb", key_display="-"),
        Binding("e", "ask('edit')", "edit"),
        Binding("d", "ask('delete')", "delete"),
        Binding("u", "ask('undo')", "undo"),
        Binding("escape", "ask('prompt')", "back", key_display="Esc"),
        Binding("R", "ask('rank')", "rank"),
        Binding("y", "ask('copy')", "copy"),
        Binding("left", "ask('previous')", "versions", key_display="←"),
        Binding("right", "ask('next')", "versions", key_display="→"),
        Binding("t", "ask('tags')", "tags"),
        Binding("up", "ask('above')", "move", key_display="↑", show=False),
        Binding("down", "ask('below')", "move", key_display="↓", show=False),
        Binding("enter", "ask('prompt')", show=False),
    ]

    def __init__(self, item: Item, streaming: bool = False) -> None:
        super().__init__(classes="reply" if item.message.role == "assistant" else "own")
        self.item = item
        self.streaming = streaming
        self.heading = Heading(item)
        self._note = Static(classes="note", markup=False)
        self._text = item.message.text
        self._pieces = 0
        self._began = 0.0
        if streaming:
            self.heading.speed = 0

    @property
    def message(self) -> Message:
        return self.item.message

    @property
    def text(self) -> str:
        """All of the message that has come so far, raw."""
        return self._text

    def compose(self) -> ComposeResult:
        yield self.heading
        if self.message.role == "assistant":
            yield ReplyMarkdown(self._text, classes="body")
        else:
            yield Static(Content(terminal_safe(self._text)), classes="body")
        yield self._note
        self._show_ending()

    def show(self, item: Item) -> None:
        """The same message with other marks."""
        self.item = item
        self.heading.item = item
        self._show_ending()

    async def write(self, delta: str, tokens: int = 1) -> None:
        """More text of the reply that is being written, and about how many tokens it is."""
        self._text += delta
        self._pieces += tokens
        now = time.monotonic()
        if not self._began:
            self._began = now
        elif now > self._began:
            self.heading.speed = (self._pieces - 1) / (now - self._began)
        if self.is_attached:
            await self.query_one(ReplyMarkdown).write(delta)

    async def finish(self, message: Message) -> None:
        """The reply is complete and stored as `message`."""
        self.streaming = False
        self._text = message.text
        self.heading.speed = None
        self.show(replace(self.item, message=message))
        if self.is_attached:
            await self.query_one(ReplyMarkdown).settle(message.text)

    def fail(self, line: str) -> None:
        """Say in one line what went wrong at this reply."""
        self._note.update(Content(terminal_safe(line)))
        self._note.add_class("error")
        self._note.display = True

    def _show_ending(self) -> None:
        ending = ENDINGS.get(self.message.finish_reason or "")
        if self._note.has_class("error"):
            return
        self._note.display = ending is not None
        if ending:
            self._note.update(Content(f"{ending}; /continue goes on"))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action != "ask":
            return True
        is_reply = self.message.role == "assistant" and not self.streaming
        match parameters[0]:
            case "alternatives" | "up" | "down":
                return is_reply
            case "rank":
                return is_reply and self.item.versions > 1
            case "previous" | "next":
                return self.item.versions > 1 and not self.streaming
            case "edit" | "delete":
                return not self.streaming
            case "tags":
                return is_reply and self.item.rank is not None
        return True

    def action_ask(self, what: str) -> None:
        self.post_message(self.Asked(self, what))

    def on_key(self, event: events.Key) -> None:
        character = character_of(event)
        if character and character not in "re+-yduRt":
            event.stop()
            self.post_message(self.Typed(character))

    def on_heading_walk(self, event: Heading.Walk) -> None:
        event.stop()
        self.action_ask("previous" if event.step < 0 else "next")
