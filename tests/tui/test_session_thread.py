"""Batches of updates."""

from __future__ import annotations

from chatapp.session.updates import Dropped, Text
from chatapp.tui.session_thread import joined


def test_pieces_of_a_reply_are_joined_and_nothing_changes_places_with_another_update() -> None:
    batch = [Text(1, 0, "a"), Text(2, 1, "x"), Text(1, 0, "b"), Dropped(3), Text(2, 1, "y"), Text(2, 1, "z")]
    assert joined(batch) == [Text(1, 0, "ab"), Text(2, 1, "x"), Dropped(3), Text(2, 1, "yz")]
    assert joined([]) == []
