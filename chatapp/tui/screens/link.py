"""A link in a reply leads wherever a model wrote it to; the person sees where before it is opened."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from chatapp.core.sanitize import terminal_safe
from chatapp.tui.widgets.keybar import KeyBar

_SCHEMES = ("http://", "https://")


class LinkScreen(ModalScreen[None]):
    BINDINGS = [
        Binding("o", "open", "open in the browser"),
        Binding("y", "copy", "copy"),
        Binding("escape", "dismiss(None)", "leave", key_display="Esc"),
    ]

    def __init__(self, href: str) -> None:
        super().__init__()
        self._href = href

    @property
    def _can_open(self) -> bool:
        return self._href.lower().startswith(_SCHEMES)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = "A link that the model wrote"
            yield Static(Content(terminal_safe(self._href)))
            if not self._can_open:
                yield Static("Only web addresses can be opened from here.", classes="quiet", markup=False)
        yield KeyBar()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self._can_open if action == "open" else True

    def action_open(self) -> None:
        self.app.open_url(self._href)
        self.dismiss(None)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(terminal_safe(self._href))
        self.dismiss(None)
