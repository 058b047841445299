"""The error tree. Each error is one line for the user and one hint: what happened, then what to do."""

from __future__ import annotations


class ChatappError(Exception):
    """Anything that a user can be told in one line. `hint` says what to do about it."""

    hint: str = "run the command again with --debug to see where it failed"

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class UsageError(ChatappError):
    """The request itself makes no sense (a ranking that names a reply twice, a bad id)."""

    hint = "see --help for the form it expects"


class NotFound(ChatappError):
    """A conversation, message, model or adapter that is not there."""

    hint = "list what there is with the noun's own list command"


class SettingsError(ChatappError):
    hint = "fix the line in config.toml"


class VariableError(SettingsError):
    """A setting that an environment variable gives."""

    hint = "give the environment variable another value, or unset it"


class StoreError(ChatappError):
    hint = "run `chatapp doctor`; the database was left as it is"


class ModelError(ChatappError):
    """A model file that cannot be used: refused by the header check or by llama.cpp."""

    hint = "choose another file with `chatapp models use`"


class EngineError(ChatappError):
    """The engine process refused or failed a request and is still alive."""

    hint = "send the message again"


class EngineDied(EngineError):
    """The engine process ended. The next request starts a new one."""

    hint = "send the message again; the engine restarts by itself"


class PromptTooLong(EngineError):
    """The last turn alone does not fit into n_ctx."""

    hint = "shorten the message"


class FileError(ChatappError):
    """The system refuses a file or folder."""

    hint = "check the path, who owns it, and that the disk is not full"

    @classmethod
    def of(cls, error: OSError, what: str = "read or write") -> FileError:
        """What the system said, in one line. `what` could not be done."""
        where = "" if error.filename is None else f" {error.filename}"
        return cls(f"cannot {what}{where}: {error.strerror or error}")


def in_words(error: Exception) -> ChatappError:
    """Any error as one that a user can be told in a line."""
    if isinstance(error, ChatappError):
        return error
    if isinstance(error, OSError):
        return FileError.of(error)
    return ChatappError(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


class FormatError(ChatappError):
    """A file that cannot be read as what it was said to be."""

    hint = "name the format with --format"


class TrainingError(ChatappError):
    """Training that cannot start or go on: no data, no memory, no disk, numbers that are none."""

    hint = "see what there is to learn from with `chatapp train --dry-run`"


class DownloadError(ChatappError):
    """A file that could not be had from a hub. What came of it is kept."""

    hint = "run the same command again; it goes on where it stopped"
