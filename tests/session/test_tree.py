"""The active path of a message tree."""

from __future__ import annotations

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


def test_the_active_path_passes_over_active_messages_of_other_branches() -> None:
    assert [each.id for each in tree.active_path(NODES)] == [1, 3, 6]


def test_the_active_path_of_nothing_is_empty() -> None:
    assert tree.active_path([]) == []
