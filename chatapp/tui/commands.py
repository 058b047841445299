"""What the chat can be asked to do by name: slash commands in the prompt, and the palette's entries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """`name` is what stands after the slash (empty: in the palette only); `action` is the chat screen's."""

    name: str
    title: str
    help: str
    action: str
    argument: str = ""
    """What may follow the name; shown in the hint."""
    key: str = ""


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
    Command("chats", "Conversations", "open, search, rename, delete", "chats", key="^S"),
    Command("train", "Train", "learn from what you ranked; the chat goes on", "train", key="^T"),
    Command("adapters", "Adapters", "what trainings made: use one, none, the one before", "adapters"),
    Command("best", "Best of several", "let the reward model choose among N replies", "best", "[N]"),
    Command("model", "Models", "choose another GGUF file", "models", "[NAME]", "^O"),
    Command("system", "System prompt", "change it for this conversation", "system", "[TEXT]", "F2"),
    Command("rename", "Rename", "give this conversation another title", "rename", "TITLE"),
    Command("export", "Export", "write this conversation to a file", "export", "FILE"),
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
    return [
        each
        for each in COMMANDS
        if each.name and (each.name == word if space else each.name.startswith(word))
    ]


def parse(text: str) -> tuple[Command, str] | None:
    """The command that `text` gives and what follows its name; None when it is not one, but a message."""
    if not text.startswith("/"):
        return None
    word, _, argument = text[1:].strip().partition(" ")
    for each in COMMANDS:
        if each.name and each.name == word.lower():
            return each, argument.strip()
    return None
