"""What a measurement of speed found: medians with their quartiles, and the app against llama.cpp."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatapp.engine.base import ModelInfo
from chatapp.engine.threads import cores

MEASURES = {
    "prompt": "tokens/s",
    "generation": "tokens/s",
    "alternatives": "tokens/s",
    "first_token": "s",
    "load": "s",
}
"""What is measured -> its unit. `alternatives` counts the tokens of all of them together."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some values with the quartiles around it; of one value all three are that value."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


@dataclass(frozen=True, slots=True)
class SpeedReport:
    """One value of each measure for each round and side."""

    info: ModelInfo
    adapter: str | None
    threads: tuple[int, int]
    """For one token and for a batch; the same on both sides."""
    prompt_tokens: int
    reply_tokens: int
    lanes: int
    load_average: float
    """Of the last minute before; how many processes wanted a core."""
    seconds: float
    app: Mapping[str, Sequence[float]]
    plain: Mapping[str, Sequence[float]]

    @property
    def rounds(self) -> int:
        return len(self.app["prompt"])

    @property
    def busy(self) -> bool:
        """Whether others held the processor, so that the wall clock says less of either side."""
        return self.load_average > cores() / 2

    def ratio(self, measure: str) -> Spread:
        """The app against llama.cpp in the same round: of speeds more is better, of times less."""
        return Spread.of(self._ratios(measure))

    def _ratios(self, measure: str) -> list[float]:
        pairs = zip(self.app[measure], self.plain[measure], strict=True)
        return [app / plain for app, plain in pairs]

    def to_json(self) -> dict[str, Any]:
        """One object; `values` has a figure for each round."""
        from chatapp.engine import probe

        return {
            "model": self.info.name,
            "adapter": self.adapter,
            "description": self.info.description,
            "size": self.info.size,
            "parameters": self.info.parameters,
            "n_ctx": self.info.n_ctx,
            "machine": probe.machine(),
            "llama_cpp_python": probe.build(),
            "threads": list(self.threads),
            "load_average": self.load_average,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "prompt_tokens": self.prompt_tokens,
            "reply_tokens": self.reply_tokens,
            "alternatives": self.lanes,
            "measures": {
                name: {
                    "unit": unit,
                    "app": _figures(self.app[name]),
                    "llama_cpp": _figures(self.plain[name]),
                    "ratio": _figures(self._ratios(name)),
                }
                for name, unit in MEASURES.items()
            },
        }


def _figures(values: Sequence[float]) -> dict[str, Any]:
    spread = Spread.of(values)
    return {"median": spread.median, "low": spread.low, "high": spread.high, "values": list(values)}
