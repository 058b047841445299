"""Ranking what two adapters say: nothing on the screen tells who wrote what, and the wins are counted."""

from __future__ import annotations

from chatapp.core.types import Adapter, Wins

from .conftest import Open


async def test_the_order_of_two_adapters_is_a_win(open_chat: Open) -> None:
    async with open_chat() as chat:
        adapters = chat.store.adapters
        sha256 = chat.house.model_sha256()
        for name, parent in (("r1", None), ("r2", "r1")):
            file = chat.house.paths.adapters / name / "adapter.gguf"
            file.parent.mkdir(parents=True)
            file.touch()
            adapters.add(Adapter(name, "dpo", "guide", sha256, parent, 0.0, True, "better", "run", "data"))
        adapters.choose(sha256, "r2", "use")
    async with open_chat() as chat:
        await chat.send("hello")
        await chat.compare()
        written = {
            each.id: each.provenance.adapter
            for each in chat.store.conversations.messages(1)
            if each.provenance is not None
        }
        lanes = [written[lane.reply] for lane in chat.ranker.lanes if lane.reply is not None]
        assert sorted(map(str, lanes)) == ["r1", "r1", "r2", "r2"]
        page = chat.shown()
        assert "r1" not in page and "▴" not in page
        winner = next(lane.number for lane in chat.ranker.lanes if written[lane.reply or 0] == "r1")
        rest = [str(lane.number) for lane in chat.ranker.lanes if lane.number != winner]
        await chat.press(str(winner), *rest[:2])
        await chat.ranked()
        assert chat.store.adapters.wins("r2", "r1") == Wins(0, 1, 0)
        await chat.until(lambda: "▴r1" in chat.shown())
