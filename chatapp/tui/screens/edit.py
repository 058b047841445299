"""A dialog in which one text is written: an edit, a demonstration, a system prompt, a title, tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static, TextArea

from chatapp.tui.widgets.composer import Composer
from chatapp.tui.widgets.keybar import KeyBar
from chatapp.tui.widgets.line import Line

KeptLines: TypeAlias = dict[tuple[str, int], str]
"""Lines that were written and not stored, by what they are and of which: `("title", conversation)`."""


class EditScreen(ModalScreen[str | None]):
    """Gives the text, or None when it was left. `may_be_empty` lets Enter give an empty text. `written` is
    what was made of the text before, and stands in the editor.

    A text that was not changed is given as it came; the editor has line breaks of one kind. One that was
    changed is left only with a second Escape right after the first, or a second Ctrl+Q.
    """

    BINDINGS = [
        Binding("escape", "leave", "leave", key_display="Esc"),
        Binding("escape", "dismiss(None)", "discard", key_display="Esc"),
    ]

    def __init__(
        self,
        title: str,
        text: str,
        explanation: str,
        may_be_empty: bool = False,
        written: str | None = None,
    ) -> None:
        super().__init__()
        self._heading = title
        self._text = text
        self._written = written
        self._loaded = ""
        self._explanation = explanation
        self._composer = DialogComposer(may_be_empty)
        self._leaving: tuple[str, str] | None = None
        """The key that was pressed once, and the text that it would have left."""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(self._heading)
            yield Static(self._explanation, classes="quiet", markup=False)
            yield self._composer
        yield KeyBar()

    def on_mount(self) -> None:
        composer = self._composer
        composer.load_text(self._text)
        self._loaded = composer.text.strip()
        if self._written is not None:
            composer.load_text(self._written)
        composer.move_cursor(composer.document.end)
        composer.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        again = self._leaving == ("Esc", self._composer.text)
        return {"leave": not again, "dismiss": again}.get(action, True)

    def action_leave(self) -> None:
        if self.may_leave("Esc"):
            self.dismiss(None)

    def may_leave(self, key: str) -> bool:
        """Whether nothing was changed, or `key` was pressed for the second time; else warn of that."""
        text = self._composer.text
        if text.strip() == self._loaded or self._leaving == (key, text):
            return True
        self._warn((key, text))
        return False

    @on(TextArea.Changed)
    def _changed(self) -> None:
        if self._leaving is not None and self._leaving[1] != self._composer.text:
            self._go_on()

    def on_key(self, event: events.Key) -> None:
        if event.key != "escape":
            self._go_on()

    def _go_on(self) -> None:
        if self._leaving is not None and self.is_active:
            self._warn(None)

    def _warn(self, leaving: tuple[str, str] | None) -> None:
        """Say that the same key again leaves this text; None takes it back."""
        self._leaving = leaving
        warning = "" if leaving is None else f"{leaving[0]} again discards what you changed"
        self.query_one(".dialog").border_subtitle = warning
        self.refresh_bindings()

    @on(Composer.Sent)
    def _saved(self, event: Composer.Sent) -> None:
        event.stop()
        self.dismiss(self._text.strip() if event.text == self._loaded else event.text)


class DialogComposer(Composer):
    """The prompt's editor, for a text that is saved."""

    BINDINGS = [
        Binding("enter", "send", "save", key_display="Enter"),
        Binding("ctrl+j,shift+enter,alt+enter", "line", "line", key_display="^J"),
        Binding("pageup", "cursor_page_up", show=False),
        Binding("pagedown", "cursor_page_down", show=False),
    ]

    def __init__(self, may_be_empty: bool) -> None:
        super().__init__(placeholder="")
        self._may_be_empty = may_be_empty

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "send" and self._may_be_empty:
            return True
        if action in ("complete", "run"):
            return False
        return super().check_action(action, parameters)

    def update_suggestion(self) -> None:
        """A text to be saved is no command."""

    def action_send(self) -> None:
        text = self.text.strip()
        if text or self._may_be_empty:
            self.post_message(self.Sent(text))


class LineScreen(ModalScreen[str | None]):
    """One short line. `suggestions` are toggled by a click or their number with the Alt key.

    A line that was changed is kept in `kept` under `of`, and stands in the next dialog with them; whoever
    stores what was saved takes it out.
    """

    BINDINGS = [
        Binding("enter", "save", "save", key_display="Enter", priority=True),
        Binding("escape", "leave", "leave", key_display="Esc"),
        Binding("tab", "next", "suggestions", key_display="Tab"),
    ]
    DEFAULT_CSS = """
    LineScreen Horizontal { height: auto; margin-top: 1; }
    LineScreen Chip { width: auto; margin-right: 2; color: $secondary; pointer: pointer; }
    LineScreen Chip.-on { color: $accent; text-style: bold; }
    LineScreen Chip:hover, LineScreen Chip:focus { text-style: underline; }
    """

    def __init__(
        self,
        title: str,
        text: str = "",
        suggestions: Sequence[str] = (),
        kept: KeptLines | None = None,
        of: tuple[str, int] = ("", 0),
    ) -> None:
        super().__init__()
        self._heading = title
        self._text = text
        self._suggestions = suggestions
        self._kept: KeptLines = {} if kept is None else kept
        self._of = of
        self._line = Line(self._kept.get(of, text), select_on_focus=False)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(self._heading)
            yield self._line
            if self._suggestions:
                with Horizontal():
                    for each in self._suggestions:
                        yield Chip(each)
        yield KeyBar()

    def on_mount(self) -> None:
        self._line.focus()
        self._mark()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return bool(self._suggestions) if action == "next" else True

    def action_save(self) -> None:
        # Behind what was typed before the line had the focus.
        self.call_later(self._line.when_typed, self._save)

    def on_key(self, event: events.Key) -> None:
        if event.is_printable and self.focused in (None, self._line):
            event.stop()
            self._line.post_message(event)

    def _save(self, text: str) -> None:
        if self.is_active:
            self._keep()
            self.dismiss(text)

    def action_leave(self) -> None:
        self._keep()
        self.dismiss(None)

    def _keep(self) -> None:
        text = self._line.value
        if text.strip() and text != self._text:
            self._kept[self._of] = text
        else:
            self._kept.pop(self._of, None)

    def action_next(self) -> None:
        self.focus_next()

    @on(Input.Changed)
    def _mark(self) -> None:
        chosen = parts(self._line.value)
        for chip in self.query(Chip):
            chip.set_class(chip.word in chosen, "-on")

    def toggle(self, word: str) -> None:
        """Put a suggestion in, or take it out."""
        line = self._line
        chosen = parts(line.value)
        chosen = [each for each in chosen if each != word] if word in chosen else [*chosen, word]
        line.value = ", ".join(chosen)
        line.cursor_position = len(line.value)


class Chip(Static, can_focus=True):
    """A suggestion; Space or a click toggles it."""

    ALLOW_SELECT = False
    BINDINGS = [Binding("space", "choose", "toggle", key_display="Space")]

    def __init__(self, word: str) -> None:
        super().__init__(word, markup=False)
        self.word = word

    def action_choose(self) -> None:
        screen = self.screen
        if isinstance(screen, LineScreen):
            screen.toggle(self.word)

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.action_choose()


def parts(text: str) -> list[str]:
    """The tags in a line, separated by commas."""
    return [each.strip() for each in text.split(",") if each.strip()]
