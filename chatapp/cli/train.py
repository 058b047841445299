"""`chatapp train`: from rankings to a tuned, checked, reversible model."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from chatapp.cli.arguments import ModelOption, house_of
from chatapp.cli.output import note, say, say_json
from chatapp.core.errors import UsageError

if TYPE_CHECKING:
    from chatapp.session.rounds import Round
    from chatapp.training.plan import Plan
    from chatapp.training.progress import Listener

_FIXED = ("method", "model", "start", "data", "mix", "seed", "max_memory")
"""What a run that goes on keeps from its beginning."""
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def train(
    ctx: typer.Context,
    method: Annotated[
        Literal["auto", "sft", "reward", "dpo", "rloo", "ppo"],
        typer.Argument(metavar="[METHOD]", help="auto, or one stage alone: sft, reward, dpo, rloo, ppo."),
    ] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")] = False,
    model: ModelOption = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="ADAPTER", help="Go on from it; by default from the one in use. `base`: none."
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data", metavar="FILE", help="Learn from this instead of your own rankings; may be repeated."
        ),
    ] = None,
    mix: Annotated[
        Path | None,
        typer.Option(
            "--mix", metavar="FILE", help="General dialogue to mix in, one `messages` object a line."
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="N", min=0, max=2**31 - 1, help="The same seed, the same training."),
    ] = 0,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", metavar="N", min=1, help="At most so many steps a stage.")
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            "--max-minutes", metavar="N", min=0.0, max=1e6, help="About so many minutes of training."
        ),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option("--max-memory", metavar="SIZE", help="Refuse what needs more, for example 3GB."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="RUN",
            help="Go on with a run that was stopped (`last`: the newest),"
            " without the limits of steps and minutes it began with.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and progress as JSON lines.")
    ] = False,
) -> None:
    """Tune the model on your rankings, check whether it helped, and use it in the chat if it did.

    \b
    Examples:
      chatapp train --dry-run
      chatapp train
      chatapp train dpo --max-minutes 5
      chatapp train --resume last
    """
    limit = None if max_memory is None else size(max_memory)
    if resume is not None:
        _refuse_changes(ctx)
    from chatapp.session.rounds import Round
    from chatapp.training.run import Interrupted, Limits

    house = house_of(ctx)
    stop = Event()
    with (
        _interrupts(stop),
        Round(
            house,
            method,
            model=model,
            start=start,
            data=data or (),
            mix=mix,
            seed=seed,
            limits=Limits(max_steps, max_minutes, stop),
            max_memory=limit,
            resume=resume,
        ) as training,
    ):
        try:
            if dry_run:
                _say_plan(training.plan(), as_json)
            else:
                _train(training, as_json)
        except (KeyboardInterrupt, Interrupted):
            if training.run_name is None:
                note("stopped before it began; nothing has changed")
            else:
                note(
                    f"stopped; the checkpoint is kept. Go on with: chatapp train --resume {training.run_name}"
                )
            raise typer.Exit(130) from None


def _train(training: Round, as_json: bool) -> None:
    from chatapp.training import processes

    if processes.number():
        training.run()
        return
    if as_json:
        from chatapp.training.progress import json_lines

        say_json(training.run(json_lines(sys.stderr)).to_json())
        return
    with _display() as listen:
        result = training.run(listen)
    from chatapp.cli.training_report import report

    for line in report(result):
        say(line)


def _say_plan(planned: Plan, as_json: bool) -> None:
    if as_json:
        say_json({"plan": {"lines": list(planned.lines), "stages": list(planned.stages)}})
        return
    for line in planned.lines:
        say(line)


@contextmanager
def _display() -> Iterator[Listener]:
    from chatapp.cli import training_display

    if sys.stderr.isatty():
        with training_display.bars() as listen:
            yield listen
    else:
        yield training_display.lines()


@contextmanager
def _interrupts(stop: Event) -> Iterator[None]:
    """Within it the first Ctrl+C sets `stop`, and the second one ends the program at once."""

    def interrupted(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        # Not through sys.stderr: the signal may have come while a line was being written to it.
        os.write(2, b"stops after this step; Ctrl+C again ends it at once\n")

    before: Any = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _refuse_changes(ctx: typer.Context) -> None:
    for name in _FIXED:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            word = {"start": "--from", "method": "the method"}.get(name, f"--{name.replace('_', '-')}")
            raise UsageError(
                f"a run goes on as it began: {word} cannot be changed", "leave it out, or start a new run"
            )


def size(text: str) -> int:
    """Bytes of `3GB`, `2.5 GiB`, `800M`. Errors: `UsageError`."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?)?b?\s*", text, re.IGNORECASE)
    if found is None:
        raise UsageError(f"{text!r} is no size", "for example 3GB or 800MB")
    return round(float(found[1]) * _UNITS[(found[2] or "").lower()])
