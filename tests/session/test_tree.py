"""Questions about a message tree."""

from __future__ import annotations

import pytest

from chatapp.core.errors import NotFound
from chatapp.core.types import Message
from chatapp.session import tree


def node(id: int, parent: int | None, active: bool = True, deleted: bool = False) -> Message:
    role = "user" if parent is None else "assistant"
    return Message(id, 1, parent, role, f"text {id}", "typed", active, 0.0, deleted=deleted)


#   1 ─┬─ 2 ─── 5        active: 1, 3, 6
#      ├─ 3 ─── 6
#      └─ 4 (deleted)
NODES = [
    node(1, None),
    node(2, 1, active=False),
    node(3, 1),
    node(4, 1, deleted=True),
    node(5, 2),
    node(6, 3),
]


def test_siblings_are_counted_without_deleted_ones() -> None:
    assert [each.id for each in tree.siblings(NODES, 3)] == [2, 3]
    assert tree.position(NODES, 3) == (2, 2)
    assert tree.position(NODES, 1) == (1, 1)


def test_a_deleted_message_has_no_position() -> None:
    with pytest.raises(NotFound):
        tree.position(NODES, 4)


def test_ancestors_hold_no_sibling() -> None:
    assert [each.id for each in tree.ancestors(NODES, 5)] == [1, 2, 5]


def test_the_active_path_passes_over_active_messages_of_other_branches() -> None:
    assert [each.id for each in tree.active_path(NODES)] == [1, 3, 6]


def test_the_active_path_of_nothing_is_empty() -> None:
    assert tree.active_path([]) == []


def test_unknown_ids_are_refused() -> None:
    with pytest.raises(NotFound):
        tree.find(NODES, 9)
    with pytest.raises(NotFound):
        tree.ancestors(NODES, 9)
