"""The command palette's entries: every command of the chat, by its title and by its slash name."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from textual.command import DiscoveryHit, Hit, Hits, Provider

from chatapp.tui.commands import COMMANDS, Command

if TYPE_CHECKING:
    from chatapp.tui.screens.chat import ChatScreen

_ANYWHERE = ("help", "quit", "theme", "train")
"""What changes nothing of the chat, or is the screen that is left for it."""


class ChatCommands(Provider):
    """What is done to the chat is done where it is seen: the training is left for it, and goes on."""

    async def discover(self) -> Hits:
        for command in COMMANDS if self._chat else ():
            yield DiscoveryHit(command.title, partial(self._run, command), help=_help(command))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for command in COMMANDS if self._chat else ():
            if (score := max(matcher.match(command.title), matcher.match(command.name))) > 0:
                yield Hit(
                    score,
                    matcher.highlight(command.title),
                    partial(self._run, command),
                    text=command.title,
                    help=_help(command),
                )

    @property
    def _chat(self) -> ChatScreen | None:
        from chatapp.tui.screens.chat import ChatScreen

        return next((each for each in self.app.screen_stack if isinstance(each, ChatScreen)), None)

    async def _run(self, command: Command) -> None:
        chat = self._chat
        if chat is None:
            return
        while command.action not in _ANYWHERE and (above := self.app.screen) is not chat:
            if (leave := getattr(above, "action_leave", None)) is None:
                return
            leave()
        await chat.run_command(command, "")


def _help(command: Command) -> str:
    keys = " or ".join(part for part in (command.key, f"/{command.name}" if command.name else "") if part)
    return f"{command.help}  ({keys})" if keys else command.help
