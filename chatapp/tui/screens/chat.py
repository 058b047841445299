"""The chat: the conversation, the prompt under it, and what the keys do to them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static, TextArea

from chatapp.core.errors import ChatappError
from chatapp.core.sanitize import one_line
from chatapp.core.types import Message, Provenance
from chatapp.session.updates import Began, Dropped, Finished, Text
from chatapp.tui import snapshot
from chatapp.tui.commands import Command, parse
from chatapp.tui.session_thread import SessionThread
from chatapp.tui.snapshot import Item, Snapshot
from chatapp.tui.widgets.composer import Composer
from chatapp.tui.widgets.keybar import KeyBar
from chatapp.tui.widgets.markdown import ReplyMarkdown
from chatapp.tui.widgets.message import MessageView
from chatapp.tui.widgets.notice import Notice
from chatapp.tui.widgets.ranker import Ranker
from chatapp.tui.widgets.slash_menu import SlashMenu
from chatapp.tui.widgets.status import StatusBar
from chatapp.tui.widgets.transcript import Transcript
from chatapp.tui.widgets.welcome import Welcome

if TYPE_CHECKING:
    from chatapp.engine.base import ModelInfo
    from chatapp.session.wiring import House


class ChatScreen(Screen[None]):
    BINDINGS = [
        Binding("escape", "stop", "stop", key_display="Esc"),
        Binding("ctrl+r", "alternatives", "alternatives", key_display="^R"),
        Binding("ctrl+s", "chats", "chats", key_display="^S"),
        Binding("ctrl+n", "new", "new", key_display="^N"),
        Binding("ctrl+o", "models", "models", key_display="^O"),
        Binding("f2", "system", "system", key_display="F2"),
        Binding("pageup", "scroll(-1)", show=False),
        Binding("pagedown", "scroll(1)", show=False),
    ]

    def __init__(
        self,
        house: House,
        session: SessionThread,
        first_message: str | None = None,
        resume: int | Literal["last"] | None = None,
    ) -> None:
        super().__init__()
        self.house = house
        self.session = session
        self.writing = False
        self.ready = False
        """The conversation is on the screen and the model is loaded, or cannot be."""
        self.snapshot: Snapshot | None = None
        self._info: ModelInfo | None = None
        self._first_message = first_message
        self._resume = resume
        self._stopped = False
        self._ranker: Ranker | None = None
        self._showing = asyncio.Lock()
        self._idle = asyncio.Event()
        self._idle.set()

    def compose(self) -> ComposeResult:
        yield Static("chatapp needs at least 40 columns and 12 lines.", classes="too-small", markup=False)
        yield StatusBar()
        with Container(id="page"):
            yield Transcript()
        yield Notice()
        yield SlashMenu()
        with Container(id="prompt"), Horizontal(classes="line"):
            yield Static(">", classes="sign", markup=False)
            yield Composer()
        yield KeyBar()

    # Coming and going

    def on_mount(self) -> None:
        self.query_one(StatusBar).model = self.house.settings.model
        self.composer.focus()
        self.call_after_refresh(self.start)

    @work(group="start")
    async def start(self) -> None:
        """Show the conversation to go on with, then load the model; the prompt works all the while."""
        resume = self._resume
        if resume is not None:
            try:
                await self.session.do(lambda session: session.open(_which(session, resume)))
            except ChatappError as error:
                self.complain(error)
        await self.show_path()
        if self._first_message:
            self.send(self._first_message)
        problem = getattr(self.app, "problem", None)
        if isinstance(problem, ChatappError):
            self.complain(problem)
        await self.load()
        self.ready = True

    async def load(self) -> bool:
        """Load the model that was chosen; says in one line why it cannot be done."""
        status = self.query_one(StatusBar)
        status.busy = "loading" if self._info is None else ""
        try:
            info = await self.session.prepare()
        except ChatappError as error:
            self.complain(error)
            return False
        finally:
            status.busy = ""
        if info != self._info:
            self._info = info
            status.model = model_line(info)
            if self.snapshot is not None:
                self._show_status(self.snapshot)
            if info.notice:
                self.say(info.notice)
        return True

    def on_resize(self) -> None:
        self.set_class(self.size.width < 40 or self.size.height < 12, "-tiny")

    @property
    def composer(self) -> Composer:
        return self.query_one(Composer)

    @property
    def transcript(self) -> Transcript:
        return self.query_one(Transcript)

    @property
    def ranker(self) -> Ranker | None:
        return self._ranker

    @property
    def selected(self) -> MessageView | None:
        return self.focused if isinstance(self.focused, MessageView) else None

    def say(self, text: str | Content, error: bool = False) -> None:
        self.query_one(Notice).say(text, error)

    def complain(self, error: ChatappError) -> None:
        self.say(f"{error}: {error.hint}", error=True)

    # What is shown

    async def show_path(self) -> None:
        """Bring the screen to what the store has."""
        async with self._showing:
            await self._show_path()

    async def _show_path(self) -> None:
        taken = await self.session.do(snapshot.take)
        self.snapshot = taken
        for welcome in self.query(Welcome):
            await welcome.remove()
        if not taken.items:
            await self.transcript.clear()
            await self.transcript.column.mount(Welcome(taken.first_run, taken.model == "guide"))
        else:
            await self.transcript.show(taken.items)
        self._show_status(taken)

    def _show_status(self, taken: Snapshot) -> None:
        status = self.query_one(StatusBar)
        status.title = taken.conversation.title if taken.conversation else ""
        status.adapter = taken.adapter or ""
        written = [each.message.provenance for each in taken.items if each.message.provenance]
        status.used = self._used(written[-1]) if written else None
        replies = [each for each in taken.items if each.message.role == "assistant"]
        self.composer.versions = replies[-1].versions if replies else 1
        self.composer.selectable = bool(taken.items)
        self.composer.prompts = [each.message.text for each in taken.items if each.message.role == "user"]
        self.refresh_bindings()

    def _used(self, provenance: Provenance) -> float | None:
        if self._info is None or not self._info.n_ctx or not provenance.prompt_tokens:
            return None
        return (provenance.prompt_tokens + provenance.completion_tokens) / self._info.n_ctx

    def _set_writing(self, going_on: bool) -> None:
        self.writing = going_on
        if going_on:
            self._idle.clear()
        else:
            self._idle.set()
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[Any, ...]) -> bool | None:
        match action:
            case "stop":
                return self.writing
            case "alternatives":
                written = self.snapshot is not None and bool(self.snapshot.items)
                return self.ranker is None and not self.writing and written
            case "new":
                return self.ranker is None and bool(self.snapshot and self.snapshot.items)
            case "chats" | "models" | "system":
                return self.ranker is None
        return True

    # Writing

    @on(Composer.Sent)
    def _sent(self, event: Composer.Sent) -> None:
        event.stop()
        if command := parse(event.text):
            self.composer.clear()
            self.run_worker(self.run_command(*command), group="command")
        elif not self.still_writing():
            self.composer.clear()
            self.send(event.text)

    @work(group="reply")
    async def send(self, text: str) -> None:
        """Store a prompt, show it, and let it be answered."""
        self._set_writing(True)
        try:
            prompt = await self.session.do(lambda session: session.begin(text))
        except ChatappError as error:
            self._set_writing(False)
            self.composer.load_text(text)
            self.complain(error)
            return
        self.say("")
        await self.show_path()
        self.transcript.anchor()
        await self._answer(prompt)

    @work(group="reply")
    async def answer(self, prompt: Message) -> None:
        """Let a stored prompt be answered."""
        self._set_writing(True)
        await self._answer(prompt)

    async def _answer(self, prompt: Message) -> None:
        self._stopped = False
        view: MessageView | None = None
        failed: ChatappError | None = None
        try:
            if not await self.load() or self._stopped:
                return
            async for batch in self.session.stream(lambda session: session.stream(prompt.id)):
                text = ""
                for update in batch:
                    match update:
                        case Began(reply):
                            view = await self.transcript.add(MessageView(Item(reply), streaming=True))
                        case Text(delta=delta):
                            text += delta
                        case Finished(reply):
                            if view is not None:
                                await view.write(text)
                                await view.finish(reply)
                            text = ""
                        case Dropped(turns):
                            self.say(f"The first {turns} messages no longer fit into the context.")
                if view is not None and text:
                    await view.write(text, sum(isinstance(each, Text) for each in batch))
        except ChatappError as error:
            failed = error
        finally:
            self._set_writing(False)
        await self._answered(view, failed)

    async def _answered(self, view: MessageView | None, failed: ChatappError | None) -> None:
        if not self.app.is_running:
            return
        if view is not None and view.streaming:
            reply = view.message.id
            await view.finish(
                await self.session.do(lambda session: session.store.conversations.message(reply))
            )
        await self.show_path()
        if failed is not None:
            if view is not None and view.is_attached:
                view.fail(f"{failed}: {failed.hint}")
            else:
                self.complain(failed)

    # Stopping

    def action_stop(self) -> None:
        """Stop at once; what came so far is kept."""
        self._stopped = True
        self.session.cancel()

    async def stopped(self) -> None:
        """Stop, and wait until what came is stored. A model that is still being loaded is not waited for."""
        if self.writing:
            self.action_stop()
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._idle.wait()

    def still_writing(self) -> bool:
        """Whether something has to wait for the end of a reply; says so."""
        if self.writing:
            self.say("A reply is still being written. Esc stops it.")
        return self.writing

    def interrupt(self) -> None:
        """Ctrl+C where nothing is selected."""
        if self.writing or (self.ranker is not None and self.ranker.writing):
            self.action_stop()
        else:
            self.say("Ctrl+Q quits.")

    # Moving about

    @on(Composer.Left)
    async def _left_prompt(self, event: Composer.Left) -> None:
        event.stop()
        views = self.transcript.views
        last = self.transcript.last_reply
        if event.where == "above" and views:
            self.select(last if last is views[-1] else views[-1])
        elif last is not None and not self.writing:
            await self.walk(last, -1 if event.where == "previous" else 1)

    def select(self, view: MessageView | None) -> None:
        if view is not None:
            view.focus(scroll_visible=False)
            self.transcript.reveal(view)

    def to_prompt(self, character: str = "") -> None:
        self.composer.focus()
        if character:
            self.composer.insert(character)

    @on(MessageView.Typed)
    @on(Notice.Typed)
    def _typed(self, event: MessageView.Typed | Notice.Typed) -> None:
        self.to_prompt(event.character)

    @on(MessageView.Asked)
    async def _asked_of_message(self, event: MessageView.Asked) -> None:
        event.stop()
        view = event.view
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
        """What a letter under a ranking, or a command, asks for."""
        match what:
            case "undo":
                await self.action_undo()
            case "tags":
                self.action_tags()
            case "select":
                self.select(self.transcript.last_reply)
            case "prompt":
                self.to_prompt()

    def action_scroll(self, pages: int) -> None:
        if pages < 0:
            self.transcript.scroll_page_up(animate=False)
        else:
            self.transcript.scroll_page_down(animate=False)

    # Judging

    async def walk(self, view: MessageView, step: int) -> None:
        """Show the version before or after this one."""
        message = view.message
        if self.still_writing():
            return

        def move(session: Any) -> int:
            family = session.store.conversations.children(message.conversation, message.parent)
            ids = [each.id for each in family]
            to = ids[(ids.index(message.id) + step) % len(ids)]
            session.activate(to)
            return to

        await self._change(move, stay=view is self.focused)

    async def thumb(self, view: MessageView, value: int) -> None:
        """The same thumb again takes it back."""
        wanted: Any = 0 if view.item.thumb == value else value
        reply = view.message.id
        await self._change(lambda session: session.thumb(reply, wanted) and reply, stay=True)

    async def delete(self, view: MessageView) -> None:
        message = view.message
        if not self.still_writing() and await self._change(lambda session: session.delete(message.id)):
            self.say("Deleted.   u takes it back")
            self.query_one(Notice).focus()

    async def _change(self, step: Any, stay: bool = False) -> bool:
        """Do something to the conversation and show it; `stay` keeps the message selected that `step` names."""
        try:
            message = await self.session.do(step)
        except ChatappError as error:
            self.complain(error)
            return False
        await self.show_path()
        if stay and message is not None:
            self.select(self.transcript.view_of(message))
        return True

    @work(group="edit")
    async def edit(self, view: MessageView) -> None:
        """A person's own message becomes a new branch that is sent; a reply becomes what it should have said."""
        from chatapp.tui.screens.edit import EditScreen

        own = view.message.role != "assistant"
        title = "Edit your message" if own else "What it should have said"
        about = (
            "Sent as a new version; the old one and its replies are kept."
            if own
            else "Saved as a demonstration to learn from; the old reply is kept."
        )
        text = await self.app.push_screen_wait(EditScreen(title, view.text, about))
        message = view.message
        if text is None or text == message.text.strip():
            return
        if self.still_writing():
            return
        try:
            new = await self.session.do(lambda session: session.edit(message.id, text))
        except ChatappError as error:
            self.complain(error)
            return
        await self.show_path()
        if own:
            self.to_prompt()
            self.answer(new)
        else:
            self.say("Saved as a demonstration.   u takes it back")
            self.query_one(Notice).focus()

    async def action_undo(self) -> None:
        try:
            what = await self.session.do(lambda session: session.undo())
        except ChatappError as error:
            self.complain(error)
            return
        self.say(f"Taken back: {what}." if what else "Nothing to take back.")
        await self.show_path()
        self.to_prompt()

    @work(group="tags")
    async def action_tags(self) -> None:
        """Say why, for the last ranking of this conversation."""
        from chatapp.tui.screens.edit import LineScreen, parts

        open_one = self.snapshot.conversation if self.snapshot else None
        if open_one is None:
            return
        last = await self.session.do(lambda session: session.store.rankings.latest(open_one.id))
        if last is None:
            self.say("There is no ranking in this conversation yet.")
            return
        line = await self.app.push_screen_wait(
            LineScreen(
                "Why this order", ", ".join(last.tags), ("correct", "concise", "tone", "made up", "off topic")
            )
        )
        if line is not None and tuple(parts(line)) != last.tags:
            await self.session.do(lambda session: session.tag(last.id, parts(line)))
            self.say(f"Tagged: {', '.join(parts(line))}." if parts(line) else "Tags taken off.")
        self.to_prompt()

    # Ranking

    async def action_alternatives(self) -> None:
        view = self.selected or self.transcript.last_reply
        last = self.transcript.views[-1] if self.transcript.views else None
        if last is not None and last.message.role == "user" and self.selected in (None, last):
            self.answer(last.message)  # a prompt that was never answered
            return
        if view is not None and view.message.role == "user":
            view = self.transcript.step(view, 1)
        if view is not None and view.message.role == "assistant":
            await self.compare(view)

    async def action_rank_again(self) -> None:
        view = self.selected or self.transcript.last_reply
        if view is not None and view.item.versions > 1:
            await self.compare(view, sample=False)
        else:
            self.say("There is only one version. ^R writes more.")

    async def compare(self, view: MessageView, sample: bool = True) -> None:
        """Put the ranker in the transcript's place: this reply with new ones, or all versions that are there."""
        parent = view.message.parent
        if self.writing or self.ranker is not None or parent is None:
            return
        conversation = view.message.conversation

        def read(session: Any) -> tuple[Message, list[Message]]:
            return session.store.conversations.message(parent), session.store.conversations.children(
                conversation, parent
            )

        prompt, family = await self.session.do(read)
        kept = [each for each in family if each.finish_reason is not None or each.provenance is None]
        if sample:
            kept = [each for each in kept if each.id == view.message.id and each.text.strip()]
        more = min(self.house.settings.alternatives, 9 - len(kept)) if sample else 0
        self.say("")
        self.transcript.display = False
        self.query_one("#prompt").display = False
        self._ranker = ranker = Ranker(self.session, prompt, kept[-9:], more)
        await self.query_one("#page").mount(ranker)
        ranker.focus()

    @on(Ranker.Writing)
    def _ranker_writes(self) -> None:
        self.refresh_bindings()

    @on(Ranker.Closed)
    async def _ranked(self, event: Ranker.Closed) -> None:
        event.stop()
        outcome = event.outcome
        if ranker := self.ranker:
            self._ranker = None
            await ranker.remove()
        self.transcript.display = True
        self.query_one("#prompt").display = True
        await self.show_path()
        self.transcript.anchor()
        if outcome.ranking is not None:
            said = f"   saved as ranking {outcome.ranking.id}   "
            self.say(
                Content.assemble(
                    (outcome.order, "$accent"),
                    said,
                    ("u", "bold $accent"),
                    " undo   ",
                    ("t", "bold $accent"),
                    " why",
                )
            )
            self.query_one(Notice).focus()
            return
        self.to_prompt()
        if outcome.error is not None:
            self.complain(outcome.error)
        elif self.composer.versions > 1:
            self.say(f"{self.composer.versions} versions are kept, nothing was ranked. ← → walks them.")

    # Commands

    async def run_command(self, command: Command, argument: str) -> None:
        """What a slash command or an entry of the palette does."""
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
            ChatsScreen(self.house.stores, current.id if current else None)
        )
        if left is None:
            return
        if left.open is not None and (current is None or left.open != current.id):
            await self.open(left.open)
        elif current is not None and current.id in left.gone:
            await self.action_new()
        else:
            await self.show_path()

    async def open(self, conversation: int) -> None:
        await self.stopped()
        try:
            await self.session.do(lambda session: session.open(conversation))
        except ChatappError as error:
            self.complain(error)
            return
        self.say("")
        await self.transcript.clear()
        await self.show_path()
        self.transcript.anchor()
        self.to_prompt()

    @work(group="models")
    async def action_models(self, name: str | None = None) -> None:
        from chatapp.tui.screens.models import ModelsScreen

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
            await self.session.do(lambda session: session.use(spec, None))
            self.house.catalogue.use(spec.name if entry.embedded else str(entry.path))
        except ChatappError as error:
            self.complain(error)
            return
        self._info = None
        self.query_one(StatusBar).model = one_line(spec.name, 40)
        await self.show_path()
        if await self.load():
            self.say(f"{one_line(spec.name, 40)} answers from now on.")

    @work(group="system")
    async def action_system(self, text: str | None = None) -> None:
        from chatapp.tui.screens.edit import EditScreen

        if text is None:
            now = await self.session.do(lambda session: session.system)
            about = "Told to the model before this conversation. Empty is none."
            text = await self.app.push_screen_wait(EditScreen("System prompt", now, about, may_be_empty=True))
        if text is not None:
            wanted = text
            await self.session.do(lambda session: session.set_system(wanted))
            self.say("The system prompt holds from the next reply on." if wanted else "No system prompt.")

    async def rename(self, title: str) -> None:
        current = self.snapshot.conversation if self.snapshot else None
        if current is None or not title:
            self.say(
                "Write the title after it: /rename TITLE" if current else "There is nothing to rename yet."
            )
            return
        await self._change(lambda session: session.store.conversations.rename(current.id, title))

    async def export(self, file: str) -> None:
        from chatapp.tui.export import write_markdown

        current = self.snapshot
        if current is None or current.conversation is None or not file:
            self.say("Write the file after it: /export FILE")
            return
        try:
            self.say(f"Written to {write_markdown(file, current)}.")
        except OSError as error:
            self.say(f"{file} cannot be written: {error.strerror}", error=True)

    def choose_theme(self, name: str) -> None:
        if not name:
            self.app.action_change_theme()
        elif name in self.app.available_themes:
            self.app.theme = name
        else:
            self.say(f"No theme {name!r}. /theme shows them all.", error=True)

    # The rest

    @on(TextArea.Changed, "Composer")
    def _typing(self) -> None:
        self.query_one(SlashMenu).follow(self.composer.text)
        self.refresh_bindings()

    @on(SlashMenu.Picked)
    def _picked(self, event: SlashMenu.Picked) -> None:
        if event.command.argument:
            self.composer.load_text(f"/{event.command.name} ")
            self.composer.move_cursor(self.composer.document.end)
            self.composer.focus()
        else:
            self.composer.clear()
            self.run_worker(self.run_command(event.command, ""), group="command")

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


def model_line(info: ModelInfo) -> str:
    """Name, size and quantisation: `guide 9M Q8_0`."""
    parts = [one_line(info.name, 32)]
    if info.parameters:
        millions = info.parameters / 1e6
        parts.append(f"{millions / 1000:.1f}B" if millions >= 1000 else f"{millions:.0f}M")
        kind = one_line(info.description.split()[-1], 10) if info.description.split() else ""
        if kind and kind.lower() not in info.name.lower():
            parts.append(kind)
    return " ".join(parts)
