"""What can be taken back: the judgements and deletions of this session, newest first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from chatapp.core.errors import StoreError


@dataclass(slots=True)
class UndoStack:
    """Steps that take something back, each with what it took back in words ("the ranking")."""

    _steps: list[tuple[str, Callable[[], None]]] = field(default_factory=list)

    def push(self, what: str, step: Callable[[], None]) -> None:
        self._steps.append((what, step))

    def pop(self) -> str | None:
        """Take the newest back and say what it was; None when there is nothing left.

        A step that fails is not tried again, unless it was for the database (a full disk, another writer).
        """
        if not self._steps:
            return None
        what, step = self._steps.pop()
        try:
            step()
        except StoreError:
            self._steps.append((what, step))
            raise
        return what
