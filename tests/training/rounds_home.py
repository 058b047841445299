"""A folder of one's own with a tiny random model and rankings for it: a whole round takes seconds."""

from __future__ import annotations

import json
from pathlib import Path

from chatapp.core.paths import find_paths
from chatapp.core.settings import Settings, load_settings
from chatapp.core.types import Group, GroupReply, Turn
from chatapp.session.wiring import House
from tests.training.architectures import make


def groups(count: int, start: int = 0, adapter: str | None = None) -> list[Group]:
    """Replies with a question mark are the better ones."""
    return [
        Group(
            (Turn("user", f"about w{n}"),),
            tuple(
                GroupReply(text, "model", "tiny", adapter=adapter) for text in (f"w{n} no", f"w{n} ok?", "hm")
            ),
            ((1,), (0, 2)),
        )
        for n in range(start, start + count)
    ]


def make_home(home: Path, count: int) -> Path:
    """The tiny model's file; `mix.jsonl` lies beside it."""
    home.mkdir()
    config = home / "config"
    config.mkdir()
    # Replies of a random model seldom end by themselves.
    (config / "config.toml").write_text("[sampling]\nmax_tokens = 3\n")
    lines = (
        {"messages": [{"role": "user", "content": f"hello {n}"}, {"role": "assistant", "content": f"hi {n}"}]}
        for n in range(40)
    )
    mix_file(home).write_text("".join(json.dumps(each) + "\n" for each in lines))
    if count:
        with house(home) as made:
            made.store().groups.add(groups(count), "Ranked", "chat")
    return make(home / "tiny.gguf", "llama")


def mix_file(home: Path) -> Path:
    return home / "mix.jsonl"


def house(home: Path) -> House:
    paths = find_paths({"CHATAPP_HOME": str(home)})
    return House(paths, load_settings(paths.settings, {}) if paths.settings.exists() else Settings())
