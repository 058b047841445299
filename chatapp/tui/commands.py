"""What the chat can be asked to do by name: slash commands in the prompt, and the palette's entries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from chatapp.core.errors import UsageError

_AS_MESSAGE = "a space before the slash sends it as a message"
_NEAR = 0.6
"""How much of a word has to be that of a command for it to be taken for a slip; `difflib`'s ratio."""


@dataclass(frozen=True, slots=True)
class Command:
    """`name` is what stands after the slash (empty: in the palette only); `action` is the chat screen's."""

    name: str
    title: str
    help: str
    action: str
    argument: str = ""
    """What may follow the name; shown in the hint. Without brackets it must."""
    key: str = ""

    @property
    def needs_argument(self) -> bool:
        return bool(self.argument) and not self.argument.startswith("[")


COMMANDS = (
    Command("help", "Help", "all keys and commands", "help", key="F1"),
    Command("new", "New conversation", "begin an empty one", "new", key="^N"),
    Command(
        "regenerate",
        "Alternatives",
        "more replies beside the last one, to be ranked",
        "alternatives",
        key="^R",
    ),
    Command("continue", "Continue the reply", "go on with one that was cut or stopped", "continue"),
    Command("chats", "Conversations", "open, search, rename, delete", "chats", key="^S"),
    Command("train", "Train", "learn from what you ranked; the chat goes on", "train", key="^T"),
    Command("adapters", "Adapters", "what trainings made: use one, none, the one before", "adapters"),
    Command("best", "Best of several", "let the reward model choose among N replies", "best", "[N]"),
    Command("model", "Models", "choose another GGUF file", "models", "[NAME]", "^O"),
    Command("system", "System prompt", "change it for this conversation", "system", "[TEXT]", "F2"),
    Command("rename", "Rename", "give this conversation another title", "rename", "TITLE"),
    Command("export", "Export", "write it to a file: .md, or .jsonl with every branch", "export", "FILE"),
    Command("theme", "Theme", "choose the colours", "theme", "[NAME]"),
    Command("quit", "Quit", "close the program", "quit", key="^Q"),
    Command("", "Rank again", "order the replies that are there, without new ones", "rank_again", key="R"),
    Command("", "Back to the round before", "answer with what the adapter was trained from", "round_before"),
    Command("", "Undo", "take back the last ranking, thumb, edit or deletion", "undo", key="u"),
    Command("", "Tags", "say why, for the last ranking", "tags", key="t"),
)


def matching(text: str) -> list[Command]:
    """The slash commands that `text` (from its slash on) may become."""
    if not text.startswith("/") or "\n" in text:
        return []
    word, space, _ = text[1:].partition(" ")
    word = word.lower()
    return [
        each
        for each in COMMANDS
        if each.name and (each.name == word if space else each.name.startswith(word))
    ]


def parse(text: str) -> tuple[Command, str] | None:
    """The command that `text` gives and what follows its name; None when it is not one, but a message.

    The beginning of one name alone is that command. Errors: `UsageError` for what looks like a command and
    cannot be done as it stands; nothing of it may be lost.
    """
    found = re.fullmatch(r"/(\w*)(?:\s+(.*))?", text.rstrip(), re.DOTALL)
    if found is None or (not found[1] and found[2]):
        return None
    word, rest = found[1].lower(), (found[2] or "").strip()
    named = [each for each in COMMANDS if each.name and each.name == word]
    if not named and not rest and word:
        named = matching(text.rstrip())
    if len(named) != 1:
        names = [each.name for each in named] or get_close_matches(
            word, [each.name for each in COMMANDS if each.name], 1, _NEAR
        )
        if rest and not names and not word.isalpha():
            return None
        meant = f"{' or '.join('/' + each for each in names)}? Else " if names else ""
        raise UsageError(f"there is no command /{found[1]}", meant + _AS_MESSAGE)
    [command] = named
    if rest and not command.argument:
        raise UsageError(f"/{command.name} takes nothing after it", _AS_MESSAGE)
    if not rest and command.needs_argument:
        raise UsageError(f"/{command.name} needs its {command.argument}", "write it after the name")
    return command, rest


def is_command(text: str) -> bool:
    """Whether `text` would be done and not sent."""
    try:
        return parse(text) is not None
    except UsageError:
        return False
