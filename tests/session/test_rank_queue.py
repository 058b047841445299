"""Which prompts a ranking session asks about."""

from __future__ import annotations

from pathlib import Path

from chatapp.core.types import Provenance
from chatapp.session.rank_queue import RankRequest, prompts_to_rank
from chatapp.store.database import open_store


def test_only_what_is_there_answered_and_unranked(tmp_path: Path) -> None:
    with open_store(tmp_path / "chatapp.db") as store:
        chats = store.conversations
        chat = chats.create().id
        prompts = [chats.add(chat, None, "user", f"question {n}", "typed").id for n in range(5)]
        replies = {
            prompt: [
                chats.add(chat, prompt, "assistant", text, "model", finish_reason="stop").id
                for text in ("same", f"differs {'x' if n == 3 else ''}" if n else "same")
            ]
            for n, prompt in enumerate(prompts[:4])
        }
        chats.begin_reply(chat, prompts[4], Provenance("guide"))
        chats.delete_message(prompts[1])
        store.rankings.add(prompts[2], replies[prompts[2]], (tuple(replies[prompts[2]]),))

        def asked(**request: object) -> list[int]:
            return list(prompts_to_rank(store, RankRequest(**request), seed=1))  # type: ignore[arg-type]

        assert asked(pick="recent") == [prompts[3], prompts[0]]
        assert asked(pick="uncertain") == [prompts[3], prompts[0]]
        assert sorted(asked(pick="random")) == [prompts[0], prompts[3]]
        assert asked(pick="recent", limit=1) == [prompts[3]]
        ahead = prompts_to_rank(store, RankRequest(pick="recent"))
        assert next(ahead) == prompts[3]
        store.rankings.add(prompts[0], replies[prompts[0]], (), all_bad=True)
        assert list(ahead) == []
