"""`chatapp bench`: how fast replies come on this machine, beside llama.cpp's own loop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from chatapp.cli.arguments import AdapterOption, ModelOption, house_of
from chatapp.cli.output import note, say, say_json, say_table
from chatapp.core.duration import time_left

if TYPE_CHECKING:
    from chatapp.session.speed import Step
    from chatapp.session.speed_report import SpeedReport, Spread

_LABELS = {
    "prompt": "reads a prompt",
    "generation": "writes one reply",
    "alternatives": "writes {lanes} at once",
    "first_token": "first token after",
    "load": "loads in",
}


def bench(
    ctx: typer.Context,
    model: ModelOption = None,
    adapter: AdapterOption = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens",
            metavar="N",
            min=2,
            max=2**31 - 1,
            help="Length of each reply; by default 128, fewer where the model is slow.",
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option("-n", "--rounds", metavar="N", min=1, help="At most so many rounds.")
    ] = 10,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds",
            metavar="N",
            min=0.0,
            max=1e6,
            help="About so many seconds; one round is always measured.",
        ),
    ] = 30.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with every round's figures.")
    ] = False,
) -> None:
    """Measure how fast this machine reads and writes with this model, beside llama.cpp's own loop.

    Both sides get the same tokens, sampler and threads, in turns. Figures are medians with their quartiles;
    the ratio is that of the app to llama.cpp in the same round. Quit what keeps the processor busy first.

    \b
    Examples:
      chatapp bench
      chatapp bench -m ~/Downloads/some-model.gguf --seconds 120
      chatapp bench -n 3 --tokens 64 --json
    """
    from chatapp.session.speed import Limits, SpeedTest

    house = house_of(ctx)
    given = {"model": model, "adapter": adapter}
    house.with_settings(**{name: value for name, value in given.items() if value is not None})
    limits = Limits(rounds, seconds, tokens)
    try:
        with _progress(rounds) as listen:
            report = SpeedTest(house, limits, listen).run()
    except KeyboardInterrupt:
        note("stopped; nothing was measured to the end")
        raise typer.Exit(130) from None
    if as_json:
        say_json(report.to_json())
        return
    _show(report)


def _show(report: SpeedReport) -> None:
    from chatapp.session.speed_report import MEASURES, Spread

    info = report.info
    adapter = f", adapter {report.adapter}" if report.adapter else ""
    single, many = report.threads
    say(f"{info.name}{adapter} ({info.description}), threads: {single} for one token, {many} for several")
    read, written = report.prompt_tokens, report.reply_tokens
    say(f"rounds: {report.rounds}, prompt of {read} tokens, replies of {written} tokens")
    rows = []
    for name, unit in MEASURES.items():
        ratio = report.ratio(name)
        rows.append(
            (
                _LABELS[name].format(lanes=report.lanes),
                _words(Spread.of(report.app[name]), unit),
                _words(Spread.of(report.plain[name]), unit),
                f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
            )
        )
    say_table(("", "chatapp", "llama.cpp", "ratio"), rows)
    if report.busy:
        note(f"other programs kept the processor busy (load {report.load_average:.1f}): measure again later")
    if report.rounds == 1:
        note("one round says little; more of them: --seconds 120")


def _words(spread: Spread, unit: str) -> str:
    values = (spread.median, spread.low, spread.high)
    if unit == "s":
        if spread.median < 1:
            values, unit = (1000 * spread.median, 1000 * spread.low, 1000 * spread.high), "ms"
        median, low, high = (f"{each:.2f}" if unit == "s" else f"{each:.1f}" for each in values)
    else:
        median, low, high = (f"{each:.0f}" if spread.median >= 100 else f"{each:.1f}" for each in values)
    return f"{median} {unit} ({low} to {high})"


@contextmanager
def _progress(rounds: int) -> Iterator[Callable[[Step], None]]:
    """One line that changes on a terminal, a line for each round elsewhere; on standard error."""
    if not sys.stderr.isatty():
        yield _lines(rounds)
        return
    from rich.console import Console
    from rich.status import Status
    from rich.text import Text

    with Status("", console=Console(stderr=True)) as status:
        yield lambda step: status.update(Text(_said(step, rounds)))


def _lines(rounds: int) -> Callable[[Step], None]:
    told = -1

    def listen(step: Step) -> None:
        nonlocal told
        if step.round != told:
            told = step.round
            note(_said(step, rounds))

    return listen


def _said(step: Step, rounds: int) -> str:
    where = f"round {step.round} of at most {rounds}, {step.what}" if step.round else step.what
    return f"{where}, at most {time_left(step.seconds_left)}"
