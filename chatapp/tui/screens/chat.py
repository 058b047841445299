"""The chat: what the keys, the mouse and the commands do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from textual import events, on, work
from textual.binding import Binding
from textual.widgets import TextArea

from chatapp.core.errors import ChatappError, UsageError
from chatapp.core.paths import expanded
from chatapp.core.sanitize import one_line
from chatapp.tui.commands import Command, parse
from chatapp.tui.draft import keep_draft, take_draft
from chatapp.tui.screens.chat_judging import ChatJudging
from chatapp.tui.themes import is_theme
from chatapp.tui.widgets.composer import Composer
from chatapp.tui.widgets.markdown import ReplyMarkdown
from chatapp.tui.widgets.message import MessageView
from chatapp.tui.widgets.notice import Notice
from chatapp.tui.widgets.slash_menu import SlashMenu

if TYPE_CHECKING:
    from chatapp.library.catalogue import CatalogueEntry
    from chatapp.session.session import Session


class ChatScreen(ChatJudging):
    """`resume` is the conversation to go on with, `first_message` is sent at once."""

    BINDINGS = [
        Binding("escape", "stop", "stop", key_display="Esc"),
        Binding("ctrl+r", "alternatives", "alternatives", key_display="^R"),
        Binding("ctrl+t", "train", "train", key_display="^T"),
        Binding("ctrl+s", "chats", "chats", key_display="^S"),
        Binding("ctrl+n", "new", "new", key_display="^N"),
        Binding("ctrl+o", "models", "models", key_display="^O"),
        Binding("f2", "system", "system", key_display="F2"),
        Binding("pageup", "scroll(-1)", show=False),
        Binding("pagedown", "scroll(1)", show=False),
    ]

    def on_mount(self) -> None:
        self.status.model = self.house.settings.model
        self.composer.focus()
        if draft := take_draft(self.house.paths.draft):
            self.composer.give_back(draft)
        self.call_after_refresh(self.start)

    def on_unmount(self) -> None:
        keep_draft(self.house.paths.draft, self.composer.text)

    @work(group="start")
    async def start(self) -> None:
        """Show the conversation to go on with, then load the model; the prompt works all the while."""
        if not is_theme(self.house.settings.theme):
            self._refuse_theme(self.house.settings.theme)
        resume = self._resume
        if resume is not None:
            try:
                await self.session.do(lambda session: session.open(_which(session, resume)))
            except ChatappError as error:
                self.complain(error)
        try:
            await self.show_path()
        except ChatappError as error:
            self.complain(error)
            return
        problem = getattr(self.app, "problem", None)
        if isinstance(problem, ChatappError):
            if self._first_message:
                self.give_back(self._first_message)  # not for another model to answer unasked
            self.complain(problem)
            if self.snapshot is not None:
                self.status.model = one_line(self.snapshot.model, 40)  # not the one that is not there
        elif self._first_message:
            self.send(self._first_message)
        await self.load()
        self.ready = True

    def check_action(self, action: str, parameters: tuple[Any, ...]) -> bool | None:
        match action:
            case "stop":
                return self.writing
            case "alternatives":
                written = self.snapshot is not None and bool(self.snapshot.items)
                return self.ranker is None and not self.writing and written
            case "new":
                return self.ranker is None and bool(self.snapshot and self.snapshot.items)
            case "continue" | "chats" | "models" | "system" | "train" | "adapters" | "round_before":
                return self.ranker is None
        return True

    # What the prompt and the messages ask for

    @on(Composer.Sent)
    def _sent(self, event: Composer.Sent) -> None:
        event.stop()
        try:
            command = None if event.literal else parse(event.text)
        except ChatappError as error:
            self.composer.give_back(event.typed, event.recalling)
            self.say_for_now(f"{error}: {error.hint}", error=True)
            return
        if command is None and self.still_writing():
            self.composer.give_back(event.typed, event.recalling)
            return
        self._typing()
        if command is not None:
            self.run_worker(self.run_command(*command), group="command")
        else:
            self._set_writing(True)  # here: the next one may be on its way
            self.send(event.text)

    @on(Composer.Left)
    async def _left_prompt(self, event: Composer.Left) -> None:
        event.stop()
        await self.ask("select" if event.where == "above" else event.where)

    @on(MessageView.Typed)
    @on(Notice.Typed)
    def _typed(self, event: MessageView.Typed | Notice.Typed) -> None:
        self.to_prompt(event.character)

    def on_paste(self, event: events.Paste) -> None:
        """Pasted where nothing is written: into the prompt, as what is typed there."""
        if self.ranker is None:
            event.stop()
            self.to_prompt()
            self.composer.post_message(events.Paste(event.text))

    @on(MessageView.Asked)
    async def _asked_of_message(self, event: MessageView.Asked) -> None:
        event.stop()
        view = event.view
        if self.acting or not view.is_attached:
            return  # pressed in one go with a key that had the selected message edited, ranked or deleted
        match event.what:
            case "alternatives":
                await self.compare(view)
            case "rank":
                await self.compare(view, sample=False)
            case "up" | "down":
                await self.thumb(view, 1 if event.what == "up" else -1)
            case "previous" | "next":
                await self.walk(view, -1 if event.what == "previous" else 1)
            case "edit":
                self.edit(view)
            case "copy":
                self.app.copy_to_clipboard(view.text)
                self.say("Copied.")
            case "delete":
                await self.delete(view)
            case "above" | "below":
                step = self.transcript.step(view, -1 if event.what == "above" else 1)
                self.select(step) if step is not None or event.what == "above" else self.to_prompt()
            case "prompt":
                self.to_prompt()
            case "undo" | "tags":
                await self.ask(event.what)

    @on(Notice.Asked)
    async def _asked_of_notice(self, event: Notice.Asked) -> None:
        event.stop()
        await self.ask(event.what)

    async def ask(self, what: str) -> None:
        """What a key in the empty prompt or under a ranking, or a command, asks for."""
        match what:
            case "undo":
                await self.action_undo()
            case "tags":
                if not self.acting:
                    self.action_tags()
            case "select":
                self.select(views[-1] if (views := self.transcript.views) else None)
            case "previous" | "next":
                self.to_prompt()
                last = self.transcript.last_reply
                if last is not None and not self.writing:
                    await self.walk(last, -1 if what == "previous" else 1)
            case "prompt":
                self.to_prompt()

    # Commands

    async def run_command(self, command: Command, argument: str) -> None:
        """What a slash command or an entry of the palette does."""
        self.say("")
        match command.action:
            case "rename":
                await self.rename(argument)
            case "export":
                await self.export(argument)
            case "theme":
                self.choose_theme(argument)
            case "system":
                self.action_system(argument or None)
            case "models":
                self.action_models(argument or None)
            case "best":
                self.best(argument)
            case "quit":
                await self.app.run_action("quit")
            case "help":
                await self.app.run_action("help")
            case action:
                await self.run_action(action)

    async def action_new(self) -> None:
        await self.stopped()
        await self.session.do(lambda session: session.new())
        self.say("")
        await self.show_path()
        self.to_prompt()

    @work(group="chats")
    async def action_chats(self) -> None:
        from chatapp.tui.screens.chats import ChatsScreen

        current = self.snapshot.conversation if self.snapshot else None
        left = await self.app.push_screen_wait(
            ChatsScreen(self.house.stores, current.id if current else None, self._kept_lines)
        )
        if left is None:
            return
        elsewhere = current is None or left.open != current.id
        if left.open is not None and (elsewhere or left.message is not None):
            await self.open(left.open, left.message)
        elif current is not None and current.id in left.gone:
            await self.action_new()
        else:
            await self.show_path()
        if left.gone:
            gone = sorted(left.gone)
            was_open = current.id if current is not None and current.id in left.gone else None
            await self.session.do(lambda session: session.deleted(gone, was_open))
            said, which = ("Deleted", str(gone[0])) if len(gone) == 1 else (f"{len(gone)} deleted", "ID")
            self.offer(f"{said}; `chatapp history restore {which}` brings it back later.", "undo")

    async def open(self, conversation: int, message: int | None = None) -> None:
        """Go on with a conversation: at its end, or at this message of it."""
        await self.stopped()

        def read(session: Session) -> None:
            now = session.conversation
            if now is None or now.id != conversation:  # else what can be taken back stays so
                session.open(conversation)
            if message is not None:
                session.activate(message)

        try:
            await self.session.do(read)
        except ChatappError as error:
            self.complain(error)
            return
        self.say("")
        await self.transcript.clear()
        await self.show_path()
        self.transcript.anchor()
        self.to_prompt()
        if message is not None:
            self.select(await self.transcript.reach(message))

    @work(group="models")
    async def action_models(self, name: str | None = None) -> None:
        from chatapp.tui.screens.models import ModelsScreen

        entry: CatalogueEntry | None
        try:
            if name:
                entry = await self.session.do(lambda _: self.house.catalogue.find(name))
            else:
                current = self.snapshot.model if self.snapshot else ""
                entry = await self.app.push_screen_wait(ModelsScreen(self.house.catalogue, current))
            if entry is None:
                return
            await self.stopped()
            spec = self.house.spec(str(entry.path) if not entry.embedded else entry.name)
            adapter = await self.session.do(lambda _: self.house.adapter("active", spec))
            await self.session.do(lambda session: session.use(spec, adapter))
        except ChatappError as error:
            self.complain(error)
            return
        self._info = None
        self.status.model = one_line(spec.name, 40)
        await self.show_path()
        if not await self.load():
            return
        try:
            self.house.catalogue.use(spec.name if entry.embedded else str(entry.path))
        except ChatappError as error:
            self.complain(error)
        else:
            self.say(f"{one_line(spec.name, 40)} answers from now on.")

    @work(group="system")
    async def action_system(self, text: str | None = None) -> None:
        from chatapp.tui.screens.edit import EditScreen

        title, now = "System prompt", ""
        if text is None:
            now = await self.session.do(lambda session: session.system)
            about = "Told to the model before this conversation. Empty is none."
            text = await self.app.push_screen_wait(EditScreen(title, now, about, may_be_empty=True))
        while text is not None:
            try:
                await self._set_system(text)
                return
            except ChatappError as error:  # what was written is there to be saved again
                about = f"Not saved: {error}: {error.hint}"
            text = await self.app.push_screen_wait(EditScreen(title, now, about, True, written=text))

    async def _set_system(self, text: str) -> None:
        await self.session.do(lambda session: session.set_system(text))
        await self.show_path()
        self.say("The system prompt holds from the next reply on." if text else "No system prompt.")

    async def rename(self, title: str) -> None:
        current = self.snapshot.conversation if self.snapshot else None
        if current is None or not title:
            self.say(
                "Write the title after it: /rename TITLE" if current else "There is nothing to rename yet."
            )
            return
        await self._change(lambda session: session.store.conversations.rename(current.id, title))

    async def export(self, file: str) -> None:
        """Markdown of what is shown, or jsonl of every branch, as the ending of `file` says."""
        from chatapp.session.conversation_file import as_jsonl, as_markdown, format_of, write_file

        current = self.snapshot
        if current is None or current.conversation is None or not file:
            self.say("Write the file after it: /export FILE")
            return
        conversation, path = current.conversation, expanded(file)
        kind = format_of(path) if path.suffix else "markdown"
        try:
            if kind is None:
                raise UsageError(f"cannot write a {path.suffix} file", "end its name in .md, .jsonl or .json")
            if kind == "jsonl":
                written = await self.session.do(lambda session: list(as_jsonl(session.store, [conversation])))
            else:
                written = [as_markdown(conversation, [each.message for each in current.items])]
            write_file(path, written, "name another file: /export FILE", new=True)
        except ChatappError as error:
            self.complain(error)
        else:
            self.say(f"Written to {path}.")

    def choose_theme(self, name: str) -> None:
        if not name:
            self.app.action_change_theme()
        elif is_theme(name):
            self.app.theme = name
        else:
            self._refuse_theme(name)

    def _refuse_theme(self, name: str) -> None:
        self.say(f"No theme {name!r}. /theme shows them all.", error=True)

    # The rest

    @on(TextArea.Changed, "Composer")
    def _typing(self) -> None:
        self.query_one(SlashMenu).follow(self.composer.text)
        self.say_no_more()
        self.refresh_bindings()

    @on(SlashMenu.Picked)
    def _picked(self, event: SlashMenu.Picked) -> None:
        if event.command.argument:
            self.composer.load_text(f"/{event.command.name} ")
            self.composer.move_cursor(self.composer.document.end)
            self.composer.focus()
        else:
            with self.composer.prevent(TextArea.Changed):
                self.composer.load_text(f"/{event.command.name} {self.composer.text.partition(' ')[2]}")
            self.composer.action_send()

    @on(ReplyMarkdown.LinkClicked)
    def _link(self, event: ReplyMarkdown.LinkClicked) -> None:
        from chatapp.tui.screens.link import LinkScreen

        event.stop()
        self.app.push_screen(LinkScreen(event.href))


def _which(session: Any, resume: int | Literal["last"]) -> int | None:
    if resume != "last":
        return resume
    latest = session.store.conversations.latest()
    return latest.id if latest is not None else None
