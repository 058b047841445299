"""One quiet line under the conversation: what was just done, and how to take it back."""

from __future__ import annotations

from collections.abc import Collection

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static

from chatapp.core.sanitize import one_line
from chatapp.tui.keys import character_of
from chatapp.tui.widgets.surplus import SurplusDigit

_LETTERS = {"u": "undo", "t": "tags"}
_SHOWN = {"undo": ("u", " undo"), "tags": ("t", " why")}


class Notice(Static, can_focus=True):
    """Focused where it offers something, so that `u` and `t` act on it; all other typing goes to the prompt.

    A message may begin with these letters too: one acts when nothing is typed right after it, and goes to the
    prompt with what is. Backspace takes it back.
    """

    class Asked(Message):
        def __init__(self, what: str) -> None:
            super().__init__()
            self.what = what

    class Typed(Message):
        def __init__(self, text: str) -> None:
            super().__init__()
            self.character = text

    ALLOW_SELECT = False
    BINDINGS = [
        Binding("u", "ask('undo')", "undo"),
        Binding("t", "ask('tags')", "tags"),
        Binding("enter,escape", "ask('prompt')", "go on", key_display="Enter"),
        Binding("up", "ask('select')", "select", key_display="↑"),
        Binding("left", "ask('previous')", "versions", key_display="←"),
        Binding("right", "ask('next')", "versions", key_display="→"),
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

    PATIENCE = 0.6
    """Seconds without another letter after which `u` and `t` act."""

    said: str | Content = ""
    """What is shown; the letters that act follow it while they do and where there is room."""
    offers: Collection[str] = ()
    """Which of `undo` and `tags` it offers."""
    walks: bool = False
    """Whether Left and Right walk the versions of the last reply, as they do in the prompt."""
    surplus: SurplusDigit | None = None
    """After a ranking; it does not go to the prompt."""
    _held = ""
    _waiting: Timer | None = None

    def say(self, text: str | Content, error: bool = False, offers: Collection[str] = ()) -> None:
        """Show one line in place of the one that is there; empty text hides it."""
        self.said = text
        self.offers = offers
        self.set_class(error, "-error")
        self.display = bool(text)
        self._draw()
        if self.is_attached:
            self.refresh_bindings()

    def _draw(self) -> None:
        line = self.said if isinstance(self.said, Content) else Content(one_line(self.said, 300))
        if self.offers and self.has_focus:
            letters = [
                Content.assemble((_SHOWN[each][0], "bold $accent"), _SHOWN[each][1]) for each in self.offers
            ]
            longer = Content("   ").join([line, *letters])
            line = longer if longer.cell_length <= self.content_size.width else line
        self.update(line)

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "ask" and parameters[0] in _LETTERS.values():
            return parameters[0] in self.offers
        if action == "ask" and parameters[0] in ("previous", "next"):
            return self.walks
        return True

    def action_ask(self, what: str) -> None:
        self.post_message(self.Asked(what))

    def on_key(self, event: events.Key) -> None:
        if self.surplus is not None and self.surplus.is_it(event.key):
            event.stop()
            return
        letter = character_of(event)
        if self._held and (letter or event.key == "backspace"):
            event.stop()
            held = self._let_go()
            if letter:
                self.post_message(self.Typed(held + letter))
        elif letter and _LETTERS.get(letter) in self.offers:
            event.stop()
            self._held = letter
            self._waiting = self.set_timer(self.PATIENCE, self._act)
        elif letter:
            event.stop()
            self.post_message(self.Typed(letter))

    def _act(self) -> None:
        if held := self._let_go():
            self.action_ask(_LETTERS[held])

    def _let_go(self) -> str:
        """The letter that was waiting, which waits no longer."""
        held, self._held = self._held, ""
        if self._waiting is not None:
            self._waiting.stop()
        return held
