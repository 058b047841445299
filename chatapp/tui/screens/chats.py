"""Ctrl+S: the conversations, newest first; what is typed searches their titles and all of their text."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
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
from chatapp.core.types import Conversation
from chatapp.session.stores import Stores
from chatapp.tui.cells import cut
from chatapp.tui.widgets.heading import clock
from chatapp.tui.widgets.keybar import KeyBar
from chatapp.tui.widgets.line import Line

if TYPE_CHECKING:
    from chatapp.tui.screens.edit import KeptLines

_MOST = 200


@dataclass(frozen=True, slots=True)
class Found:
    """A conversation in the list, with the piece of text that was found in it and the message it is of."""

    conversation: Conversation
    snippet: str = ""
    message: int | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """How the list was left: `open` is the conversation to open, `message` the one of it that was found;
    `gone` are those that were deleted."""

    open: int | None = None
    message: int | None = None
    gone: frozenset[int] = frozenset()


class ChatsScreen(ModalScreen[Left]):
    """Reads and writes through a connection of its own, so that it works while a reply is being written."""

    BINDINGS = [
        Binding("enter", "open", "open", key_display="Enter", priority=True),
        Binding("f2", "rename", "rename", key_display="F2"),
        Binding("ctrl+d", "delete", "delete", key_display="^D", priority=True),
        Binding("ctrl+u", "undo", "undo", key_display="^U", priority=True),
        Binding("down", "step(1)", "move", key_display="↓", priority=True),
        Binding("up", "step(-1)", "move", key_display="↑", priority=True),
        Binding("pagedown", "step(10)", show=False, priority=True),
        Binding("pageup", "step(-10)", show=False, priority=True),
        Binding("escape", "leave", "leave", key_display="Esc"),
    ]
    DEFAULT_CSS = """
    ChatsScreen OptionList { height: 1fr; margin-top: 1; }
    ChatsScreen .empty { display: none; margin-top: 1; }
    """

    def __init__(self, stores: Stores, current: int | None, kept: KeptLines) -> None:
        super().__init__()
        self._stores = stores
        self._current = current
        self._kept = kept
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="chats")
        self._found: list[Found] = []
        self._searched = ""
        """What `_found` was found for."""
        self._deleted: list[int] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = "Conversations"
            yield Line(placeholder="Search titles and text")
            yield OptionList(markup=False)
            yield Static(classes="empty quiet", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one(OptionList).can_focus = False
        self.query_one(Input).focus()
        self.look()

    def on_resize(self) -> None:
        self.look()

    def on_unmount(self) -> None:
        self._pool.submit(self._stores.close)
        self._pool.shutdown(wait=False)

    @on(Input.Changed)
    def _changed(self) -> None:
        self.look()

    @work(exclusive=True, group="look")
    async def look(self) -> None:
        """Read the list for what stands in the line now; an older question is forgotten."""
        text = self.query_one(Input).value.strip()
        try:
            found = await self._search(text)
        except ChatappError as error:
            self._refuse(error)
            return
        if not self.query(OptionList):
            return  # it was left meanwhile
        self._found, self._searched = found, text
        options = self.query_one(OptionList)
        at = options.highlighted or 0
        options.clear_options()
        options.display = bool(self._found)
        width = max(options.size.width, 40)
        options.add_options([Option(_described(each, self._current, width)) for each in self._found])
        if self._found:
            options.highlighted = min(at, len(self._found) - 1)
        empty = self.query_one(".empty", Static)
        empty.display = not self._found
        empty.update("Nothing found." if text else "No conversations yet.")
        self.refresh_bindings()

    async def _search(self, text: str) -> list[Found]:
        return await asyncio.wrap_future(self._pool.submit(self._read, text))

    def _read(self, text: str) -> list[Found]:
        store = self._stores.here()
        everything = store.conversations.list()
        if not text:
            return [Found(each) for each in everything[:_MOST]]
        found = {each.id: Found(each) for each in everything if text.casefold() in each.title.casefold()}
        by_id = {each.id: each for each in everything}
        for hit in store.search.query(text):
            each = by_id.get(hit.conversation)
            there = found.get(hit.conversation)
            if each is None or (there is not None and there.snippet):
                continue
            if hit.snippet.strip() != each.title or there is None:  # else its title says as much
                found[each.id] = Found(each, hit.snippet, hit.message)
        return list(found.values())[:_MOST]

    @property
    def _chosen(self) -> Found | None:
        at = self.query_one(OptionList).highlighted
        return self._found[at] if at is not None and at < len(self._found) else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("open", "rename", "delete", "step"):
            return bool(self.is_mounted and self._chosen)
        if action == "undo":
            return bool(self._deleted)
        return True

    def action_step(self, by: int) -> None:
        options = self.query_one(OptionList)
        if options.highlighted is not None:
            options.highlighted = min(max(options.highlighted + by, 0), options.option_count - 1)

    @on(OptionList.OptionSelected)
    def _clicked(self) -> None:
        if chosen := self._chosen:
            self._leave(chosen)

    def action_open(self) -> None:
        self._with_chosen(self._open)

    def action_rename(self) -> None:
        self._with_chosen(self._rename)

    def action_delete(self) -> None:
        self._with_chosen(self._delete)

    def _with_chosen(self, act: Callable[[Found], Awaitable[None]]) -> None:
        at = self.query_one(OptionList).highlighted or 0
        self.query_one(Line).when_typed(lambda text: self._act(act, text, at))

    @work
    async def _act(self, act: Callable[[Found], Awaitable[None]], text: str, at: int) -> None:
        """Do it to what is highlighted among what `text` finds; the list may still be an older one."""
        try:
            found = self._found if text == self._searched else await self._search(text)
        except ChatappError as error:
            self._refuse(error)
            return
        if found and self.is_active:  # not left by a key before
            await act(found[min(at, len(found) - 1)])

    def action_leave(self) -> None:
        self._leave(None)

    def _leave(self, chosen: Found | None) -> None:
        gone = frozenset(self._deleted)
        self.dismiss(Left(chosen.conversation.id, chosen.message, gone) if chosen else Left(gone=gone))

    async def _open(self, chosen: Found) -> None:
        self._leave(chosen)

    async def _rename(self, found: Found) -> None:
        from chatapp.tui.screens.edit import LineScreen

        chosen = found.conversation
        of = ("title", chosen.id)
        title = await self.app.push_screen_wait(LineScreen("Rename", chosen.title, kept=self._kept, of=of))
        if title and await self._change(lambda: self._stores.here().conversations.rename(chosen.id, title)):
            self._kept.pop(of, None)

    async def _delete(self, found: Found) -> None:
        chosen = found.conversation
        # It stands in the list until that is read anew.
        if chosen.id not in self._deleted:
            self._deleted.append(chosen.id)  # at once: the list may be left before it is done
            if not await self._change(lambda: self._stores.here().conversations.delete(chosen.id)):
                self._deleted.remove(chosen.id)

    @work
    async def action_undo(self) -> None:
        if self._deleted:
            conversation = self._deleted.pop()
            await self._change(lambda: self._stores.here().conversations.restore(conversation))

    async def _change(self, step: object) -> bool:
        try:
            await asyncio.wrap_future(self._pool.submit(step))  # type: ignore[arg-type]
        except ChatappError as error:
            self._refuse(error)
            return False
        self.look()
        return True

    def _refuse(self, error: ChatappError) -> None:
        empty = self.query_one(".empty", Static)
        empty.update(Content(one_line(f"{error}: {error.hint}")))
        empty.display = True


def _described(found: Found, current: int | None, width: int) -> Content:
    """One line of `width` cells: the title, and on the right when it was and how long it is."""
    each = found.conversation
    mark = "● " if each.id == current else "  "
    messages = "1 message" if each.messages == 1 else f"{each.messages} messages"
    when = f"{clock(each.updated)} · {messages}"
    title = cut(each.title or "untitled", max(10, width - len(when) - 5))
    gap = max(1, width - cell_len(mark + title) - len(when) - 1)
    line = Content.assemble((mark, "$accent"), (title, "bold"), (" " * gap + when, "$secondary"))
    if found.snippet and found.snippet.strip() != each.title:
        line = Content.assemble(line, ("\n    " + cut(found.snippet, width - 6), "$secondary"))
    return line
