"""Small rows for the recipes: replies that end in a question are the better ones."""

from chatapp.core.types import Group, GroupReply, Turn
from chatapp.training.data import RankingRow, build
from tests.training.tiny import ByteEncoder

WORDS = ("tea", "rain", "cats", "jazz", "snow", "rice", "trains", "chess", "maps", "bees", "salt", "owls")


def group(word: str) -> Group:
    replies = (GroupReply(f"{word} no"), GroupReply(f"{word} ok?"), GroupReply("hm"), GroupReply("why?"))
    return Group((Turn("user", f"about {word}"),), replies, ((1, 3), (0, 2)))


def question_rows() -> list[RankingRow]:
    return build(map(group, WORDS), ByteEncoder(), share=0.0).train.rankings
