"""Opens the chat with an engine whose every word is the time at which it was said (monotonic nanoseconds).

    python -m tests.e2e.chat_with_clock SECONDS_BETWEEN_WORDS

What the database holds after a SIGKILL then tells how much of the reply was lost, in time.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence

from chatapp.core.paths import find_paths
from chatapp.core.settings import load_settings
from chatapp.core.types import Turn
from chatapp.engine.base import AdapterSpec, Delta, Event, LaneDone, ModelInfo, ModelSpec, Request, Started
from chatapp.engine.scripted import ScriptedEngine
from chatapp.session.wiring import House
from chatapp.tui.app import ChatApp


class ClockEngine:
    """Implements `base.Engine`: says the time, word by word, until it is stopped."""

    def __init__(self, pace: float) -> None:
        self._pace = pace
        self._scripted = ScriptedEngine(pace=0)
        self._stopped = False

    @property
    def info(self) -> ModelInfo | None:
        return self._scripted.info

    def load(self, spec: ModelSpec, progress: Callable[[float], None] | None = None) -> ModelInfo:
        return self._scripted.load(spec, progress)

    def set_adapter(self, adapter: AdapterSpec | None) -> None:
        self._scripted.set_adapter(adapter)

    def generate(self, request: Request) -> Iterator[Event]:
        self._stopped = False
        begun = time.monotonic()
        yield Started(1, 0, 0, 4096, 0)
        words = 0
        while not self._stopped:
            time.sleep(self._pace)
            words += 1
            yield Delta(0, f"{time.monotonic_ns()} ")
        yield LaneDone(0, "cancelled", words, self._pace, time.monotonic() - begun, 0)

    def count(self, turns: Sequence[Turn]) -> int:
        return self._scripted.count(turns)

    def cancel(self) -> None:
        self._stopped = True

    def close(self) -> None:
        self.cancel()


if __name__ == "__main__":
    paths = find_paths()
    with House(paths, load_settings(paths.settings), ClockEngine(float(sys.argv[1]))) as house:
        ChatApp(house).run()
