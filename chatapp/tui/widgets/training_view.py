"""A training as it goes on: its stages, one line each, and the curves of the one that is going on."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Sparkline, Static

from chatapp.core.sanitize import one_line
from chatapp.training.progress import title_of
from chatapp.tui.training_state import CURVES, Phase, StageState, TrainingState

_TITLE = 19
_INDENT = len("✔ ") + _TITLE
_NARROWEST = 10
"""Cells for what is said of a stage; in fewer it is cut off instead."""
_FEWEST = 8
"""Steps from which a curve says more than its ends."""
_BAR = 16
_CHECKED = "wins on held-out prompts, length, variety, perplexity"


class StageList(Static):
    """Those that are done with a tick, the one that is going on with its bar, then those to come; one that
    was stopped midway has no mark. What is said of a stage stays in its own column."""

    DEFAULT_CSS = "StageList { height: auto; text-wrap: nowrap; text-overflow: ellipsis; }"

    _lines: Sequence[Content] = ()

    def show(self, state: TrainingState) -> None:
        lines = [_line(StageState(stage)) for stage in state.done_before]
        lines += [_line(stage) for stage in state.stages[:-1]]
        lines += [_line(stage, state.phase) for stage in state.stages[-1:]]
        if state.phase not in ("stopped", "failed", "done"):
            lines += [_to_come(stage) for stage in state.to_come if state.plan]
        if state.phase == "running" and not state.stages:
            lines.insert(0, Content.styled("  reading what there is ...", "$secondary"))
        self.display = bool(lines)
        self._lines = lines
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        width = self.content_size.width
        self.update(Content("\n").join(part for line in self._lines for part in _wrapped(line, width)))


class Curve(Horizontal):
    """One metric over the steps so far: its name, a line, from where to where."""

    DEFAULT_CSS = """
    Curve {
        height: auto;
        & > .name { width: 21; padding: 0 0 0 2; color: $secondary; content-align: left bottom; height: 1; }
        & > .ends { width: 20; padding: 0 0 0 2; content-align: left bottom; height: 1; }
        & > Sparkline { width: 1fr; max-width: 60; height: 1; }
        & Sparkline > .sparkline--max-color { color: $accent 50%; }
        & Sparkline > .sparkline--min-color { color: $accent 50%; }
    }
    """

    def __init__(self, metric: str) -> None:
        super().__init__(id=f"curve-{metric}")
        self._metric = metric

    def compose(self) -> ComposeResult:
        yield Static(self._metric, classes="name", markup=False)
        yield Sparkline(summary_function=_mean)
        yield Static(classes="ends", markup=False)

    def show(self, values: list[float]) -> None:
        self.display = len(values) >= _FEWEST
        self.query_one(Sparkline).data = list(values)
        self.query_one(".ends", Static).update(Content(_ends(values)))


class Curves(Vertical):
    """The curves of one stage."""

    DEFAULT_CSS = "Curves { height: auto; margin: 0 0 1 0; }"

    def compose(self) -> ComposeResult:
        for metric in CURVES:
            yield Curve(metric)

    def show(self, state: TrainingState) -> None:
        drawn = [each for each in state.stages if any(len(own) >= _FEWEST for own in each.curves.values())]
        self.display = bool(drawn) and (state.phase != "done" or self.screen.has_class("-tall"))
        for metric in CURVES:
            values = drawn[-1].curves.get(metric, []) if drawn else []
            self.query_one(f"#curve-{metric}", Curve).show(values)


def _line(stage: StageState, phase: Phase = "done") -> Content:
    """`phase`: of the training, where this is its last stage."""
    going_on = phase in ("running", "stopping")
    mark = ("● " if going_on else "✔ " if phase == "done" else "  ", "$accent")
    title = title_of(stage.stage).ljust(_TITLE)
    if going_on and stage.steps:
        full = round(_BAR * min(1.0, stage.step / stage.steps))
        bar = "▰" * full + "▱" * (_BAR - full)
        return Content.assemble(
            mark, (title, "bold"), (bar, "$accent"), f"  {stage.step}/{stage.steps}  {stage.left}".rstrip()
        )
    said = one_line(stage.note, 200)
    if not said and not going_on:
        drawn = [(name, values) for name, values in stage.curves.items() if name != "kl" and len(values) > 1]
        said = "   ".join(f"{name} {_ends(values)}" for name, values in drawn)
    return Content.assemble(mark, (title, "bold" if going_on else ""), (said, "$secondary"))


def _wrapped(line: Content, width: int) -> list[Content]:
    """`line` in as many as it takes to fit into `width`."""
    room = width - _INDENT
    if line.cell_length <= width or room < _NARROWEST:
        return [line]
    first, *rest = line[_INDENT:].wrap(room)
    return [line[:_INDENT] + first, *(Content(" " * _INDENT) + each for each in rest)]


def _to_come(stage: str) -> Content:
    about = _CHECKED if stage == "evaluate" else ""
    return Content.styled("  " + title_of(stage).ljust(_TITLE) + about, "$secondary")


def _ends(values: list[float]) -> str:
    """`2.31 → 1.94`: means over the first and the last tenth of the steps."""
    if not values:
        return ""
    some = max(1, len(values) // 10)
    return f"{_mean(values[:some]):.3g} → {_mean(values[-some:]):.3g}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
