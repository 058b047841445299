"""Which adapter answers in the chat: listed, chosen, taken back. All of it in the session's thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.core.errors import UsageError
from chatapp.core.types import Adapter, Wins

if TYPE_CHECKING:
    from chatapp.session.session import Session
    from chatapp.session.wiring import House


@dataclass(frozen=True, slots=True)
class Round:
    """One adapter as a list shows it."""

    adapter: Adapter
    in_use: bool
    wins: Wins
    """Against what it was trained from, over the rankings that hold replies of both."""


def rounds(house: House, session: Session) -> list[Round]:
    """The adapters of the chat's model, newest first; nothing is loaded for it. Errors: `ModelError`."""
    adapters = session.store.adapters
    used = session.adapter.name if session.adapter else None
    return [
        Round(each, each.name == used, adapters.wins(each.name, each.parent))
        for each in reversed(adapters.list(house.model_sha256(session.spec)))
    ]


def switch(house: House, session: Session, name: str | None, why: str = "use") -> None:
    """Answer with this adapter (None: the base) from the next reply on, also after a restart.

    Errors: `NotFound`, `UsageError`, `ModelError`; what was in use stays in use then.
    """
    # Not what is loaded: the adapter in use may be one that cannot be.
    sha256 = house.model_sha256(session.spec)
    adapter = house.adapter(name or "base", session.spec)
    session.store.adapters.choose(sha256, name, why)
    session.use(session.spec, adapter)


def round_before(house: House, session: Session) -> str | None:
    """Go back to what the adapter in use was trained from; gives its name, None for the base.

    Errors: `UsageError` where the base is in use; those of `switch`.
    """
    if session.adapter is None:
        raise UsageError("no adapter is in use, so there is no round before", "/adapters lists them")
    return keep_the_old(house, session, session.adapter.name)


def keep_the_old(house: House, session: Session, new: str) -> str | None:
    """Answer with what `new` was trained from; gives its name, None for the base. Errors: as `switch`."""
    adapters = session.store.adapters
    before = adapters.before(adapters.get(new))
    name = before.name if before else None
    switch(house, session, name, "rollback")
    return name
