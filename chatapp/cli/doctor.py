"""`chatapp doctor`: what is installed, where things live, what works."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from typing import Annotated

import typer

from chatapp.cli.arguments import house_of
from chatapp.cli.output import say, say_json
from chatapp.core.errors import SettingsError, VariableError

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
    from chatapp.session.checks import Check, run_checks
    from chatapp.session.wiring import House
    from chatapp.tui.themes import is_theme

    found: list[Check] = []
    try:
        house = house_of(ctx)
    except SettingsError as error:
        where = "environment" if isinstance(error, VariableError) else "config.toml"
        found.append(Check(where, "broken", str(error), error.hint))
        house = House.with_defaults()
        ctx.call_on_close(house.close)
    if not is_theme(theme := house.settings.theme):
        found.append(Check("theme", "note", f"no theme {theme!r}", "in the chat, /theme shows them all"))
    broken = False
    shown = []
    for check in chain(found, run_checks(house)):
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
