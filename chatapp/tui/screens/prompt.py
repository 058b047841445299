"""All of a prompt whose replies are ranked."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from chatapp.tui.widgets.keybar import KeyBar


class PromptScreen(ModalScreen[None]):
    BINDINGS = [
        Binding("escape,p,q", "dismiss(None)", "close", key_display="Esc"),
        Binding("up", "scroll(-1)", "scroll", key_display="↑"),
        Binding("down", "scroll(1)", "scroll", key_display="↓"),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("pagedown", "scroll(10)", show=False),
    ]
    DEFAULT_CSS = """
    PromptScreen VerticalScroll { scrollbar-size-vertical: 1; }
    """

    def __init__(self, text: Content) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog", can_focus=False) as dialog:
            dialog.border_title = "The prompt"
            yield Static(self._text)
        yield KeyBar()

    def on_resize(self) -> None:
        self.call_after_refresh(self.refresh_bindings)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.query_one(VerticalScroll).max_scroll_y > 0 if action == "scroll" else True

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
