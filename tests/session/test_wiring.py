"""The house: which parts it builds and what it leaves alone."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from chatapp.core.errors import ModelError, NotFound
from chatapp.core.paths import embedded_model, find_paths
from chatapp.core.settings import Settings
from chatapp.engine.base import AdapterSpec
from chatapp.engine.scripted import ScriptedEngine
from chatapp.session.wiring import House
from tests.engine.tiny_gguf import make_model
from tests.session.guide_adapters import guide_sha256, register, write_random_adapter


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


def real_house(folder: Path, **settings: object) -> House:
    return House(find_paths({"CHATAPP_HOME": str(folder)}), Settings(**settings))  # type: ignore[arg-type]


def test_adapters_by_name_and_by_file(tmp_path: Path) -> None:
    with real_house(tmp_path) as house:
        register(house, "r1")
        register(house, "r2", "r1")
        file = house.paths.adapters / "r2" / "adapter.gguf"
        assert house.adapter("r2") == AdapterSpec("r2", file)
        assert house.adapter("base") is None
        assert house.adapter() is None
        mine = write_random_adapter(tmp_path / "mine" / "lora.gguf", 1)
        assert house.adapter(str(mine)) == AdapterSpec("mine/lora.gguf", mine)
        with pytest.raises(NotFound, match="'r4'") as error:
            house.adapter("r4")
        assert "r2" in error.value.hint
        with pytest.raises(NotFound, match=r"gone\.gguf"):
            house.adapter(str(tmp_path / "gone.gguf"))
        with pytest.raises(ModelError, match="not a LoRA adapter"):
            house.adapter(str(embedded_model()))
        house.store().adapters.delete("r2")
        with pytest.raises(NotFound, match="was deleted"):
            house.adapter("r2")


def test_the_adapter_in_use_is_that_of_each_model(tmp_path: Path) -> None:
    other = make_model(tmp_path / "other.gguf")
    with real_house(tmp_path) as house:
        register(house, "r1")
        house.store().adapters.choose(guide_sha256(), "r1", "use")
        assert house.session().adapter == house.adapter("r1")
        assert house.adapter("active", house.spec(str(other))) is None
        with pytest.raises(ModelError, match="another model"):
            house.adapter("r1", house.spec(str(other)))
        (house.paths.adapters / "r1" / "adapter.gguf").unlink()
        with pytest.raises(NotFound, match="file of r1 is gone") as error:
            house.session()
        assert "adapters off" in error.value.hint


def test_a_model_is_not_read_through_where_nothing_was_ever_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise AssertionError("hashed")

    with real_house(tmp_path) as house:
        register(house, "r1")
        monkeypatch.setattr("chatapp.engine.cache.sha256", refuse)
        assert house.adapter() is None
        house.store().adapters.choose(guide_sha256(), None, "off")
        with pytest.raises(AssertionError, match="hashed"):
            house.adapter()


def test_what_keeps_nothing_still_knows_the_adapters(tmp_path: Path) -> None:
    with real_house(tmp_path / "new") as house:
        house.forget()
        assert house.adapter() is None
        assert not house.paths.database.exists()
    with real_house(tmp_path) as house:
        register(house, "r1")
        house.store().adapters.choose(guide_sha256(), "r1", "use")
        house.forget()
        session = house.session()
        assert session.adapter is not None and session.adapter.name == "r1"
        session.begin("forgotten")
    with real_house(tmp_path) as house:
        assert house.store().conversations.list() == []


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


def test_a_first_reply_is_sampled_as_the_file_recommends(tmp_path: Path) -> None:
    """What is stored with the reply says so; a setting of the user's comes first."""
    cool = make_model(tmp_path / "cool.gguf", temperature=0.25)
    for settings, temperature in ((Settings(), 0.25), (Settings(said=("temperature",)), 0.7)):
        paths = find_paths({"CHATAPP_HOME": str(tmp_path / str(temperature))})
        with House(paths, replace(settings, model=str(cool), threads=1)) as house:
            session = house.session()
            prompt = session.begin("hello")
            list(session.stream(prompt.id, sampling=replace(session.sampling, max_tokens=3)))
            (reply,) = house.store().conversations.children(prompt.conversation, prompt.id)
            assert reply.provenance is not None
            assert reply.provenance.sampling.temperature == temperature
            list(session.alternatives(prompt.id, 1))
            hot = house.store().conversations.children(prompt.conversation, prompt.id)[-1]
            assert hot.provenance is not None and hot.provenance.sampling.temperature == 1.0
