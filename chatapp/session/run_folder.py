"""One run of the trainer on disk: what was asked for, all that it works on, what it said, what came of it.

A run that was stopped goes on with what lies here, whatever was ranked since.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from chatapp.core.errors import NotFound, TrainingError
from chatapp.core.types import Group, Turn
from chatapp.preferences.formats import rankings
from chatapp.preferences.formats.fields import BadRow, messages, turns
from chatapp.preferences.formats.load import load
from chatapp.training.progress import Listener, json_lines

Dialogue = tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class RoundInput:
    """All that a round works on, as text."""

    groups: list[Group]
    prompts: list[Dialogue]
    """Of the person's own conversations, unranked, on the held-out side; each ends with the user."""
    mix: list[Dialogue]
    """General dialogue to mix in."""
    untouched: list[Dialogue]
    """General dialogue that is never trained on."""


class RunFolder:
    """Readable by its owner alone; one process at a time works in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    @classmethod
    def new(cls, runs: Path) -> RunFolder:
        """A folder named after this moment."""
        runs.mkdir(parents=True, exist_ok=True, mode=0o700)
        moment = time.strftime("%Y%m%d-%H%M%S")
        number = 1
        while True:
            path = runs / (moment if number == 1 else f"{moment}-{number}")
            try:
                path.mkdir(mode=0o700)
                return cls(path)
            except FileExistsError:
                number += 1

    @classmethod
    def find(cls, runs: Path, name: str) -> RunFolder:
        """The run of this name; `last` is the newest that did not end. Errors: `NotFound`."""
        begun = cls.begun(runs)
        unfinished = [each for each in begun if not each.outcome_file.exists()]
        if name == "last":
            if not unfinished:
                raise NotFound("no training was stopped before its end", "start one with `chatapp train`")
            return unfinished[-1]
        found = next((each for each in begun if each.name == name), None)
        if found is None:
            known = ", ".join(each.name for each in unfinished[-3:]) or "none"
            raise NotFound(f"there is no run {name!r}", f"stopped before their end: {known}")
        return found

    @classmethod
    def begun(cls, runs: Path) -> list[RunFolder]:
        """All runs, the oldest first."""
        return [cls(each.parent) for each in sorted(runs.glob("*/run.json"))]

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def going_on(self) -> bool:
        """Whether somebody works in this folder."""
        try:
            with (self.path / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return isinstance(error, BlockingIOError)
        return False

    @property
    def stages(self) -> Path:
        """The trainer's own folder."""
        return self.path / "stages"

    @property
    def outcome_file(self) -> Path:
        return self.path / "outcome.json"

    @property
    def adapter_file(self) -> Path:
        return self.path / "adapter.gguf"

    @property
    def reward_file(self) -> Path:
        return self.path / "reward.gguf"

    def __enter__(self) -> RunFolder:
        """Errors: `TrainingError` when another process works in this folder."""
        self._lock = (self.path / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise TrainingError(f"run {self.name} is going on", "wait for its end, or stop it") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()

    # What was asked for, and what came of it

    def write_request(self, request: Mapping[str, Any]) -> None:
        self._write("run.json", json.dumps(request, indent=1) + "\n")

    def request(self) -> dict[str, Any]:
        return self._read("run.json")

    def write_outcome(self, outcome: Mapping[str, Any]) -> None:
        """The last thing that a run does; what it could have gone on from is removed."""
        self._write("outcome.json", json.dumps(outcome, indent=1) + "\n")
        for checkpoint in self.stages.glob("*/checkpoint.pt"):
            checkpoint.unlink()

    def outcome(self) -> dict[str, Any] | None:
        """None for a run that did not end."""
        return self._read("outcome.json") if self.outcome_file.exists() else None

    @contextmanager
    def events(self) -> Iterator[Listener]:
        """Within it the listener writes down what the run says of itself."""
        with (self.path / "events.jsonl").open("a", encoding="utf-8") as file:
            yield json_lines(file)

    # What it works on

    def write_input(self, given: RoundInput) -> None:
        self._write("groups.jsonl", _lines(rankings.rows(given.groups)))
        for name, dialogues in _dialogues(given).items():
            write_dialogues(self.path / f"{name}.jsonl", dialogues)

    def read_input(self) -> RoundInput:
        rest = {name: read_dialogues(self.path / f"{name}.jsonl") for name in ("prompts", "mix", "untouched")}
        return RoundInput(self.groups(), **rest)

    def groups(self) -> list[Group]:
        """The judgements that the run began with. Errors: `OSError` where they are not there."""
        file = self.path / "groups.jsonl"
        return load(file, "rankings").groups if file.stat().st_size else []

    def _write(self, name: str, text: str) -> None:
        _write(self.path / name, text)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"run {self.name} cannot be gone on with: {name} is damaged") from error
        return dict(found)


def _dialogues(given: RoundInput) -> dict[str, Sequence[Dialogue]]:
    return {"prompts": given.prompts, "mix": given.mix, "untouched": given.untouched}


def write_dialogues(file: Path, dialogues: Iterable[Dialogue]) -> None:
    """What `read_dialogues` reads, in one piece."""
    _write(file, _lines({"messages": messages(each)} for each in dialogues))


def _write(file: Path, text: str) -> None:
    new = file.with_name(f"{file.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(file)


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def read_dialogues(file: Path) -> list[Dialogue]:
    """Conversations from an SFT file: `messages`, or `prompt` and `completion`, one object a line.

    Errors: `FormatError` when it cannot be read, `TrainingError` when no line of it is a conversation.
    """
    from chatapp.preferences.formats import trl
    from chatapp.preferences.formats.reader import Malformed, read_rows

    found: list[Dialogue] = []
    lines = 0
    for _, row in read_rows(file):
        lines += 1
        if isinstance(row, Malformed):
            continue
        try:
            if "messages" in row:
                found.append(turns(row["messages"], "messages"))
            else:
                [group] = trl.sft_group(row)
                found.append((*group.prompt, Turn("assistant", group.replies[0].text)))
        except BadRow:
            continue
    if lines and not found:
        raise TrainingError(
            f"{file.name} holds no conversation",
            "one object a line, with `messages` or `prompt` and `completion`",
        )
    return found
