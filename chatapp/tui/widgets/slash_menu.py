"""The slash commands that the text in the prompt may become, above the prompt."""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.message import Message
from textual.style import Style
from textual.widgets import Static

from chatapp.tui.commands import Command, matching


class SlashMenu(Static):
    class Picked(Message):
        """A click on a command."""

        def __init__(self, command: Command) -> None:
            super().__init__()
            self.command = command

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    SlashMenu { display: none; height: auto; max-height: 14; color: $secondary; padding: 0 2; }
    """

    def follow(self, text: str) -> None:
        """Show what fits `text`; nothing when it is an ordinary message."""
        found = matching(text)
        self.display = bool(found)
        if found:
            self.update(Content("\n").join([_line(each) for each in found]))

    def on_click(self, event: events.Click) -> None:
        name = event.style.meta.get("command")
        for each in matching("/" + name) if name else ():
            self.post_message(self.Picked(each))
            return


def _line(command: Command) -> Content:
    name = f"/{command.name} {command.argument}".rstrip()
    line = Content.assemble((name.ljust(18), "$accent"), command.help)
    if command.key:
        line += Content(f"  {command.key}")
    return line.stylize(Style.from_meta({"command": command.name}))
