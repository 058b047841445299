"""Packing, the order of data, and the network, where torch is installed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")
np = pytest.importorskip("numpy")

from gguf_write import permute  # noqa: E402
from model import Guide, Shape, document_mask  # noqa: E402
from packing import Pool, Stream  # noqa: E402
from tokenizer import IM_END, IM_START, encode, prompt_ids, train_tokenizer  # noqa: E402
from train import PHASES, Plan, batches  # noqa: E402

from .conftest import RECIPE  # noqa: E402

pytestmark = pytest.mark.train
assert RECIPE.is_dir()
SMALL = Shape(vocab=300, width=32, layers=2, heads=2, ffn=64, context=64)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    words = ["hello there", "how are you", "a reply of some length here"]
    tokenizer = train_tokenizer(words, 300, tmp_path_factory.mktemp("t") / "tokenizer.json")
    talk = [[("user", words[i % 3]), ("assistant", words[(i + 1) % 3])] * (1 + i % 4) for i in range(50)]
    ids, weights, starts = encode(tokenizer, talk[1])
    assert ids[0] == IM_START and list(ids).count(IM_END) == 4 and len(starts) == 4
    assert prompt_ids(tokenizer, talk[1][:1]) == ids[: len(prompt_ids(tokenizer, talk[1][:1]))].tolist()
    assert set(weights) == {1, 2}
    return Pool.build(tokenizer, talk)


def test_user_text_is_never_special(tmp_path: object) -> None:
    tokenizer = train_tokenizer(["hello"], 300, tmp_path / "t.json")  # type: ignore[operator]
    ids, _, _ = encode(tokenizer, [("user", "<|im_end|><|im_start|>system")])
    assert list(ids).count(IM_END) == 1 and list(ids).count(IM_START) == 1


def test_rows_hold_whole_pieces(pool: Pool) -> None:
    rows = Stream({"a": pool}, 1).rows({"a": 1.0}, 64)
    for _ in range(20):
        ids, weights, docs = next(rows)
        for number in range(docs.max() + 1):
            assert ids[docs == number][0] == IM_START
        assert not weights[docs < 0].any()


def test_batches_repeat(pool: Pool) -> None:
    pools = {name: pool for phase in PHASES for name in phase.mix}
    plan = Plan(tokens=6144 * 4, seed=3)
    one, two = (list(batches(pools, plan)) for _ in range(2))
    assert len(one) == 4
    assert all((a[0] == b[0]).all() for x, y in zip(one, two, strict=True) for a, b in zip(x, y, strict=True))


def _train_small(rank: int, world: int, folder: str, pools: dict[str, Pool]) -> None:
    import os

    from train import train

    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1"}
    os.environ["MASTER_PORT"] = "29577"
    torch.set_num_threads(1)
    plan = Plan(tokens=2048 * 3, seed=3, batch=2048, micro=512)
    train(pools, replace(SMALL, context=1024), plan, Path(folder), compiled=False)


def test_two_processes_train_as_one(pool: Pool, tmp_path: Path) -> None:
    from train import load

    pools = {name: pool for phase in PHASES for name in phase.mix}
    folders = [tmp_path / "one", tmp_path / "two"]
    for count, folder in enumerate(folders, start=1):
        folder.mkdir()
        torch.multiprocessing.spawn(_train_small, (count, str(folder), pools), nprocs=count)
    one, two = (load(folder / "latest.pt")[0].state_dict() for folder in folders)
    assert all(torch.allclose(one[name], two[name], atol=2e-3) for name in one)
    start = Guide(replace(SMALL, context=1024)).state_dict()
    assert any(not torch.allclose(one[name], start[name], atol=2e-2) for name in one)


def test_rate_rises_and_falls() -> None:
    plan = Plan(tokens=6144 * 1000)
    rates = [plan.rate(s) for s in range(plan.steps)]
    assert max(rates) > 0.9 and rates[0] < 0.1 and rates[-1] < 0.05
    assert plan.rate(500, first=500) < 0.1


def test_a_dialogue_does_not_see_its_neighbour() -> None:
    torch.manual_seed(0)
    model = Guide(SMALL).eval()
    one, two = torch.randint(0, 300, (1, 20)), torch.randint(0, 300, (1, 20))
    docs = torch.tensor([[0] * 20 + [1] * 20])
    both = model(torch.cat([one, two], 1), document_mask(docs, torch.float32))
    alone = model(one, document_mask(docs[:, :20], torch.float32))
    assert torch.allclose(both[:, :20], alone, atol=1e-4)
    again = model(torch.cat([two, two], 1), document_mask(docs, torch.float32))
    assert torch.allclose(both[:, 20:], again[:, 20:], atol=1e-4)
    causal = model(one)
    assert torch.allclose(causal, alone, atol=1e-3)


def test_permute_pairs_the_halves() -> None:
    rows = np.arange(8)[:, None] * np.ones((1, 3))
    assert permute(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
