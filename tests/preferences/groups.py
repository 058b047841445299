"""Hypothesis strategies of preference groups and of JSON values."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from chatapp.core.types import Group, GroupReply, Turn

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def groups(draw: st.DrawFn) -> Group:
    prompt = draw(
        st.lists(
            st.builds(Turn, st.sampled_from(["system", "user", "assistant"]), TEXT), min_size=1, max_size=3
        )
    )
    replies = draw(
        st.lists(
            st.builds(
                GroupReply,
                TEXT,
                st.sampled_from(["typed", "model", "edit", "import"]),
                st.none() | TEXT,
                st.sampled_from([-1, 0, 1]),
                finished=st.booleans(),
            ),
            min_size=1,
            max_size=4,
        )
    )
    order = draw(st.permutations(range(len(replies))))
    tiers: list[list[int]] = []
    for place in order[: draw(st.integers(0, len(order)))]:
        if tiers and draw(st.booleans()):
            tiers[-1].append(place)
        else:
            tiers.append([place])
    return Group(
        tuple(prompt),
        tuple(replies),
        tuple(tuple(tier) for tier in tiers),
        not tiers and draw(st.booleans()),
        draw(st.none() | st.integers(0, len(replies) - 1)),
        tuple(draw(st.lists(TEXT, max_size=2))),
        draw(st.none() | st.integers(0, 10**9)),
        draw(st.none() | st.floats(0, 4e9)),
        draw(TEXT),
    )
