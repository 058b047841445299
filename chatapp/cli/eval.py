"""`chatapp eval`: an adapter beside the base or another adapter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from chatapp.cli.arguments import ModelOption, house_of
from chatapp.cli.output import note, say, say_json

if TYPE_CHECKING:
    from chatapp.session.evaluating import Report
    from chatapp.training.evaluate import Figure

_DIGITS = {"perplexity": 2, "words": 1}
"""What is no share."""
_LABELS = {
    "pair_accuracy": "prefers what you prefer",
    "change_accuracy": "what the training changed",
    "reward_accuracy": "reward model",
    "reward_auc": "reward model on thumbs, AUC",
    "reward_balanced_accuracy": "reward model on thumbs, balanced",
    "words": "words a reply",
    "distinct": "different word pairs",
    "duplicates": "repeated replies",
    "short": "under 3 words",
    "unfinished": "without an end",
    "asks": "asks back",
}


def evaluate(
    ctx: typer.Context,
    adapter: Annotated[
        str | None,
        typer.Option("-a", "--adapter", metavar="NAME", help="By default the one in use."),
    ] = None,
    against: Annotated[
        str, typer.Option("--against", metavar="NAME", help="`base`, or another adapter.")
    ] = "base",
    suite: Annotated[
        Literal["preferences", "behaviours", "perplexity", "all"],
        typer.Option("--suite", help="What to measure."),
    ] = "all",
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data", metavar="FILE", help="Judgements to measure on instead of your own held-out ones."
        ),
    ] = None,
    model: ModelOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each suite.")] = False,
) -> None:
    """Measure an adapter beside the base: what it prefers, how it writes, what it forgot.

    Every figure comes with its 95% interval.

    \b
    Examples:
      chatapp eval
      chatapp eval --adapter r2 --against r1 --suite behaviours
      chatapp eval --suite preferences --data en_trees.jsonl.gz --json
    """
    from chatapp.cli.training_display import lines
    from chatapp.core.errors import TrainingError
    from chatapp.session.evaluating import SUITES, Evaluation

    reports: list[Report] = []
    with Evaluation(
        house_of(ctx), adapter=adapter, against=against, files=data or (), model=model, progress=lines()
    ) as evaluation:
        for each in SUITES if suite == "all" else (suite,):
            try:
                found = evaluation.run(each)
            except TrainingError as error:
                if suite != "all":
                    raise
                note(f"{each}: {error}")
                continue
            reports.append(found)
            if not as_json:
                _show(found)
    if as_json:
        say_json([each.to_json() for each in reports])


def _show(report: Report) -> None:
    say(f"{report.suite}: {report.n} {report.of}")
    for what, sides in report.figures.items():
        names = {"adapter": report.adapter, "against": report.against}
        shown = [f"{names.get(side, side)} {_words(what, side, each)}" for side, each in sides.items()]
        say(f"  {_LABELS.get(what, what):<34}{'   '.join(shown)}")
    for line in report.notes:
        say(f"  {line}")
    say("")


def _words(what: str, side: str, figure: Figure) -> str:
    if not figure.n:
        return "unknown"
    values = (figure.value, figure.low, figure.high)
    if (digits := _DIGITS.get(what)) is not None:
        value, low, high = (f"{each:.{digits}f}" for each in values)
        return f"{value} [{low}, {high}]"
    sign = "+" if side == "difference" else ""
    value, low, high = (f"{100 * each:{sign}.0f}" for each in values)
    return f"{value}% [{low}, {high}]"
