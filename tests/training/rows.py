"""Small rows for the recipes: replies that end in a question are the better ones."""

from collections.abc import Sequence

from chatapp.core.types import Group, GroupReply, Turn
from chatapp.training.data import RankingRow, SftRow, build
from tests.training.tiny import ByteEncoder

WORDS = ("tea", "rain", "cats", "jazz", "snow", "rice", "trains", "chess", "maps", "bees", "salt", "owls")


def group(word: str) -> Group:
    replies = (GroupReply(f"{word} no"), GroupReply(f"{word} ok?"), GroupReply("hm"), GroupReply("why?"))
    return Group((Turn("user", f"about {word}"),), replies, ((1, 3), (0, 2)))


def best_replies(rankings: Sequence[RankingRow]) -> list[SftRow]:
    """The top reply of each ranking as something to imitate (the first of those that share the top)."""
    rows = []
    for row in rankings:
        best = row.replies[row.tiers.index(min(row.tiers))]
        rows.append(SftRow(row.prompt + best, (0,) * len(row.prompt) + (1,) * len(best), row.key))
    return rows


def question_rows() -> list[RankingRow]:
    return build(map(group, WORDS), ByteEncoder(), share=0.0).train.rankings
