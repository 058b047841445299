"""The application: themes, the palette, and the thread in which the session lives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from textual import work
from textual.app import App
from textual.binding import Binding

from chatapp.core.errors import ChatappError
from chatapp.core.sanitize import one_line
from chatapp.tui.palette import ChatCommands
from chatapp.tui.screens.chat import ChatScreen
from chatapp.tui.session_thread import SessionThread
from chatapp.tui.themes import THEMES, is_theme
from chatapp.tui.training_process import TrainingProcess

if TYPE_CHECKING:
    from textual.driver import Driver

    from chatapp.session.rank_queue import RankRequest
    from chatapp.session.session import Session
    from chatapp.session.wiring import House


class ChatApp(App[None]):
    """Opens the chat, or with `rank` a ranking session over stored conversations."""

    TITLE = "chatapp"
    COMMANDS = {lambda: ChatCommands}
    CSS_PATH = ["app.tcss", "screens/chat.tcss", "screens/train.tcss", "widgets/ranker.tcss"]
    BINDINGS = [
        Binding("ctrl+q", "quit", "quit", show=False, priority=True),
        Binding("ctrl+p", "command_palette", "all", key_display="^P", priority=True),
        Binding("f1", "help", "help", key_display="F1"),
        Binding("ctrl+z", "suspend_process", show=False, priority=True),
    ]

    def __init__(
        self,
        house: House,
        first_message: str | None = None,
        resume: int | Literal["last"] | None = None,
        rank: RankRequest | None = None,
        train_command: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.house = house
        self.session = SessionThread(self._make_session)
        self.problem: ChatappError | None = None
        """Why the model or adapter of the settings cannot be used; the rest works without them."""
        self._first_message = first_message
        self._resume = resume
        self._rank = rank
        self.training = TrainingProcess(
            _training_of(house) if train_command is None else train_command,
            house.paths.runs,
            self._training_changed,
            self._after_training,
        )
        self._training_due = False
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = house.settings.theme if is_theme(house.settings.theme) else "chatapp-dark"
        self._kept_theme = self.theme
        """The one that the next start begins with."""

    def get_driver_class(self) -> type[Driver]:
        """Our own where Textual would take the one of Linux and macOS."""
        driver = super().get_driver_class()
        if driver.__name__ == "LinuxDriver":
            from chatapp.tui.driver import TerminalDriver

            return TerminalDriver
        return driver

    def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, self._keep_theme)
        if self._rank is not None:
            from chatapp.tui.screens.rank import RankScreen

            self.push_screen(RankScreen(self.house, self.session, self._rank))
        else:
            self.push_screen(
                ChatScreen(self.house, self.session, self.training, self._first_message, self._resume)
            )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """No other command comes between the replies being ranked, or before a dialog is answered."""
        if action == "command_palette":
            return getattr(self.screen, "ranker", None) is None and not self.screen.is_modal
        return True

    def action_help(self) -> None:
        from chatapp.tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen())

    def action_help_quit(self) -> None:
        """Ctrl+C with nothing selected: interrupts a reply, else says how to quit."""
        from chatapp.tui.screens.rank import RankScreen

        for screen in reversed(self.screen_stack):
            if isinstance(screen, ChatScreen | RankScreen):
                screen.interrupt()
                return

    # A training beside the chat

    def _training_changed(self) -> None:
        """Events come by the hundred; the screen is brought up to date some times a second."""
        if not self._training_due:
            self._training_due = True
            self.set_timer(0.1, self._show_training)

    def _show_training(self) -> None:
        from chatapp.tui.screens.train import TrainScreen

        self._training_due = False
        for screen in self.screen_stack:
            if isinstance(screen, TrainScreen):
                screen.show()
            elif isinstance(screen, ChatScreen):
                screen.show_training(self.training.state.summary)

    @work(group="training-ended")
    async def _after_training(self) -> None:
        """Say how it ended. An adapter that the gate let through is in use from now on, here too."""
        from chatapp.tui.screens.train import TrainScreen

        def follow(session: Session) -> None:
            session.use(session.spec, self.house.adapter("active", session.spec))

        self._show_training()
        try:
            if (self.training.state.result or {}).get("accepted"):
                await self.session.do(follow)
        except ChatappError as error:
            self.notify(f"{error}: {error.hint}", severity="error", markup=False)
        for screen in self.screen_stack:
            if isinstance(screen, TrainScreen):
                await screen.read()
            elif isinstance(screen, ChatScreen):
                await screen.show_path()
                if not isinstance(self.screen, TrainScreen):
                    screen.say(self.training.state.ending)

    async def action_quit(self) -> None:
        """A text that was changed in a dialog is warned of; a training that goes on is asked about once, its
        checkpoint is kept."""
        from chatapp.tui.screens.edit import EditScreen
        from chatapp.tui.screens.quit import QuitScreen

        if isinstance(self.screen, QuitScreen):
            return
        if isinstance(self.screen, EditScreen) and not self.screen.may_leave("Ctrl+Q"):
            return
        if self.training.state.busy:
            self.push_screen(QuitScreen(self.training))
        else:
            self.exit()

    async def on_unmount(self) -> None:
        """However the program ends, a reply that is being written is sealed with what came of it, and a
        training keeps its checkpoint."""
        await self.training.close()
        await self.session.close(self.house.stores.close)

    def _make_session(self) -> Session:
        """Runs in the session's thread. What cannot be used must not hide the conversations: the model then
        answers without its adapter, or the guide in its place, and the hint says so."""
        house = self.house
        try:
            return house.session()
        except ChatappError as error:
            from chatapp.library.catalogue import GUIDE
            from chatapp.session.session import Session

            try:
                spec, answers = house.spec(), "answers without an adapter"
            except ChatappError:
                spec, answers = house.spec(GUIDE), "answers instead"
            error.hint = f"{one_line(spec.name, 32)} {answers}; {error.hint}"
            self.problem = error
            return Session(house.stores, house.engine(), house.settings, spec)

    def _keep_theme(self, _: object) -> None:
        from chatapp.library.config import set_value

        if self.theme != self._kept_theme:
            try:
                set_value(self.house.paths.settings, "theme", self.theme)
            except (ChatappError, OSError) as error:
                self.notify(str(error), severity="warning", markup=False)
            else:
                self._kept_theme = self.theme


def _training_of(house: House) -> tuple[str, ...]:
    """The command that trains what is ranked in `house`; none for a scripted engine, which has no weights.

    It names no method: a run that goes on keeps its own, and refuses one that is given.
    """
    from chatapp.engine.child import command
    from chatapp.engine.scripted import ScriptedEngine

    if isinstance(house.engine(), ScriptedEngine):
        return ()
    return (*command("chatapp.__main__"), "train", "--json")
