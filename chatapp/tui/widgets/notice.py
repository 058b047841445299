"""One quiet line under the conversation: what was just done, and how to take it back."""

from __future__ import annotations

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from chatapp.core.sanitize import one_line


class Notice(Static, can_focus=True):
    """Focused after a ranking, so that `u` and `t` act on it; any other letter goes back to the prompt."""

    class Asked(Message):
        def __init__(self, what: str) -> None:
            super().__init__()
            self.what = what

    class Typed(Message):
        def __init__(self, character: str) -> None:
            super().__init__()
            self.character = character

    ALLOW_SELECT = False
    BINDINGS = [
        Binding("u", "ask('undo')", "undo"),
        Binding("t", "ask('tags')", "tags"),
        Binding("enter,escape", "ask('prompt')", "go on", key_display="Enter"),
        Binding("up", "ask('select')", "select", key_display="↑"),
    ]
    DEFAULT_CSS = """
    Notice {
        display: none;
        height: 1;
        padding: 0 2;
        color: $secondary;
        text-wrap: nowrap;
        text-overflow: ellipsis;
        &.-error { color: $error; height: auto; text-wrap: wrap; }
    }
    """

    said: str | Content = ""
    """What is shown."""

    def say(self, text: str | Content, error: bool = False) -> None:
        """Show one line in place of the one that is there; empty text hides it."""
        self.said = text
        self.set_class(error, "-error")
        self.display = bool(text)
        self.update(text if isinstance(text, Content) else Content(one_line(text, 300)))

    def action_ask(self, what: str) -> None:
        self.post_message(self.Asked(what))

    def on_key(self, event: events.Key) -> None:
        if event.is_printable and event.character and event.character not in "ut":
            event.stop()
            self.post_message(self.Typed(event.character))
