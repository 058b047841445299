"""Pairs: twenty rankings whose pairs were worked out by hand, through the database into the exported file."""

from __future__ import annotations

import json
from pathlib import Path

from chatapp.core.types import Group, GroupReply, Ranking, Turn
from chatapp.preferences.formats.save import save
from chatapp.preferences.pairs import group_pairs, pairs
from chatapp.store.database import Store, open_store

RANKINGS = [  # prompt, replies that were shown, order of them (None: all bad)
    ("q01", "ab", "a>b"),
    ("q02", "ab", "b>a"),
    ("q03", "ab", "a=b"),
    ("q04", "abc", "a>b>c"),
    ("q05", "abc", "c>a=b"),
    ("q06", "abc", "a=b>c"),
    ("q07", "abc", "a=b=c"),
    ("q08", "abc", None),
    ("q09", "abcd", "d>b>a>c"),
    ("q10", "abcd", "a>b=c=d"),
    ("q11", "abcd", "a=b>c=d"),
    ("q12", "abcd", "a=b=c>d"),
    ("q13", "abcd", "b>d=a>c"),
    ("q14", "abcd", None),
    ("q15", "abc", "a>c"),  # b was shown and not ranked
    ("q16", "abc", "c"),
    ("q17", "abcd", "d=a>c"),
    ("q18", "ab", "a>b"),  # replaced by the next
    ("q18", "ba", "b>a"),
    ("q20", "abc", "c>a>b"),  # taken back
]
PAIRS = """
q01 a b
q02 b a
q04 a b
q04 a c
q04 b c
q05 c a
q05 c b
q06 a c
q06 b c
q09 d b
q09 d a
q09 d c
q09 b a
q09 b c
q09 a c
q10 a b
q10 a c
q10 a d
q11 a c
q11 a d
q11 b c
q11 b d
q12 a d
q12 b d
q12 c d
q13 b d
q13 b a
q13 b c
q13 d c
q13 a c
q15 a c
q17 d c
q17 a c
q18 b a
"""


def rank_all(store: Store) -> None:
    conversation = store.conversations.create(system="be brief").id
    ids: dict[str, int] = {}
    for prompt, shown, order in RANKINGS:
        if prompt not in ids:
            ids[prompt] = store.conversations.add(conversation, None, "user", prompt, "typed").id
        for letter in sorted(shown):
            if prompt + letter not in ids:
                ids[prompt + letter] = store.conversations.add(
                    conversation, ids[prompt], "assistant", letter, "model", finish_reason="stop"
                ).id
        tiers = tuple(
            tuple(ids[prompt + letter] for letter in tier.split("="))
            for tier in (order or "").split(">")
            if tier
        )
        ranking = store.rankings.add(
            ids[prompt], [ids[prompt + letter] for letter in shown], tiers, all_bad=order is None
        )
    store.rankings.retract(ranking.id)


def test_twenty_rankings_export_the_pairs_worked_out_by_hand(tmp_path: Path) -> None:
    with open_store(tmp_path / "chatapp.db") as store:
        rank_all(store)
        assert len(store.rankings.list(include_retracted=True)) == 20
        count = save(tmp_path / "pairs.jsonl", store.groups.list(), "trl-preference")
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert count == len(rows) == 34
    assert all(set(row) == {"prompt", "chosen", "rejected"} for row in rows)
    for row in rows:
        system, user = row["prompt"]
        assert system == {"role": "system", "content": "be brief"}
        assert user["role"] == "user"
        assert [each["role"] for each in row["chosen"] + row["rejected"]] == ["assistant", "assistant"]
    found = [
        (row["prompt"][1]["content"], row["chosen"][0]["content"], row["rejected"][0]["content"])
        for row in rows
    ]
    assert found == [tuple(line.split()) for line in PAIRS.split("\n") if line]


def test_pairs_of_a_ranking() -> None:
    assert pairs(Ranking(1, 1, (5, 6, 7, 8), ((7,), (5, 8)))) == [(7, 5), (7, 8)]
    assert pairs(Ranking(1, 1, (5, 6), (), all_bad=True)) == []


def test_a_demonstration_is_better_than_what_it_replaced() -> None:
    replies = (GroupReply("a"), GroupReply("b"), GroupReply("c"))
    assert group_pairs(Group((Turn("user", "q"),), replies, demonstration=1)) == [(1, 0), (1, 2)]


def test_equal_texts_make_no_pair() -> None:
    replies = (GroupReply("a"), GroupReply("a"), GroupReply("c"))
    prompt = (Turn("user", "q"),)
    assert group_pairs(Group(prompt, replies, ((0,), (1,), (2,)))) == [(0, 2), (1, 2)]
    assert group_pairs(Group(prompt, replies, demonstration=1)) == [(1, 2)]
