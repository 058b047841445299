"""`chatapp doctor`: what is installed, where things live, what works."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from chatapp.cli.arguments import house_of
from chatapp.cli.output import say, say_json

_SIGNS = {"ok": "ok     ", "note": "note   ", "broken": "BROKEN "}


def doctor(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is installed, where things live and what works. Ends with 1 where something is broken.

    \b
    Example:
      chatapp doctor
    """
    from chatapp.session.checks import run_checks

    broken = False
    shown = []
    for check in run_checks(house_of(ctx)):
        broken = broken or check.status == "broken"
        if as_json:
            shown.append(asdict(check))
            continue
        say(f"{_SIGNS[check.status]}{check.name}: {check.detail}")
        if check.hint:
            say(f"       {check.hint}")
    if as_json:
        say_json({"ok": not broken, "checks": shown})
    raise typer.Exit(1 if broken else 0)
