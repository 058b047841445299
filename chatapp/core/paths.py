"""Where things live: the only file that knows. `CHATAPP_HOME` puts everything into one folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from chatapp.core.errors import FileError


@dataclass(frozen=True, slots=True)
class Paths:
    config: Path
    data: Path
    state: Path
    cache: Path

    @property
    def database(self) -> Path:
        return self.data / "chatapp.db"

    @property
    def settings(self) -> Path:
        return self.config / "config.toml"

    @property
    def models(self) -> Path:
        return self.data / "models"

    @property
    def adapters(self) -> Path:
        return self.data / "adapters"

    @property
    def runs(self) -> Path:
        return self.state / "runs"

    @property
    def draft(self) -> Path:
        return self.state / "draft.txt"

    @property
    def log(self) -> Path:
        return self.state / "chatapp.log"

    def make(self) -> None:
        """Create the folders, readable by their owner alone. Errors: `FileError`."""
        try:
            for folder in (self.config, self.data, self.state, self.cache):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise FileError.of(error, "make the folder") from error


def find_paths(environment: dict[str, str] | None = None) -> Paths:
    """The folders for this user: `CHATAPP_HOME` when it is set, platformdirs' otherwise."""
    env = os.environ if environment is None else environment
    if home := env.get("CHATAPP_HOME"):
        root = expanded(home).absolute()
        return Paths(root / "config", root / "data", root / "state", root / "cache")
    import platformdirs

    def folder(kind: str) -> Path:
        return Path(getattr(platformdirs, f"user_{kind}_path")("chatapp", appauthor=False))

    return Paths(folder("config"), folder("data"), folder("state"), folder("cache"))


def expanded(path: str | Path) -> Path:
    """`path` with the home folder for `~`; where nobody is called so, `~name` is a name like another."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def embedded_model() -> Path:
    """The GGUF file that comes with the program."""
    return _shipped("_models/guide.gguf", "models/default/guide.gguf")


def replay_dialogues() -> Path:
    """The general dialogue that trainings mix in: JSON lines of `{"messages": [...]}`."""
    return _shipped("_data/replay.jsonl", "data/replay/dialogues.jsonl")


def _shipped(packaged: str, checkout: str) -> Path:
    """A file inside the wheel, or where a checkout has it."""
    inside = Path(str(resources.files("chatapp"))) / packaged
    return inside if inside.exists() else Path(__file__).resolve().parents[2] / checkout
