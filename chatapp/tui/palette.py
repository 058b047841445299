"""The command palette's entries: every command of the chat, by its title and by its slash name."""

from __future__ import annotations

from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from chatapp.tui.commands import COMMANDS, Command


class ChatCommands(Provider):
    async def discover(self) -> Hits:
        for command in COMMANDS:
            yield DiscoveryHit(command.title, partial(self._run, command), help=_help(command))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for command in COMMANDS:
            if (score := max(matcher.match(command.title), matcher.match(command.name))) > 0:
                yield Hit(
                    score,
                    matcher.highlight(command.title),
                    partial(self._run, command),
                    text=command.title,
                    help=_help(command),
                )

    async def _run(self, command: Command) -> None:
        from chatapp.tui.screens.chat import ChatScreen

        for screen in reversed(self.app.screen_stack):
            if isinstance(screen, ChatScreen):
                await screen.run_command(command, "")
                return


def _help(command: Command) -> str:
    keys = " or ".join(part for part in (command.key, f"/{command.name}" if command.name else "") if part)
    return f"{command.help}  ({keys})" if keys else command.help
