"""All that the model is told where replies are ranked: the system prompt, the turns so far, the prompt."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from chatapp.core.sanitize import terminal_safe
from chatapp.core.types import Turn
from chatapp.tui.widgets.keybar import KeyBar

_WHO = {"system": "System", "user": "You", "assistant": "Reply"}


class PromptScreen(ModalScreen[None]):
    """`before` is what stands before the prompt."""

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

    def __init__(self, before: Sequence[Turn], text: Content) -> None:
        super().__init__()
        self._before = before
        self._text = Static(text)

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog", can_focus=False) as dialog:
            dialog.border_title = "The conversation so far" if self._before else "The prompt"
            if self._before:
                turns = [*map(_headed, self._before), Content.styled(_WHO["user"], "bold $secondary")]
                yield Static(Content("\n\n").join(turns))
            yield self._text
        yield KeyBar()

    def on_mount(self) -> None:
        self.call_after_refresh(self._text.scroll_visible, animate=False, top=True)

    def on_resize(self) -> None:
        self.call_after_refresh(self.refresh_bindings)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.query_one(VerticalScroll).max_scroll_y > 0 if action == "scroll" else True

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


def _headed(turn: Turn) -> Content:
    """A turn below the name of who it comes from."""
    style = "bold $accent" if turn.role == "assistant" else "bold $secondary"
    return Content.assemble((_WHO[turn.role], style), "\n", terminal_safe(turn.text.strip()))
