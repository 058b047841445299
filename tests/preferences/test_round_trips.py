"""What is written is read back the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatapp.core.types import Group
from chatapp.preferences.formats import rankings, trl
from chatapp.preferences.formats.load import load
from chatapp.preferences.formats.save import save
from chatapp.store.database import open_store
from tests.preferences.groups import groups

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@in_one_folder
@given(st.lists(groups(), max_size=4))
def test_our_own_format_loses_nothing(tmp_path: Path, some: list[Group]) -> None:
    file = tmp_path / "rankings.jsonl"
    assert save(file, some, "rankings") == len(some)
    loaded = load(file, "rankings")
    assert (loaded.groups, loaded.malformed, loaded.rows) == (some, [], len(some))


@given(groups())
def test_rows_survive_json_with_escapes(group: Group) -> None:
    (row,) = rankings.rows([group])
    assert rankings.group(json.loads(json.dumps(row, ensure_ascii=True))) == [group]


@given(groups())
def test_pairs_of_an_exported_file_are_its_pairs(group: Group) -> None:
    told_apart = [replace(reply, text=f"{n}{reply.text}") for n, reply in enumerate(group.replies)]
    group = replace(
        group, prompt=(*group.prompt, replace(group.prompt[0], text="q")), replies=tuple(told_apart)
    )
    rows = list(trl.preference_rows([group]))
    again = [made for row in rows for made in trl.preference_group(row)]
    assert list(trl.preference_rows(again)) == rows
    assert all(made.prompt == group.prompt for made in again)


def told(group: Group) -> object:
    """What the database keeps of a group; times, sources and the rest are its own."""
    replies = [(reply.text, reply.origin) for reply in group.replies]
    return group.prompt, replies, group.tiers, group.all_bad, group.tags, group.milliseconds


@settings(max_examples=40)
@given(st.lists(groups(), max_size=3))
def test_through_the_database(some: list[Group]) -> None:
    said = [group for group in some if group.tiers or group.all_bad]
    with TemporaryDirectory() as folder, open_store(Path(folder) / "chatapp.db") as store:
        store.groups.add(said, "imported", "import:x")
        out = [group for group in store.groups.list() if group.tiers or group.all_bad]
        assert store.integrity() == "ok"
    assert [told(group) for group in out] == [told(group) for group in said]
