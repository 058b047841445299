"""How much one more reply adds to the pairs of words of many: where `training.repetition.SHARED` comes from.

    CHATAPP_TEST_DATA=DIR python -m tests.bench.variety [--adapter FILE]

Replies of the embedded model to development prompts, as the chat samples them and as RLOO does (temperature
1). For the first 16, 32, ... of them: N pairs of neighbouring words, of which U are different and s stand in
another of these replies or earlier in the same one; the ratio is (1 - U/N) over s/N. Then what all of them
say: pairs, those that a reply says again, the share that asks something back, and how many were cut off or
are word for word what the chat says to another prompt.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from chatapp.core.paths import embedded_model
from chatapp.engine.base import AdapterSpec, ModelSpec
from chatapp.engine.tuning import TuningClient
from chatapp.training.evaluate import words
from chatapp.training.rollouts import UNFILTERED
from tests.bench import tastes
from tests.bench.ranked import Bench


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--adapter", type=Path, help="of a training; without it, the model alone")
    options = parser.parse_args()
    model = embedded_model()
    material = tastes.material(Path(os.environ["CHATAPP_TEST_DATA"]), "dev", label=600, test=200)
    with TemporaryDirectory() as folder:
        engine, spec = TuningClient(Path(folder)), ModelSpec(model, "bench", threads=2)
        engine.load(spec)
        try:
            engine.set_adapter(options.adapter and AdapterSpec("bench", options.adapter))
            chat = Bench(model, engine, spec, material, Path(folder), 2, options).first
            prompts = [engine.encode(each).ids for each in material.test]
            chatted: list[set[tuple[str, ...]]] = []
            for name, sampling in (("chat", chat), ("RLOO", replace(UNFILTERED, max_tokens=chat.max_tokens))):
                drawn = engine.rollout(prompts, 2, replace(sampling, seed=5))
                replies = [each for own in drawn for each in own]
                said = [list(pairwise(words(each.text))) for each in replies]
                chatted = chatted or [{tuple(words(each.text)) for each in own} for own in drawn]
                heard = Counter(whole for own in chatted for whole in own)
                same = sum(
                    heard[whole] > (whole in theirs)
                    for own, theirs in zip(drawn, chatted, strict=True)
                    for whole in (tuple(words(each.text)) for each in own)
                )
                for count in (16, 32, 64, 128, 200):
                    pairs = said[::2][:count]
                    spread = Counter(pair for own in pairs for pair in set(own))
                    total = sum(map(len, pairs))
                    new = sum(spread[pair] == 1 for own in pairs for pair in set(own))
                    distinct, already = len(spread) / total, 1 - new / total
                    ratio = (1 - distinct) / already
                    print(f"{name} {count}: U/N {distinct:.3f}, s/N {already:.3f}, ratio {ratio:.2f}")
                again = sum(len(own) - len(set(own)) for own in said)
                asks = sum("?" in each.text for each in replies) / len(replies)
                cut = sum(each.finish_reason != "stop" for each in replies)
                print(
                    f"{name}: {sum(map(len, said))} pairs in {len(replies)} replies, {again} said again by "
                    f"the same reply; {asks:.1%} ask, {cut} were cut off, {same} are said to another prompt"
                )
        finally:
            engine.close()


if __name__ == "__main__":
    main()
