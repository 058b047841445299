"""Where the person writes: grows with its text, Enter sends, a paste never does."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.widgets import TextArea

from chatapp.core.sanitize import terminal_safe
from chatapp.tui.commands import is_command, matching
from chatapp.tui.keys import character_of

_NEW_LINE = ("ctrl+j", "shift+enter", "alt+enter")


@dataclass
class Recalling:
    """Where a person is in the walk through the older prompts."""

    at: int | None = None
    """Which prompt was recalled; None: none, it is the draft."""
    draft: str = ""
    origin: str = ""
    """The prompt that was recalled, as it was sent."""
    changed: dict[str, str] = field(default_factory=dict)
    """What was made of prompts that were recalled and not sent again."""


class Composer(TextArea):
    """Keeps every printable key for typing. The history is that of the person's own prompts, oldest first."""

    class Sent(Message):
        """Enter was pressed on what was `typed`, which is not in the prompt any more: what is typed next is
        another one. `literal`: it is a message even where it looks like a command."""

        def __init__(self, typed: str, recalling: Recalling | None = None) -> None:
            super().__init__()
            self.typed = typed
            self.text = typed.strip()
            self.literal = typed[:1].isspace()
            self.recalling = recalling or Recalling()

    class Left(Message):
        """Up, Left or Right in the empty prompt: `where` is `above`, `previous` or `next`."""

        def __init__(self, where: str) -> None:
            super().__init__()
            self.where = where

    BINDINGS = [
        Binding("enter", "run", "run", key_display="Enter"),
        Binding("enter", "send", "send", key_display="Enter"),
        Binding(",".join(_NEW_LINE), "line", "line", key_display="^J"),
        Binding("tab", "complete", "complete", key_display="Tab"),
        Binding("up", "leave('above')", "select", key_display="↑"),
        Binding("left", "leave('previous')", "versions", key_display="←"),
        Binding("right", "leave('next')", "versions", key_display="→"),
        # The same keys with text in the prompt.
        Binding("up", "cursor_up", show=False),
        Binding("left", "cursor_left", show=False),
        Binding("right", "cursor_right", show=False),
        Binding("pageup", "screen.scroll(-1)", show=False),
        Binding("pagedown", "screen.scroll(1)", show=False),
        Binding("ctrl+up", "recall(-1)", "older prompt", show=False),
        Binding("ctrl+down", "recall(1)", "newer prompt", show=False),
    ]

    def __init__(self, placeholder: str = "Ask, or / for commands", id: str | None = None) -> None:
        super().__init__(
            placeholder=placeholder, id=id, compact=True, highlight_cursor_line=False, show_line_numbers=False
        )
        self.prompts: list[str] = []
        self.versions = 1
        """Of the last reply; more than one lets Left and Right walk them."""
        self.waiting = False
        """Whether a reply is being written, and no version can be walked to."""
        self.selectable = False
        """Whether there is a message that Up could select."""
        self._recalling = Recalling()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "leave":
            walks = self.versions > 1 and not self.waiting
            return not self.text and (self.selectable if parameters[0] == "above" else walks)
        if action == "complete":
            return bool(self.suggestion)
        if action == "run":
            return is_command(self.text)
        if action in ("send", "line"):
            return bool(self.text.strip()) or None
        return True

    def action_send(self) -> None:
        if self.text.strip():
            self.post_message(self.Sent(self.text, self._recalling))
            self._recalling = Recalling()
            with self.prevent(self.Changed):  # nothing was typed
                self.clear()

    def give_back(self, text: str, recalling: Recalling | None = None) -> None:
        """What could not be sent stands in the prompt again, before what was typed since."""
        self._recalling = recalling or self._recalling
        with self.prevent(self.Changed):
            self.load_text("\n".join(filter(None, (text, self.text))))
        self.move_cursor(self.document.end)

    def action_run(self) -> None:
        self.action_send()

    def action_line(self) -> None:
        self.insert("\n")

    def action_complete(self) -> None:
        self.insert(self.suggestion)

    def action_leave(self, where: str) -> None:
        self.post_message(self.Left(where))

    def action_recall(self, step: int) -> None:
        """Walk through the person's own prompts; what was being written comes back at the end, and a prompt
        as it was changed."""
        if not self.prompts:
            return
        walk = self._recalling
        if walk.at is None:
            walk.draft = self.text
        else:
            walk.changed[walk.origin] = self.text or walk.origin
        at = (len(self.prompts) if walk.at is None else walk.at) + step
        if at >= len(self.prompts):
            walk.at, text = None, walk.draft
        else:
            walk.at = max(at, 0)
            walk.origin = self.prompts[walk.at]
            text = walk.changed.get(walk.origin, walk.origin)
        self.load_text(text)
        self.move_cursor(self.document.end)

    def get_line(self, line_index: int) -> Text:
        """As it is drawn: terminal-safe, wherever the text came from. The text itself stays as it is."""
        return Text(terminal_safe(self.document.get_line(line_index)), end="", no_wrap=True)

    def update_suggestion(self) -> None:
        found = matching(self.text) if " " not in self.text and len(self.text) > 1 else []
        self.suggestion = found[0].name[len(self.text) - 1 :] if found else ""

    async def _on_key(self, event: events.Key) -> None:
        # Both at once, and not as bindings, which are asked last: what is typed next must not overtake them.
        if event.key in ("enter", *_NEW_LINE):
            event.prevent_default()
            event.stop()
            if event.key == "enter":
                self.action_send()
            else:
                self.action_line()
        elif not event.is_printable and (character := character_of(event)):
            event.prevent_default()
            event.stop()
            self._replace_via_keyboard(character, *self.selection)

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        text = event.text.replace("\r\n", "\n").replace("\r", "\n")
        if result := self._replace_via_keyboard(text, *self.selection):
            self.move_cursor(result.end_location)
