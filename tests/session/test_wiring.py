"""The house: which parts it builds and what it leaves alone."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from chatapp.core.errors import ModelError, NotFound
from chatapp.core.paths import embedded_model, find_paths
from chatapp.core.settings import Settings
from chatapp.engine.scripted import ScriptedEngine
from chatapp.session.wiring import House


def house_in(folder: Path, **settings: object) -> House:
    paths = find_paths({"CHATAPP_HOME": str(folder)})
    return House(paths, Settings(**settings), ScriptedEngine(pace=0))  # type: ignore[arg-type]


def test_a_demo_lives_in_a_folder_that_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATAPP_HOME", str(tmp_path / "home"))
    with House.demo() as house:
        root = house.paths.data.parent
        session = house.session()
        session.begin("one")
        assert house.paths.database.exists()
    assert not root.exists()
    assert not (tmp_path / "home").exists()


def test_the_users_own_house_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATAPP_HOME", str(tmp_path))
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text('system = "Be brief."\nn_ctx = 256\n')
    monkeypatch.setenv("CHATAPP_THREADS", "2")
    with House.found() as house:
        spec = house.spec()
        assert (house.settings.system, spec.n_ctx, spec.threads) == ("Be brief.", 256, 2)
        assert spec.path == embedded_model()


def test_each_thread_has_its_own_connection(tmp_path: Path) -> None:
    with house_in(tmp_path) as house:
        session = house.session()
        prompt = session.begin("one")
        done: list[object] = []

        def work() -> None:
            done.extend(session.stream(prompt.id))
            done.append(house.store())
            house.stores.close()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert done[-1] is not house.store()
        assert len(session.path()) == 2


def test_a_conversation_is_opened(tmp_path: Path) -> None:
    with house_in(tmp_path) as house:
        house.session().begin("one")
        assert [each.text for each in house.session(1).path()] == ["one"]
        with pytest.raises(NotFound):
            house.session(7)


def test_adapters_by_name_and_by_file(tmp_path: Path) -> None:
    with house_in(tmp_path) as house:
        assert house.adapter() is None
        file = house.paths.adapters / "r3" / "adapter.gguf"
        file.parent.mkdir(parents=True)
        file.touch()
        for wanted in ("r3", str(file)):
            found = house.adapter(wanted)
            assert found is not None
            assert found.path == file
        with pytest.raises(NotFound):
            house.adapter("r4")


def test_a_model_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"nothing")
    house = House(find_paths({"CHATAPP_HOME": str(tmp_path)}), Settings(model=str(broken)))
    with house, pytest.raises(ModelError, match="broken"):
        house.spec()


def test_forgetting_leaves_the_database_alone(tmp_path: Path) -> None:
    with house_in(tmp_path) as house:
        house.session().begin("kept")
        house.forget(copy=True)
        session = house.session(1)
        session.begin("forgotten")
        assert [each.text for each in session.path()] == ["kept", "forgotten"]
        folder = house.stores.path.parent
    assert not folder.exists()
    with house_in(tmp_path) as house:
        assert [each.text for each in house.session(1).path()] == ["kept"]
