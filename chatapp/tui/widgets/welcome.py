"""What stands where a conversation will be: the way of the whole program in a few lines."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

_STEPS = (
    ("1", "ask it something"),
    ("2", "press ^R at its answer, then number the replies, best first"),
    ("3", "after some rankings: ^T, or chatapp train in a shell"),
    ("4", "a bigger model: ^O, any GGUF file will do"),
)


class Welcome(Vertical):
    """`first` is for somebody who was never here; otherwise it is an empty page with one line."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Welcome {
        height: auto;
        padding: 1 3;
        color: $secondary;
        & > .name { color: $accent; text-style: bold; }
        & > .claim { color: $foreground; margin-bottom: 1; }
        & > .steps { margin: 1 0 0 1; }
    }
    """

    def __init__(self, first: bool, embedded: bool) -> None:
        super().__init__()
        self._first = first
        self._embedded = embedded

    def compose(self) -> ComposeResult:
        if not self._first:
            yield Static("A new conversation. ^S finds the earlier ones.", markup=False)
            return
        yield Static("chatapp", classes="name", markup=False)
        yield Static("A chat that learns from you, on this machine, offline.", classes="claim", markup=False)
        if self._embedded:
            yield Static(
                "You are talking to a small model that came with the program. It is a guide, not an oracle.",
                markup=False,
            )
        lines = [Content.assemble((number, "$accent"), "  ", text) for number, text in _STEPS]
        yield Static(Content("\n").join(lines), classes="steps")
