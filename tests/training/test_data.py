"""From what people said to rows, and which side of the split they are on."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from chatapp.core.types import Group, GroupReply, Turn
from chatapp.training import data
from tests.training.tiny import END, ByteEncoder, TinyEncoded

FIRST_RELEASE = [4, 5, 9, 10, 11, 15, 18]
EARLIER = [5, 9, 10]
"""Held out when the share was a quarter."""
PROMPT = (Turn("user", "Hello there"),)


def made(*groups: Group, share: float = 0.0, limit: int = 512) -> data.Data:
    return data.build(groups, ByteEncoder(), share=share, max_tokens=limit)


def texts(row: data.RankingRow) -> list[str]:
    return [bytes(each - 3 for each in reply[:-1]).decode() for reply in row.replies]


def replies(*names: str) -> tuple[GroupReply, ...]:
    return tuple(GroupReply(name) for name in names)


def test_a_ranking_keeps_ties_and_leaves_out_what_was_not_ranked() -> None:
    side = made(Group(PROMPT, replies("a", "b", "c", "d"), ((2,), (0, 3)))).train
    (row,) = side.rankings
    assert dict(zip(texts(row), row.tiers, strict=True)) == {"a": 1, "c": 0, "d": 1}
    assert {(texts(row)[i], texts(row)[j]) for i, j in row.pairs()} == {("c", "a"), ("c", "d")}
    assert row.prompt[-2:] == (1, ord("a") + 3)
    assert all(reply[-1] == 2 for reply in row.replies)


def test_equal_replies_are_one() -> None:
    (row,) = made(Group(PROMPT, replies("a", "b", "a"), ((0,), (1,), (2,)))).train.rankings
    assert (texts(row), row.tiers) == (["a", "b"], (0, 1))
    found = made(Group(PROMPT, replies("a", "a"), ((0,), (1,))), Group(PROMPT, replies("a", "b"), ((0, 1),)))
    assert (found.train.rankings, found.undecided) == ([], 2)


def test_an_edit_is_imitated_and_beats_what_it_replaced() -> None:
    side = made(Group(PROMPT, replies("mine", "theirs"), demonstration=0)).train
    (row,) = side.rankings
    assert [texts(row)[w] for w, _ in row.pairs()] == ["mine"]
    (shown,) = side.demonstrations
    learned = [token for token, own in zip(shown.ids, shown.mask, strict=True) if own]
    assert bytes(each - 3 for each in learned[:-1]).decode() == "mine"


def test_thumbs_and_all_bad_and_repeats_and_contradictions() -> None:
    found = made(
        Group(PROMPT, (GroupReply("a", thumb=1),)),
        Group(PROMPT, replies("b", "c"), all_bad=True),
        Group(PROMPT, replies("a", "b"), ((0,), (1,))),
        Group(PROMPT, replies("b", "a"), ((1,), (0,))),
        Group(PROMPT, replies("a", "b"), ((1,), (0,))),
    )
    assert [(each.good) for each in found.train.thumbs] == [True]
    assert (found.all_bad, found.duplicates, found.contradictions) == (1, 1, 1)
    assert len(found.train.rankings) == 2
    assert len(found.train.prompts) == 1


def test_a_thumb_up_beats_a_thumb_down_on_the_same_prompt() -> None:
    other = (Turn("user", "Something else"),)
    side = made(
        Group(PROMPT, (GroupReply("a", thumb=1),)),
        Group(PROMPT, (GroupReply("b", thumb=-1),)),
        Group(other, (GroupReply("c", thumb=-1),)),
    ).train
    (row,) = side.rankings
    assert (texts(row), row.tiers) == (["a", "b"], (0, 1))


def test_what_says_something_else_of_the_same_texts_is_no_repeat() -> None:
    side = made(
        Group(PROMPT, (GroupReply("a", thumb=1),)),
        Group(PROMPT, (GroupReply("a", thumb=-1),)),
        Group(PROMPT, (GroupReply("a"),), demonstration=0),
    )
    assert [each.good for each in side.train.thumbs] == [True, False]
    assert len(side.train.demonstrations) == 1 and side.duplicates == 0
    said = [data.digest([Group(PROMPT, (GroupReply("a"),), demonstration=at)]) for at in (None, 0)]
    assert said[0] != said[1]


def test_thumbs_of_earlier_rounds_count_less() -> None:
    groups = [Group(PROMPT, (GroupReply(text, thumb=thumb),)) for text, thumb in (("a", 1), ("b", -1))]
    (row,) = data.build(groups, ByteEncoder(), share=0.0, weight=lambda _: 0.5).train.rankings
    assert row.weight == 0.5


def test_old_turns_go_first_and_what_still_does_not_fit_is_left_out() -> None:
    long = (Turn("system", "s"), Turn("user", "x" * 40), Turn("assistant", "y" * 40), Turn("user", "now"))
    (row,) = made(Group(long, replies("a", "b"), ((0,), (1,))), limit=40).train.rankings
    text = bytes(each - 3 for each in row.prompt if each >= 3).decode()
    assert text == "ssunowa"
    found = made(Group((Turn("user", "x" * 60),), replies("a", "b"), ((0,), (1,))), limit=40)
    assert (found.train.rankings, found.too_long) == ([], 1)


def test_a_reply_that_does_not_fit_goes_alone() -> None:
    long = "z" * 60
    old = (Turn("user", "old" * 5), Turn("assistant", "o"), *PROMPT)
    found = made(
        Group(old, replies("a", long, "b"), ((0,), (1,), (2,))),
        Group(PROMPT, replies("a", long, "b"), ((0, 2), (1,))),
        Group(PROMPT, replies("mine", long), demonstration=0),
        Group(PROMPT, replies(long, "theirs"), demonstration=0),
        Group(PROMPT, (GroupReply("up", thumb=1), GroupReply(long, thumb=-1))),
        Group(PROMPT, (GroupReply(long, thumb=-1),)),
        limit=50,
    )
    (row,) = found.train.rankings
    assert (texts(row), row.tiers) == (["a", "b"], (0, 2))
    assert row.prompt == ByteEncoder().encode(old).ids  # no turn went for a reply that fits nowhere
    assert len(found.train.demonstrations) == 1 and [each.good for each in found.train.thumbs] == [True]
    assert (found.cut, found.too_long, found.undecided, found.limit) == (3, 3, 0, 50)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 30)), max_size=12), st.integers(5, 120))
def test_no_more_turns_go_than_must(shape: list[tuple[bool, int]], limit: int) -> None:
    turns = [Turn("user" if user else "assistant", "x" * size) for user, size in shape]
    prompt = (Turn("user", "first"), *turns, Turn("user", "last"))
    found = made(Group(prompt, replies("one", "two"), ((0,), (1,))), limit=limit).train.rankings
    cuts = (prompt[at:] for at, turn in enumerate(prompt) if at == 0 or turn.role == "user")
    whole = (ByteEncoder().encode(each).ids for each in cuts)
    fits = next((ids for ids in whole if len(ids) + len("one") + 1 <= limit), None)
    assert [row.prompt for row in found] == ([] if fits is None else [fits])


def test_a_conversation_is_encoded_once_for_all_its_rankings() -> None:
    encoded: list[int] = []

    class Counting(ByteEncoder):
        def encode(self, turns: Sequence[Turn]) -> TinyEncoded:
            encoded.append(len(turns))
            return super().encode(turns)

    turns = tuple(Turn("user" if at % 2 == 0 else "assistant", f"turn {at}") for at in range(81))
    groups = [Group(turns[: at + 1], replies("a", "b"), ((0,), (1,))) for at in range(0, 81, 2)]
    found = data.build(groups, Counting(), share=0.0, max_tokens=100).train
    assert len(found.rankings) == len(groups)
    assert len(encoded) < 20 * len(groups)
    encoded.clear()
    data.build(groups[-1:], Counting(), share=0.0, max_tokens=5)
    assert len(encoded) < 10  # that nothing fits is found on prompts alone


class Thinking(ByteEncoder):
    """A template that opens a reply with more than it writes around one that is there."""

    def encode(self, turns: Sequence[Turn]) -> TinyEncoded:
        found = super().encode(turns)
        more = () if turns[-1].role == "assistant" else (300, 301, 302)
        return TinyEncoded((*found.ids, *more), (*found.mask, *(0 for _ in more)))


def test_a_reply_is_whole_where_the_template_opens_it_with_more() -> None:
    groups = [Group(PROMPT, replies("Hello there", "No", "Hi"), ((0,), (1,), (2,)))]
    (row,) = data.build(groups, Thinking(), share=0.0).train.rankings
    assert texts(row) == ["Hello there", "No", "Hi"] and row.prompt[-3:] == (300, 301, 302)


def test_a_reply_that_was_cut_off_has_no_ending() -> None:
    own = tuple(GroupReply(text, thumb=1, finished=text != "and then") for text in ("No", "and then", "Hi"))
    groups = [Group(PROMPT, own, ((0,), (1,), (2,))), Group(PROMPT, own[1:2], demonstration=0)]
    groups += [Group(PROMPT, (GroupReply("so", thumb=-1, finished=False),))]
    for encoder in (ByteEncoder(), Thinking()):
        side = data.build(groups, encoder, share=0.0).train
        endless = tuple(each + 3 for each in b"and then")
        assert side.rankings[0].replies[1] == endless == side.demonstrations[0].ids[-len(endless) :]
        assert [reply[-1] == END for reply in side.rankings[0].replies] == [True, False, True]
        assert side.rankings[0].unfinished == {endless}
        so = tuple(each + 3 for each in b"so")
        assert side.rankings[-1].replies[-1] == so and side.rankings[-1].unfinished == {endless, so}


def test_a_reply_without_tokens_is_left_out() -> None:
    class Endless(ByteEncoder):
        def encode(self, turns: Sequence[Turn]) -> TinyEncoded:
            found = super().encode(turns)
            kept = [at for at, token in enumerate(found.ids) if token != END]
            return TinyEncoded(tuple(found.ids[at] for at in kept), tuple(found.mask[at] for at in kept))

    groups = [Group(PROMPT, replies("", "a"), ((0,), (1,))), Group(PROMPT, replies("b", "a"), ((0,), (1,)))]
    found = data.build(groups, Endless(), share=0.0)
    assert (len(found.train.rankings), found.empty) == (1, 1)


@given(st.text(min_size=1), st.lists(st.text(), max_size=3))
def test_one_conversation_is_on_one_side(first: str, later: list[str]) -> None:
    turns = [Turn("user", first), *(Turn("user", each) for each in later)]
    key = data.split_key(turns[:1])
    assert data.split_key(turns) == key
    assert data.split_key([Turn("system", "s"), Turn("user", f"  {first}!!")]) == key


def test_the_split_has_about_its_share() -> None:
    keys = [data.split_key([Turn("user", f"question {n}")]) for n in range(2000)]
    share = sum(map(data.is_held_out, keys)) / len(keys)
    assert abs(share - data.HELD_OUT) < 0.04
    assert not any(data.is_held_out(key, 0.0) for key in keys)
    assert all(data.is_held_out(key, 1.0) for key in keys)
    # For ever: what was held out once is never trained on. These are the answers of the first release.
    assert [n for n in range(20) if data.is_held_out(keys[n])] == FIRST_RELEASE
    assert [n for n in range(20) if data.is_held_out(keys[n], 0.25)] == EARLIER
    assert set(EARLIER) < set(FIRST_RELEASE)


def test_the_prompts_before_a_judged_one_are_prompts_too() -> None:
    turns = (Turn("system", "s"), Turn("user", "one"), Turn("assistant", "two"), Turn("user", "three"))
    side = made(Group(turns, replies("a", "b"), ((0,), (1,)))).train
    assert side.prompts == [ByteEncoder().encode(turns).ids, ByteEncoder().encode(turns[:2]).ids]
