"""`chatapp eval`: two sides beside each other, by the engine alone; no torch.

A side is an adapter or the base. Every figure has its 95% interval and says of how many it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from chatapp.core.errors import TrainingError, UsageError
from chatapp.core.types import Group
from chatapp.engine.base import AdapterSpec, Sample
from chatapp.preferences.wins import wilson
from chatapp.session.learned_from import unlearned
from chatapp.session.round_data import groups_of, longest, mix_of, openings, unranked_prompts
from chatapp.session.round_request import examined
from chatapp.session.round_result import json_safe
from chatapp.session.run_folder import Dialogue
from chatapp.training import evaluate
from chatapp.training.base import AT_ONCE, drawn_in_parts
from chatapp.training.data import (
    Data,
    RankingRow,
    SftRow,
    Side,
    ThumbRow,
    build,
    conversation_rows,
    encode_prompt,
)
from chatapp.training.evaluate import Figure
from chatapp.training.progress import Listener, Pace, silent
from chatapp.training.serve import ServedReward
from chatapp.training.settings import Settings

if TYPE_CHECKING:
    from chatapp.session.wiring import House

Suite = Literal["preferences", "behaviours", "perplexity"]
SUITES: tuple[Suite, ...] = ("preferences", "behaviours", "perplexity")
_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Report:
    """One suite. `figures`: name -> side (or `difference`, `ratio`) -> figure."""

    suite: Suite
    n: int
    of: str
    """What was counted."""
    adapter: str
    against: str
    figures: dict[str, dict[str, Figure]]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = json_safe(asdict(self))
        return found


class Evaluation:
    """Compares `adapter` (None: the one in use) with `against`. It has an engine of its own; close it.

    `files`: judgements of any format that `rankings import` reads, instead of one's own held-out ones.
    Errors: `UsageError` where both sides are the same, `TrainingError` where there is nothing to measure on,
    `NotFound`, `ModelError`, `FormatError`, `EngineError`.
    """

    def __init__(
        self,
        house: House,
        *,
        adapter: str | None = None,
        against: str = "base",
        files: Sequence[Path] = (),
        model: str | None = None,
        progress: Listener = silent,
    ) -> None:
        self._house, self._progress = house, progress
        self._groups: list[Group] | None = None
        self._notes: tuple[str, ...] = ()
        if files:
            self._groups, self._notes = groups_of(files)
        self._spec = house.spec(model)
        self._adapter = house.adapter(adapter, self._spec)
        self._against = house.adapter(against, self._spec)
        if self._adapter is None:
            if adapter is None:
                known = house.store().adapters.list(house.model_sha256(self._spec))
                hint = f"name one: --adapter {known[-1].name}" if known else "train first: `chatapp train`"
                raise UsageError("the base is in use: there is nothing to compare", hint)
            other = "NAME" if self._against is None else against
            raise UsageError(
                "the base is what an adapter is measured against", f"--adapter {other} --against base"
            )
        if self._against is not None and self._against.name == self._adapter.name:
            raise UsageError("two different sides can be compared", "name another one with --against")
        self._engine = house.another_engine()
        self._data: Data | None = None
        self._general: tuple[list[Dialogue], list[Dialogue]] | None = None

    def run(self, suite: Suite) -> Report:
        return {
            "preferences": self._preferences,
            "behaviours": self._behaviours,
            "perplexity": self._perplexity,
        }[suite]()

    # Preferences

    def _preferences(self) -> Report:
        side, notes = self._judgements()
        rows, thumbs = side.rankings, side.thumbs
        if not rows and not thumbs:
            hint = (
                "rank some more, or name a file with --data" if self._groups is None else "name another file"
            )
            raise TrainingError("; ".join(("there is no held-out ranking to measure on", *notes)), hint)
        figures: dict[str, dict[str, Figure]] = {}
        if rows:
            ours, theirs = (self._replies(each, rows) for each in (self._adapter, self._against))
            change = [[a - b for a, b in zip(*both, strict=True)] for both in zip(ours, theirs, strict=True)]
            marks = [_marks(scores, rows) for scores in (ours, theirs)]
            figures["pair_accuracy"] = {
                "adapter": _over_keys(marks[0], rows),
                "against": _over_keys(marks[1], rows),
                "difference": evaluate.lead(
                    [a - b for a, b in zip(*marks, strict=True)], [row.key for row in rows]
                ),
            }
            figures["change_accuracy"] = {"adapter": _over_keys(_marks(change, rows), rows)}
        if (reward := self._reward()) is not None:
            if rows:
                scores = [reward.score(self._engine, row.prompt, row.replies) for row in rows]
                found = _over_keys(_marks(scores, rows), rows)
                figures["reward_accuracy"] = {"adapter": found}
            if thumbs:
                figures |= self._thumbs(reward, thumbs)
                notes = (*notes, f"{len(thumbs)} thumbs, {sum(each.good for each in thumbs)} of them up")
        elif thumbs:
            notes = (*notes, f"{len(thumbs)} thumbs left out: the adapter has no reward model")
        return self._report("preferences", len(rows), "rankings", figures, notes)

    def _judgements(self) -> tuple[Side, tuple[str, ...]]:
        self._load()
        if self._groups is None:
            return self._own().held_out, ()
        names = [each.name for each in (self._adapter, self._against) if each is not None]
        fresh = unlearned(self._groups, names, self._house.store().adapters, self._house.paths.runs)
        notes = self._notes
        if left_out := len(self._groups) - len(fresh.groups):
            notes += (f"left out {left_out} judgements of {len(self._groups)}: they were trained on",)
        if fresh.unknown:
            unknown = ", ".join(fresh.unknown)
            notes += (f"what {unknown} learned from is not known here: it may be among these",)
        return build(fresh.groups, self._engine, max_tokens=longest(self._engine), share=0.0).train, notes

    def _own(self) -> Data:
        if self._data is None:
            self._load()
            self._data = build(self._house.store().groups.list(), self._engine)
        return self._data

    def _replies(self, side: AdapterSpec | None, rows: Sequence[RankingRow]) -> list[list[float]]:
        """log p(y|x) in nats of each reply of each row."""
        self._engine.set_adapter(side)
        texts = [row.prompt + reply for row in rows for reply in row.replies]
        scored = iter(self._engine.logprobs(texts))
        return [[math.fsum(next(scored).logprobs[-len(reply) :]) for reply in row.replies] for row in rows]

    def _reward(self) -> ServedReward | None:
        assert self._adapter is not None
        file = self._adapter.path.with_name("reward.gguf")
        return ServedReward(file) if file.is_file() else None

    def _thumbs(self, reward: ServedReward, thumbs: Sequence[ThumbRow]) -> dict[str, dict[str, Figure]]:
        scores = [reward.score(self._engine, each.prompt, [each.reply])[0] for each in thumbs]
        pairs = list(zip(scores, (each.good for each in thumbs), strict=True))

        def figure(statistic: Callable[[list[float], list[bool]], float]) -> Figure:
            return _figure_over_keys(
                pairs,
                [each.key for each in thumbs],
                lambda own: statistic(*map(list, zip(*own, strict=True))),
            )

        return {
            "reward_auc": {"adapter": figure(evaluate.auc)},
            "reward_balanced_accuracy": {"adapter": figure(evaluate.balanced_accuracy)},
        }

    # Behaviours

    def _behaviours(self) -> Report:
        prompts = self._prompts()
        if len(prompts) < 2:
            raise TrainingError("there are no prompts to answer", "chat first, or name a file with --data")
        sides = {"adapter": self._adapter, "against": self._against}
        figures: dict[str, dict[str, Figure]] = {}
        for name, side in sides.items():
            found = evaluate.jackknife(self._drawn(side, prompts), _behaviour)
            for what, figure in found.items():
                figure = figure if what == "words" else _of_share(figure)
                figures.setdefault(what, {})[name] = figure
        return self._report("behaviours", len(prompts), "prompts", figures)

    def _prompts(self) -> list[tuple[int, ...]]:
        data = self._own()
        unranked = unranked_prompts(self._house.store(), self._house.store().groups.list())
        mix, untouched = self._dialogues()
        limit = longest(self._engine)
        asked = (encode_prompt(each, self._engine, limit) for each in unranked)
        own = [*data.held_out.prompts, *(ids for ids in asked if ids is not None)]
        found = dict.fromkeys(
            each
            for each in (*own, *openings(conversation_rows([*untouched, *mix], self._engine, limit)))
            if len(each) < limit
        )
        return list(found)[: self._settings.evaluate_prompts]

    def _drawn(
        self, side: AdapterSpec | None, prompts: Sequence[tuple[int, ...]]
    ) -> list[tuple[Sample, ...]]:
        """Replies as the chat samples them."""
        self._engine.set_adapter(side)
        settings, pace = self._settings, Pace("evaluate", len(prompts), self._progress)
        sampling = replace(settings.chat, seed=77)
        return drawn_in_parts(
            self._engine.rollout, prompts, settings.evaluate_samples, sampling, AT_ONCE, pace
        )

    @cached_property
    def _settings(self) -> Settings:
        """How long replies are looked at, and how many."""
        sampling = self._house.sampling(self._spec)
        return examined(Settings(chat=sampling), self._own(), sampling.max_tokens)

    # Perplexity

    def _perplexity(self) -> Report:
        _, untouched = self._dialogues()
        rows = conversation_rows(untouched, self._engine, longest(self._engine))
        ours, theirs = (self._losses(each, rows) for each in (self._adapter, self._against))
        figures = {
            "perplexity": {
                "adapter": evaluate.bootstrap(ours, _perplexity_of, _DRAWS),
                "against": evaluate.bootstrap(theirs, _perplexity_of, _DRAWS),
                "ratio": evaluate.perplexity_ratio(ours, theirs),
            }
        }
        return self._report("perplexity", len(rows), "dialogues", figures)

    def _losses(self, side: AdapterSpec | None, rows: Sequence[SftRow]) -> list[tuple[float, int]]:
        self._engine.set_adapter(side)
        found = []
        for row, scored in zip(rows, self._engine.logprobs([each.ids for each in rows]), strict=True):
            own = [value for value, learned in zip(scored.logprobs, row.mask[1:], strict=True) if learned]
            found.append((-math.fsum(own), len(own)))
        return found

    # What the suites share

    def _dialogues(self) -> tuple[list[Dialogue], list[Dialogue]]:
        """General dialogue: openings to answer, and what is never trained on."""
        self._load()
        self._engine.set_adapter(None)
        assert self._engine.info is not None
        if self._general is None:
            self._general = mix_of(self._engine, self._engine.info.sha256, self._house.paths.cache)
        return self._general

    def _load(self) -> None:
        if self._engine.info is None:
            self._engine.load(self._spec)

    def _report(
        self,
        suite: Suite,
        n: int,
        of: str,
        figures: dict[str, dict[str, Figure]],
        notes: tuple[str, ...] = (),
    ) -> Report:
        assert self._adapter is not None
        against = "base" if self._against is None else self._against.name
        return Report(suite, n, of, self._adapter.name, against, figures, notes)

    def close(self) -> None:
        """End the engine; idempotent."""
        self._engine.close()

    def __enter__(self) -> Evaluation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _marks(scores: Sequence[Sequence[float]], rows: Sequence[RankingRow]) -> list[float]:
    from chatapp.training.reward import pair_accuracy

    return pair_accuracy(scores, rows)


def _over_keys(marks: Sequence[float], rows: Sequence[RankingRow]) -> Figure:
    """Mean of one mark a ranking."""
    return evaluate.agreement(marks, [row.key for row in rows])


def _of_share(figure: Figure) -> Figure:
    """Within 0 and 1; where no prompt differs from another, as wide as Wilson's interval."""
    low, high = figure.low, figure.high
    if math.isclose(low, high):
        low, high = wilson(figure.value, figure.n)
    return replace(figure, low=max(0.0, min(low, figure.value)), high=min(1.0, max(high, figure.value)))


def _figure_over_keys(
    values: Sequence[Any], keys: Sequence[str], statistic: Callable[[list[Any]], float]
) -> Figure:
    """`n` is the number of values; the interval comes from resampling the keys."""
    by_key: dict[str, list[Any]] = {}
    for value, key in zip(values, keys, strict=True):
        by_key.setdefault(key, []).append(value)
    found = evaluate.bootstrap(
        list(by_key.values()), lambda own: statistic([each for group in own for each in group]), _DRAWS
    )
    return replace(found, n=len(values))


def _perplexity_of(units: Sequence[tuple[float, int]]) -> float:
    return math.exp(sum(loss for loss, _ in units) / max(sum(n for _, n in units), 1))


def _behaviour(drawn: Sequence[tuple[Sample, ...]]) -> dict[str, float]:
    asks = evaluate.mean([float("?" in each.text) for own in drawn for each in own])
    return {**asdict(evaluate.mean_behaviour(drawn)), "asks": asks}
