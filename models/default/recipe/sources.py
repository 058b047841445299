"""The public places of the data, and a download of them."""
from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from pathlib import Path

_SGD = ("https://raw.githubusercontent.com/google-research-datasets/"
        "dstc8-schema-guided-dialogue/master/train/dialogues_{:03d}.json")
_TM4 = ("https://raw.githubusercontent.com/google-research-datasets/"
        "Taskmaster/master/TM-4-2024/data/data_{:02d}.json")
_TC = ("https://raw.githubusercontent.com/alexa/Topical-Chat/master/"
       "conversations/{}.json")
_CB = ("https://raw.githubusercontent.com/gunthercox/chatterbot-corpus/"
       "master/chatterbot_corpus/data/english/{}.yml")
_OASST = ("https://huggingface.co/datasets/OpenAssistant/oasst1/resolve/main/"
          "2023-04-12_oasst_ready.trees.jsonl.gz")
CHATTERBOT = ("ai", "botprofile", "conversations", "emotion", "food",
              "gossip", "greetings", "humor", "psychology")


@dataclass(frozen=True)
class Source:
    """One corpus: where it comes from and under which licence."""

    name: str
    title: str
    home: str
    licence: str
    files: dict[str, str]


SOURCES = [
    Source("sgd", "Schema-Guided Dialogue",
           "google-research-datasets/dstc8-schema-guided-dialogue",
           "CC BY-SA 4.0", {f"sgd/dialogues_{i:03d}.json": _SGD.format(i)
                            for i in range(1, 128)}),
    Source("topical", "Topical-Chat", "alexa/Topical-Chat",
           "CDLA-Sharing-1.0", {f"topical-chat/{n}.json": _TC.format(n)
                                for n in ("valid_freq", "valid_rare",
                                          "test_freq", "test_rare")}),
    Source("taskmaster", "Taskmaster-4",
           "google-research-datasets/Taskmaster", "CC BY 4.0",
           {f"taskmaster/data_{i:02d}.json": _TM4.format(i)
            for i in range(8)}),
    Source("oasst", "Open-Assistant", "LAION-AI/Open-Assistant",
           "Apache-2.0", {"oasst/en_trees_a.jsonl.gz": _OASST}),
    Source("chatterbot", "chatterbot-corpus",
           "gunthercox/chatterbot-corpus", "BSD-3-Clause",
           {f"chatterbot/{n}.yml": _CB.format(n) for n in CHATTERBOT}),
]


def download(folder: Path) -> None:
    """Fetch every public file that `folder` lacks."""
    for source in SOURCES:
        for name, url in source.files.items():
            target = folder / name
            if target.exists() or target.with_name(name + ".gz").exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            print(f"{source.title}: {url}", flush=True)
            part = target.with_name(target.name + ".part")
            urllib.request.urlretrieve(url, part)
            part.replace(target)
