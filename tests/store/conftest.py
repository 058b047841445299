from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.core.types import Message, Provenance
from chatapp.store.database import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "data" / "chatapp.db") as opened:
        yield opened


def ask(store: Store, text: str = "Where is the lake?", replies: int = 1) -> tuple[Message, list[Message]]:
    """A new conversation: its prompt, and that many finished replies, the first of them active."""
    conversation = store.conversations.create()
    prompt = store.conversations.add(conversation.id, None, "user", text, "typed")
    return prompt, [answer(store, prompt, f"reply {n}", activate=n == 0) for n in range(replies)]


def answer(store: Store, prompt: Message, text: str, activate: bool = True) -> Message:
    reply = store.conversations.begin_reply(
        prompt.conversation, prompt.id, Provenance("guide"), activate=activate
    )
    return store.conversations.finish(reply.id, text, "stop", Provenance("guide"))
