"""Ctrl+O: which GGUF file answers."""

from __future__ import annotations

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from chatapp.core.errors import ChatappError
from chatapp.core.sanitize import one_line
from chatapp.core.size import bytes_in_words
from chatapp.library.catalogue import Catalogue, CatalogueEntry
from chatapp.tui.widgets.keybar import KeyBar
from chatapp.tui.widgets.line import Line


class ModelsScreen(ModalScreen[CatalogueEntry | None]):
    """Gives the entry that was chosen. A path in the line takes a file that is not in the list."""

    BINDINGS = [
        Binding("enter", "use", "use", key_display="Enter", priority=True),
        Binding("down", "step(1)", "move", key_display="↓", priority=True),
        Binding("up", "step(-1)", "move", key_display="↑", priority=True),
        Binding("escape", "dismiss(None)", "leave", key_display="Esc"),
    ]
    DEFAULT_CSS = """
    ModelsScreen OptionList { height: auto; max-height: 50vh; margin: 1 0; }
    ModelsScreen .problem { color: $error; display: none; }
    """

    def __init__(self, catalogue: Catalogue, current: str) -> None:
        super().__init__()
        self._catalogue = catalogue
        self._current = current
        self._entries: list[CatalogueEntry] = []
        self._listed = ""
        """The text whose entries are in the list."""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = "Models"
            yield Line(placeholder="Search, or the path of a GGUF file")
            yield OptionList(markup=False)
            yield Static(classes="problem", markup=False)
            yield Static(
                "Any GGUF file works: chatapp models add FILE puts it into this list.",
                classes="quiet",
                markup=False,
            )
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one(OptionList).can_focus = False
        self.query_one(Input).focus()
        self.read()

    @work(thread=True)
    def read(self) -> None:
        """Reading the headers of many files takes a moment."""
        entries = self._catalogue.list()
        self.app.call_from_thread(self._show, entries)

    def _show(self, entries: list[CatalogueEntry]) -> None:
        self._entries = entries
        self._list()

    @on(Input.Changed)
    def _list(self) -> None:
        self._listed = self.query_one(Input).value.strip()
        wanted = self._listed.casefold()
        options = self.query_one(OptionList)
        options.clear_options()
        shown = [each for each in self._entries if wanted in each.name.casefold()]
        options.add_options([Option(_described(each, self._current), id=each.name) for each in shown])
        if shown:
            names = [each.name for each in shown]
            options.highlighted = names.index(self._current) if self._current in names else 0

    def action_step(self, by: int) -> None:
        options = self.query_one(OptionList)
        options.action_cursor_down() if by > 0 else options.action_cursor_up()

    @on(OptionList.OptionSelected)
    def action_use(self) -> None:
        self.query_one(Line).when_typed(self._use)

    def _use(self, wanted: str) -> None:
        if wanted != self._listed:
            self._list()
        options = self.query_one(OptionList)
        try:
            if options.highlighted is not None and options.option_count:
                entry = self._catalogue.find(str(options.get_option_at_index(options.highlighted).id))
            elif wanted:
                entry = self._catalogue.find(wanted)
            else:
                return
        except ChatappError as error:
            self._refuse(f"{error}: {error.hint}")
            return
        if entry.problem is not None:
            self._refuse(f"{entry.name} cannot be used: {entry.problem}")
        elif self.is_active:
            self.dismiss(entry)

    def _refuse(self, why: str) -> None:
        line = self.query_one(".problem", Static)
        line.update(Content(one_line(why, 300)))
        line.display = True


def _described(entry: CatalogueEntry, current: str) -> Content:
    mark = "● " if entry.name == current else "  "
    about = [bytes_in_words(entry.size)] if entry.size else []
    if entry.embedded:
        about.append("came with the program")
    if entry.header is not None:
        about.insert(0, one_line(str(getattr(entry.header, "architecture", "")), 20))
    line = Content.assemble(
        (mark, "$accent"), (one_line(entry.name, 50), "bold"), "  ", (" · ".join(about), "$secondary")
    )
    if entry.problem is not None:
        line = Content.assemble(line, ("\n    " + one_line(entry.problem, 120), "$error"))
    return line
