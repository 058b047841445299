"""Alternatives by two adapters of the embedded model, in real llama.cpp."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chatapp.core.errors import ModelError
from chatapp.core.paths import find_paths
from chatapp.core.settings import Settings
from chatapp.core.types import Message, Sampling
from chatapp.engine.base import AdapterSpec, Event, ModelSpec, Request, Started, gather
from chatapp.engine.scripted import ScriptedEngine
from chatapp.engine.tuning import TuningClient
from chatapp.session.rival import Rival, TwoWriters, rival_of
from chatapp.session.session import Session
from chatapp.session.updates import Began, Finished, Removed, Replaced, Text
from chatapp.session.wiring import House
from tests.session.guide_adapters import guide_sha256, register, write_random_adapter

SHORT = Sampling(seed=11, max_tokens=16)


class Recorder(TuningClient):
    """Llama.cpp, and what it was asked for."""

    def __init__(self, cache: Path) -> None:
        super().__init__(cache)
        self.asked: list[tuple[str | None, Request]] = []
        self.cached: list[int] = []

    def generate(self, request: Request) -> Iterator[Event]:
        self.asked.append((self._adapter.name if self._adapter else None, request))
        for event in super().generate(request):
            if isinstance(event, Started):
                self.cached.append(event.cached_tokens)
            yield event


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path_factory.mktemp("cache"))
    yield recorder
    recorder.close()


@pytest.fixture
def house(tmp_path: Path, engine: Recorder) -> Iterator[House]:
    """r1 and r2 <- r1 and r3 <- r2, with r2 in use."""
    built = House(find_paths({"CHATAPP_HOME": str(tmp_path)}), Settings(threads=1, sampling=SHORT))
    built._engine = engine
    for name, parent in (("r1", None), ("r2", "r1"), ("r3", "r2")):
        register(built, name, parent)
    built.store().adapters.choose(guide_sha256(), "r2", "use")
    engine.asked.clear()
    engine.cached.clear()
    yield built
    built.stores.close()
    built._registry.close()


def begun(session: Session) -> Message:
    prompt = session.begin("What can you do?")
    for _ in session.stream(prompt.id):
        pass
    return prompt


def written(session: Session, prompt: Message, n: int) -> dict[int, Message]:
    """The replies by lane."""
    lanes = {}
    for update in session.alternatives(prompt.id, n, sampling=replace(SHORT, temperature=1.0)):
        match update:
            case Finished(reply, lane):
                lanes[lane] = reply
            case Replaced(lane=lane) | Removed(lane=lane):
                lanes.pop(lane)
    return lanes


def writer(message: Message) -> str | None:
    assert message.provenance is not None
    return message.provenance.adapter


def test_each_reply_is_what_its_adapter_writes_alone(house: House, engine: Recorder) -> None:
    session = house.session()
    prompt = begun(session)
    assert writer(session.path()[-1]) == "r2"
    engine.asked.clear()
    lanes = written(session, prompt, 5)
    assert sorted(lanes) == list(range(5))
    writers = [writer(lanes[lane]) for lane in range(5)]
    assert (writers.count("r2"), writers.count("r1")) == (2, 3)
    sources = [each.provenance for each in lanes.values()]
    assert len({source.sampling.seed for source in sources if source}) == 5
    texts = {each.text for each in lanes.values()}
    assert len(texts) == 5
    with TemporaryEngine(engine, house.spec()) as alone:
        replayed: dict[tuple[str | None, int | None], str] = {}
        for name, request in list(engine.asked):
            alone.set_adapter(house.adapter(name))
            for reply in gather(alone.generate(request), request.lanes).replies:
                assert reply.done is not None
                replayed[name, reply.done.seed] = reply.text
    for source, text in ((each.provenance, each.text) for each in lanes.values()):
        assert source is not None
        assert replayed[source.adapter, source.sampling.seed] == text


class TemporaryEngine:
    """Another process with the same model."""

    def __init__(self, like: TuningClient, spec: ModelSpec) -> None:
        self._client = TuningClient(like._cache)
        self._spec = spec

    def __enter__(self) -> TuningClient:
        self._client.load(self._spec)
        return self._client

    def __exit__(self, *_: object) -> None:
        self._client.close()


def test_nothing_of_one_adapter_is_in_the_cache_of_the_other(house: House, engine: Recorder) -> None:
    session = house.session()
    prompt = begun(session)
    written(session, prompt, 4)
    (_, first, second, *_), (_, cached_by_first, cached_by_second, *_) = engine.asked, engine.cached
    assert first[0] != second[0]
    assert (cached_by_first > 0) == (first[0] == "r2")
    assert cached_by_second == 0


def test_the_next_reply_is_by_the_adapter_in_use(house: House, engine: Recorder) -> None:
    session = house.session()
    prompt = begun(session)
    first = session.path()[-1]
    last = set()
    for seed in range(6):
        sampling = replace(SHORT, seed=seed, max_tokens=4)
        for update in session.alternatives(prompt.id, 2, sampling=sampling):
            if isinstance(update, Text):
                session.prepare()  # as a screen may ask meanwhile: it must not switch between the two
        last.add(engine.asked[-1][0])
        assert engine._adapter is not None and engine._adapter.name == "r2"
    assert last == {"r1", "r2"}
    for _ in session.stream(prompt.id):
        pass
    again = session.path()[-1]
    assert again.id != first.id
    assert (writer(again), again.text) == ("r2", first.text)


def test_repeats_are_replaced_across_both(house: House) -> None:
    """r3 is a copy of r2: at temperature 0 both say one thing. (Of some prompts only: with random weights two
    tokens may be so nearly as probable that the size of the batch decides.)"""
    copy = house.paths.adapters / "r3" / "adapter.gguf"
    write_random_adapter(copy, seed=2)
    session = house.session()
    session.use(session.spec, house.adapter("r3"))
    prompt = session.begin("How do I rank replies?")
    seen: list[type] = []
    for update in session.alternatives(prompt.id, 4, sampling=replace(SHORT, temperature=0.0)):
        seen.append(type(update))
    left = [each for each in session.messages() if each.role == "assistant"]
    assert len(left) == 1
    assert Replaced in seen and Removed in seen
    assert {writer(each) for each in left} <= {"r2", "r3"}


def test_a_stop_stops_both_and_the_adapter_in_use_comes_back(house: House, engine: Recorder) -> None:
    session = house.session()
    prompt = begun(session)
    engine.asked.clear()
    began = 0
    for update in session.alternatives(prompt.id, 6, sampling=replace(SHORT, max_tokens=400)):
        began += isinstance(update, Began)
        if isinstance(update, Text):
            session.cancel()
    assert len(engine.asked) == 1 and began == 3
    assert engine._adapter is not None and engine._adapter.name == "r2"


def test_an_abandoned_batch_leaves_nothing_behind(house: House, engine: Recorder) -> None:
    session = house.session()
    prompt = begun(session)
    updates = session.alternatives(prompt.id, 4)
    while not isinstance(next(updates), Text):
        pass
    updates.close()  # type: ignore[attr-defined]
    for _ in session.stream(prompt.id):
        pass
    assert engine.asked[-1][0] == "r2"


# Who has a rival


def test_the_rival_is_the_parent_or_the_base(house: House) -> None:
    store = house.store()
    assert rival_of(store, house.adapter("r3")) == Rival(house.adapter("r2"))
    assert rival_of(store, house.adapter("r1")) == Rival(None)
    store.adapters.delete("r2")
    assert rival_of(store, house.adapter("r3")) == Rival(house.adapter("r1"))
    (house.paths.adapters / "r1" / "adapter.gguf").unlink()
    assert rival_of(store, AdapterSpec("r3", house.paths.adapters / "r3" / "adapter.gguf")) is None


def test_the_base_and_files_have_none(house: House, tmp_path: Path) -> None:
    assert rival_of(house.store(), house.adapter("base")) is None
    mine = house.adapter(str(write_random_adapter(tmp_path / "r2", 9)))
    assert mine is not None and mine.name != "r2"
    assert rival_of(house.store(), mine) is None


def test_the_setting_switches_it_off(house: House, engine: Recorder) -> None:
    session = house.with_settings(rival=False).session()
    prompt = begun(session)
    assert {writer(each) for each in written(session, prompt, 4).values()} == {"r2"}
    assert {name for name, _ in engine.asked} == {"r2"}


def test_a_scripted_engine_has_none(tmp_path: Path) -> None:
    engine = ScriptedEngine(pace=0)
    with House(find_paths({"CHATAPP_HOME": str(tmp_path)}), Settings(), engine) as house:
        made = replace(register(house, "r1"), name="r2", model_sha256=house.model_sha256())
        house.store().adapters.add(made)
        house.store().adapters.choose(made.model_sha256, "r2", "use")
        session = house.session()
        assert session.adapter is not None and session.adapter.name == "r2"
        prompt = begun(session)
        assert {writer(each) for each in written(session, prompt, 4).values()} == {"r2"}


@pytest.mark.parametrize("n", range(1, 10))
def test_lanes_are_shared_and_seeds_are_not(n: int) -> None:
    own, other = AdapterSpec("own", Path("own")), None
    asked: list[tuple[AdapterSpec | None, tuple[int, ...], int, int | None]] = []

    def write(
        adapter: AdapterSpec | None, numbers: tuple[int, ...], first: int, seed: int | None, _: int
    ) -> None:
        asked.append((adapter, numbers, first, seed))

    writers = TwoWriters(own, other, n, None, write, lambda _: None)  # type: ignore[arg-type]
    writers(tuple(range(n)), 0, None, 0)
    shares = {adapter: numbers for adapter, numbers, _, _ in asked}
    assert sorted(sum(shares.values(), ())) == list(range(n))
    assert len(shares[other]) - len(shares.get(own, ())) == n % 2
    seeds = [first + lane for _, numbers, first, _ in asked for lane in range(len(numbers))]
    assert seeds == list(range(n))
    assert len({seed for *_, seed in asked}) == 1
    asked.clear()
    writers((n - 1,), n, 5, 1)
    [(adapter, numbers, first, _)] = asked
    assert (numbers, first) == ((n - 1,), n) and n - 1 in shares[adapter]


def test_the_seed_decides_who_writes_which_lane() -> None:
    def shares(seed: int) -> list[object]:
        asked: list[object] = []
        writers = TwoWriters(None, AdapterSpec("b", Path("b")), 4, seed, lambda *a: asked.append(a), print)  # type: ignore[arg-type]
        writers((0, 1, 2, 3), 0, None, 0)
        return [(each[0], each[1]) for each in asked]  # type: ignore[index]

    assert shares(3) == shares(3)
    found = {repr(shares(seed)) for seed in range(40)}
    assert len(found) > 6


# Which adapter the house takes


def test_active_is_resolved_by_name(house: House) -> None:
    assert house.settings.adapter == "active"
    assert house.adapter() == AdapterSpec("r2", house.paths.adapters / "r2" / "adapter.gguf")
    house.store().adapters.rollback(guide_sha256())
    assert (found := house.adapter()) is not None and found.name == "r1"
    house.store().adapters.rollback(guide_sha256())
    assert house.adapter() is None


def test_an_adapter_of_another_base_is_refused_before_the_engine(house: House, tmp_path: Path) -> None:
    stranger = write_random_adapter(tmp_path / "stranger.gguf", 5, base_sha256="0" * 64)
    with pytest.raises(ModelError, match="trained on another model file") as error:
        house.adapter(str(stranger))
    assert error.value.hint
    made = replace(
        house.store().adapters.get("r3"), name="r4", parent=None, model_sha256="0" * 64, model="mistral"
    )
    house.store().adapters.add(made)
    with pytest.raises(ModelError, match=r"another model file \(mistral\)") as error:
        house.adapter("r4")
    assert "-m" in error.value.hint
