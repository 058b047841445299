"""F1: every key and command, in one place."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Grid, Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from chatapp.tui.commands import COMMANDS
from chatapp.tui.widgets.keybar import KeyBar

_PROMPT = (
    ("Enter", "send"),
    ("^J", "new line; Shift+Enter and Alt+Enter too"),
    ("Esc", "stop the reply; what came is kept"),
    ("^C", "copy the selection, else stop the reply"),
    ("/", "a command; with a space before it a message"),
    ("^Up ^Down", "your earlier prompts"),
    ("Up", "select a message (empty prompt)"),
    ("Left Right", "versions of the reply (empty prompt)"),
    ("PgUp PgDn", "scroll"),
)
_ANYWHERE = (
    ("^R", "alternatives to the reply, to be ranked"),
    ("^T", "train on what you ranked, see how far it is"),
    ("^N", "new conversation"),
    ("^S", "conversations: open, search, rename, delete"),
    ("^O", "models"),
    ("^P", "every command, themes too"),
    ("F1", "this help"),
    ("F2", "system prompt"),
    ("^Q", "quit"),
)
_SELECTED = (
    ("Up Down", "another message"),
    ("Left Right", "its versions"),
    ("r", "alternatives"),
    ("R", "rank the versions that are there"),
    ("+ -", "thumb up, thumb down"),
    ("e", "edit: yours is sent again, a reply is corrected"),
    ("y", "copy"),
    ("d", "delete"),
    ("u", "undo: ranking, thumb, edit, deletion"),
    ("t", "tags: why, for the last ranking"),
    ("Esc", "back to the prompt"),
)
_TRAINING = (
    ("Enter", "start what the plan says"),
    ("s", "stop; the checkpoint is kept"),
    ("r", "go on with a training that was stopped"),
    ("a k", "answer with the new adapter, keep the old one"),
    ("d", "what changed: replies of both, side by side"),
    ("n", "plan another"),
    ("Esc", "the chat; a training goes on"),
)
_RANKING = (
    ("1..9", "the best reply, then the next best, ..."),
    ("=", "before a number: ties it with the one before"),
    ("= =", "ties all that are left"),
    ("x", "all bad"),
    ("e, number", "write what that reply should have said"),
    ("Backspace", "undo the last key"),
    ("Enter", "done (by itself when the last is placed, but below a tie)"),
    ("s", "later: replies are kept, nothing is ranked"),
    ("Esc", "leave, the same; ends chatapp rank, where s goes on"),
    ("Up Down", "open another reply, where there is no room for all"),
    ("PgDn PgUp", "more of the replies, and back"),
    ("p", "the prompt and what is before it"),
    ("u", "in chatapp rank, before the first number: undo the last ranking"),
)

_WIDE = 110
"""Columns from which two tables stand side by side."""


def _table(title: str, rows: tuple[tuple[str, str], ...]) -> Vertical:
    cells: list[Static] = []
    for key, does in rows:
        cells += [Static(Content(key), classes="key"), Static(Content(does), classes="does")]
    return Vertical(Static(title, classes="title", markup=False), Grid(*cells), classes="table")


class Page(VerticalScroll):
    """Names its keys where there is more than the screen shows."""

    BINDINGS = [
        Binding("up", "scroll_up", "scroll", key_display="↑"),
        Binding("down", "scroll_down", "scroll", key_display="↓"),
        Binding("pageup", "page_up", "page", key_display="PgUp"),
        Binding("pagedown", "page_down", "page", key_display="PgDn"),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.max_scroll_y > 0 if action.startswith(("scroll_", "page_")) else True

    def watch_virtual_size(self) -> None:
        self.refresh_bindings()

    def on_resize(self) -> None:
        self.refresh_bindings()


class HelpScreen(ModalScreen[None]):
    BINDINGS = [
        Binding("escape,f1,q", "dismiss(None)", "close", key_display="Esc"),
    ]
    HORIZONTAL_BREAKPOINTS = [(_WIDE, "-wide")]
    DEFAULT_CSS = """
    HelpScreen Page { scrollbar-size-vertical: 1; }
    HelpScreen Horizontal { height: auto; layout: vertical; }
    HelpScreen Horizontal Vertical { height: auto; width: 100%; }
    HelpScreen.-wide Horizontal { layout: horizontal; }
    HelpScreen.-wide Horizontal Vertical { width: 1fr; }
    HelpScreen .table { margin: 1 2 0 0; height: auto; }
    HelpScreen .title { color: $accent; text-style: bold; }
    HelpScreen Grid { height: auto; grid-size: 2; grid-columns: 11 1fr; grid-rows: auto; }
    HelpScreen .slash Grid { grid-columns: 16 1fr; }
    HelpScreen .key { height: auto; color: $foreground; }
    HelpScreen .does { height: auto; color: $secondary; }
    """

    def compose(self) -> ComposeResult:
        slash = tuple((f"/{each.name} {each.argument}".strip(), each.help) for each in COMMANDS if each.name)
        with Page(classes="dialog") as dialog:
            dialog.border_title = "Keys"
            with Horizontal():
                with Vertical():
                    yield _table("In the prompt", _PROMPT)
                    yield _table("Anywhere", _ANYWHERE)
                    yield _table("Commands", slash).add_class("slash")
                with Vertical():
                    yield _table("On a selected message", _SELECTED)
                    yield _table("While ranking", _RANKING)
                    yield _table("Training", _TRAINING)
        yield KeyBar()

    def on_mount(self) -> None:
        self.set_class(self.app.size.width >= _WIDE, "-wide")  # the breakpoint does it after the first layout
        self.query_one(Page).focus()
