"""Asked once when the program is left while a training goes on."""

from __future__ import annotations

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from chatapp.tui.training_process import TrainingProcess
from chatapp.tui.widgets.keybar import KeyBar


class QuitScreen(ModalScreen[None]):
    BINDINGS = [
        Binding("enter", "stop_and_quit", "stop it and quit", key_display="Enter"),
        Binding("escape", "dismiss(None)", "go on", key_display="Esc"),
    ]

    def __init__(self, training: TrainingProcess) -> None:
        super().__init__()
        self._training = training

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = "A training is going on"
            yield Static(
                "Quitting stops it after this step. Its checkpoint is kept, so it can go on later.",
                markup=False,
            )
        yield KeyBar()

    @work
    async def action_stop_and_quit(self) -> None:
        self.query_one(Static).update("Stopping after this step ...")
        await self._training.close()
        self.app.exit()
