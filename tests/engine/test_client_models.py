"""What the client loads, with real llama.cpp: models and adapters, good ones and others."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from chatapp.core.errors import EngineDied, ModelError
from chatapp.engine.base import AdapterSpec, ModelSpec
from tests.engine.asking import ask, run, texts
from tests.engine.conftest import Start
from tests.engine.tiny_gguf import CHATML, make_adapter, make_model


def test_what_is_loaded_is_described(start: Start, tiny: Path) -> None:
    seen: list[float] = []
    client = start(tiny, fresh=True)
    info = client.load(ModelSpec(tiny, "again"), seen.append)
    assert client.info == info
    assert (info.name, info.architecture, info.n_ctx, info.n_ctx_train) == ("again", "llama", 512, 512)
    assert info.cells == 9 * 512 and client.load(ModelSpec(tiny, "one", lanes=1)).cells == 512
    assert info.size == tiny.stat().st_size and len(info.sha256) == 64 and info.notice is None
    assert seen and seen[-1] == 1.0 and seen == sorted(seen)


def test_the_size_in_the_description_is_the_count_of_weights(start: Start, models: Path) -> None:
    info = start(make_model(models / "deep.gguf", layers=30)).info  # which llama.cpp takes for one of 256M
    assert info and info.description == f"llama {info.parameters / 1e6:.1f}M F16"


def test_an_adapter_that_cannot_come_back_is_not_left_out(start: Start, tiny: Path, tmp_path: Path) -> None:
    client = start(tiny, fresh=True)
    base = texts(client, ask(temperature=0))
    file = make_adapter(tmp_path / "lost.gguf")
    client.set_adapter(AdapterSpec("lost", file))
    tuned = texts(client, ask(temperature=0))
    hidden = file.rename(tmp_path / "elsewhere.gguf")
    assert client.pid
    os.kill(client.pid, signal.SIGKILL)
    with pytest.raises(EngineDied):
        run(client, ask())
    for _ in range(2):
        with pytest.raises(ModelError):
            run(client, ask())
    hidden.rename(file)
    assert texts(client, ask(temperature=0)) == tuned
    file.unlink()
    client.set_adapter(None)
    assert texts(client, ask(temperature=0)) == base


def test_a_split_model_answers_with_its_adapter(
    start: Start, tiny: Path, adapter: Path, models: Path
) -> None:
    client = start(make_model(models / "parts.gguf", split=8), fresh=True)
    request = ask(temperature=0)
    assert texts(client, request) == texts(start(tiny), request)
    client.set_adapter(AdapterSpec("strong", adapter))
    assert texts(client, request) != texts(start(tiny), request)


def test_an_adapter_is_switched_on_and_off(start: Start, tiny: Path, adapter: Path) -> None:
    client = start(tiny, fresh=True)
    request = ask(lanes=2, temperature=0.8)
    base = texts(client, request)
    client.set_adapter(AdapterSpec("strong", adapter))
    tuned = run(client, request)
    assert [reply.text for reply in tuned.replies] != base
    assert tuned.started and tuned.started.cached_tokens == 0
    client.set_adapter(AdapterSpec("off", adapter, scale=0.0))
    assert texts(client, request) == base
    client.set_adapter(None)
    assert texts(client, request) == base
    assert client.pid


def test_a_bad_adapter_is_refused_without_dying(start: Start, tiny: Path, tmp_path: Path) -> None:
    client = start(tiny)
    before = client.pid
    wrong = make_adapter(tmp_path / "wrong.gguf", width=96)
    nonsense = tmp_path / "nonsense.gguf"
    nonsense.write_bytes(b"GGUF" * 100)
    for path in (wrong, nonsense, tiny, tmp_path / "none.gguf"):
        with pytest.raises(ModelError):
            client.set_adapter(AdapterSpec("bad", path))
    assert run(client, ask()).replies[0].done
    assert client.pid == before


def test_llama_cpp_itself_refuses_an_adapter(tiny: Path, tmp_path: Path) -> None:
    """The second line of defence, behind the header check."""
    from chatapp.engine.llama import LlamaModel

    model = LlamaModel(tiny)
    with pytest.raises(ModelError, match="refuses the adapter"):
        model.adapter(make_adapter(tmp_path / "wrong.gguf", width=96))
    model.close()


def test_a_bad_model_leaves_the_old_one_in_use(start: Start, tiny: Path, tmp_path: Path) -> None:
    client = start(tiny, fresh=True)
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny.read_bytes()[:-64])
    # Passes the header check; llama.cpp does not know the architecture.
    unknown = tmp_path / "unknown.gguf"
    unknown.write_bytes(tiny.read_bytes().replace(b"llama", b"lxama"))
    for path in (broken, unknown, tmp_path, tmp_path / "none.gguf"):
        with pytest.raises(ModelError) as caught:
            client.load(ModelSpec(path, "bad"))
        assert "\n" not in str(caught.value)
    assert run(client, ask()).replies[0].done
    assert client.info and client.info.name == "tiny"


def test_a_template_that_hangs_is_replaced(start: Start, models: Path) -> None:
    hang = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    client = start(make_model(models / "hang.gguf", template=hang + CHATML))
    assert client.info and client.info.notice and "longer than" in client.info.notice
    assert run(client, ask()).replies[0].done
