"""Which adapter answers, also where the one in use cannot be loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.core.errors import ChatappError
from chatapp.core.paths import find_paths
from chatapp.core.settings import Settings
from chatapp.session.adapters import round_before, rounds, switch
from chatapp.session.wiring import House
from tests.session.guide_adapters import guide_sha256, register


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(find_paths({"CHATAPP_HOME": str(tmp_path)}), Settings(threads=1)) as built:
        for name, parent in (("r1", None), ("r2", "r1")):
            register(built, name, parent)
        built.store().adapters.choose(guide_sha256(), "r2", "use")
        yield built


@pytest.mark.parametrize("gone", [False, True])
def test_a_broken_adapter_is_left_by_the_ways_out(house: House, gone: bool) -> None:
    session = house.session()
    file = house.paths.adapters / "r2" / "adapter.gguf"
    file.unlink() if gone else file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ChatappError):
        session.prepare()
    assert [(each.adapter.name, each.in_use) for each in rounds(house, session)] == [
        ("r2", True),
        ("r1", False),
    ]
    assert round_before(house, session) == "r1"
    assert session.prepare() and session.adapter and session.adapter.name == "r1"
    session.use(session.spec, None)
    switch(house, session, "r1")
    if gone:  # what is damaged is noticed when it is loaded
        with pytest.raises(ChatappError):
            switch(house, session, "r2")
    assert session.adapter.name == "r1" and session.prepare()
