"""`/adapters`: what trainings made for this model, and which of it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from chatapp.core.sanitize import one_line
from chatapp.preferences.wins import in_words
from chatapp.session.adapters import Round
from chatapp.session.verdict import in_short
from chatapp.tui.widgets.keybar import KeyBar


@dataclass(frozen=True, slots=True)
class Chosen:
    """`name` is what shall answer, None the base; or `before`: the round before the one in use."""

    name: str | None = None
    before: bool = False


class AdaptersScreen(ModalScreen[Chosen | None]):
    """`used` is the name of the one in use, None where the base answers."""

    BINDINGS = [
        Binding("enter", "use", "use", key_display="Enter", priority=True),
        Binding("up", "step(-1)", "move", key_display="↑", priority=True),
        Binding("down", "step(1)", "move", key_display="↓", priority=True),
        Binding("b", "before", "back to the round before"),
        Binding("o", "off", "off"),
        Binding("escape", "dismiss(None)", "leave", key_display="Esc"),
    ]
    DEFAULT_CSS = """
    AdaptersScreen OptionList { height: auto; max-height: 50vh; margin: 0 0 1 0; }
    """

    def __init__(self, rounds: Sequence[Round], used: str | None) -> None:
        super().__init__()
        self._names: list[str | None] = [*(each.adapter.name for each in rounds), None]
        self._rounds = rounds
        self._used = used

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = "Adapters"
            options = [_described(each, each.adapter.name == self._used) for each in self._rounds]
            yield OptionList(*(Option(each) for each in [*options, _base(self._used is None)]), markup=False)
            yield Static(
                "Each was trained from your rankings. chatapp adapters show NAME tells all of it.",
                classes="quiet",
                markup=False,
            )
        yield KeyBar()

    def on_mount(self) -> None:
        options = self.query_one(OptionList)
        options.focus()
        options.highlighted = self._names.index(self._used) if self._used in self._names else 0

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self._used is not None if action in ("before", "off") else True

    def action_step(self, by: int) -> None:
        options = self.query_one(OptionList)
        options.action_cursor_down() if by > 0 else options.action_cursor_up()

    @on(OptionList.OptionSelected)
    def action_use(self) -> None:
        at = self.query_one(OptionList).highlighted
        if at is not None:
            self.dismiss(Chosen(self._names[at]))

    def action_before(self) -> None:
        self.dismiss(Chosen(before=True))

    def action_off(self) -> None:
        self.dismiss(Chosen(None))


def _described(each: Round, used: bool) -> Content:
    adapter, wins = each.adapter, each.wins
    parent = adapter.parent or "the base"
    about = [one_line(adapter.method, 30), f"from {parent}"]
    about.append(
        in_short(adapter.evaluation) if adapter.accepted else f"refused: {one_line(adapter.reason, 100)}"
    )
    if wins.rankings:
        about.append(f"your rankings: {in_words(wins, parent)}")
    return _line(adapter.name, used, " · ".join(part for part in about if part))


def _base(used: bool) -> Content:
    return _line("base", used, "the model as it came")


def _line(name: str, used: bool, about: str) -> Content:
    mark = "● " if used else "  "
    return Content.assemble(
        (mark, "$accent"), (one_line(name, 20).ljust(5), "bold"), " ", (about, "$secondary")
    )
