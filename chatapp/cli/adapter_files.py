"""`chatapp adapters compare, export, merge`: an adapter's replies beside another's, and its files for other
programs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatapp.cli.arguments import ModelOption, house_of
from chatapp.cli.output import note, say, say_json
from chatapp.core.errors import NotFound, UsageError
from chatapp.core.paths import expanded
from chatapp.core.size import bytes_in_words

if TYPE_CHECKING:
    from chatapp.core.types import Turn
    from chatapp.engine.base import AdapterSpec, ModelSpec
    from chatapp.session.session import Session
    from chatapp.session.wiring import House

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of an adapter: r1, r2, …")]


def compare(
    ctx: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="Name or file of an adapter; `base` for none.")],
    b: Annotated[
        str | None,
        typer.Argument(metavar="[B]", help="The other one; by default what A was trained from."),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", metavar="TEXT", help="Ask this; may be repeated. Else your own prompts."),
    ] = None,
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many of your own prompts.")] = 4,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, max=2**31 - 1, help="The random numbers of both.")
    ] = 1,
    model: ModelOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print replies of two side by side.

    To the same prompts, with the same seed and temperature. The prompts begin your newest
    conversations, first of all those that no training learns from.

    \b
    Examples:
      chatapp adapters compare r2
      chatapp adapters compare r2 base --prompt "A name for a cat?"
    """
    from chatapp.core.types import Turn
    from chatapp.session.comparison import prompts_to_compare

    house = house_of(ctx)
    if model is not None:
        house.with_settings(model=model)
    house.with_settings(adapter="base")
    session = house.session()
    sides = _sides(house, a, b)
    if prompt:
        prompts = [[Turn("user", each)] for each in prompt]
    elif not (prompts := prompts_to_compare(session, n)):
        raise NotFound("there is no conversation to take prompts from", "ask your own with --prompt TEXT")
    names = tuple(each.name if each else "base" for each in sides)
    replies = _replies(session, prompts, sides, seed, None if as_json else names)
    wins = _wins(house, sides)
    if as_json:
        say_json(
            {
                "a": names[0],
                "b": names[1],
                "seed": seed,
                "temperature": session.sampling.temperature,
                "prompts": [
                    {"prompt": asked[-1].text, "a": own, "b": other}
                    for asked, (own, other) in zip(prompts, replies, strict=True)
                ],
                "rankings": wins,
            }
        )
    elif wins is not None and wins["rankings"]:
        say(
            f"In your rankings {names[0]} {wins_in_words(wins)}: "
            f"won {wins['share']:.0%} [{wins['low']:.0%}, {wins['high']:.0%}]"
        )
    else:
        say(f"No ranking of yours holds replies of {names[0]} and of {names[1]} yet.")


def _sides(house: House, a: str, b: str | None) -> tuple[AdapterSpec | None, AdapterSpec | None]:
    own = house.adapter(a)
    if b is not None:
        other = house.adapter(b)
    elif own is None:
        raise UsageError("the base was trained from no other", "name two: compare base r1")
    else:
        adapters = house.store().adapters
        try:
            before = adapters.before(adapters.get(own.name))
        except NotFound:  # a file of the user's own
            before = None
        other = house.adapter(before.name) if before else None
    if own == other:
        raise UsageError(f"{a} cannot be compared with itself", "name two: compare r2 r1")
    return own, other


def _replies(
    session: Session,
    prompts: list[list[Turn]],
    sides: tuple[AdapterSpec | None, AdapterSpec | None],
    seed: int,
    names: tuple[str, ...] | None,
) -> list[list[str]]:
    """The reply of each side to each prompt; with `names` each pair is printed when it is complete."""
    from chatapp.session.updates import Rehearsed

    found = [["", ""] for _ in prompts]
    for place, turns in enumerate(prompts):
        for update in session.rehearse([turns], sides, seed):
            if isinstance(update, Rehearsed):
                found[place][update.adapter] += update.delta
        if names is not None:
            say_pair(turns[-1].text, names, found[place])
    return found


def say_pair(prompt: str, names: tuple[str, ...], replies: list[str]) -> None:
    """Write two replies beside each other on a terminal, one after the other elsewhere."""
    say(f"> {prompt.strip()}")
    if not sys.stdout.isatty():
        for name, reply in zip(names, replies, strict=True):
            say(f"{name}: {reply.strip()}")
        say("")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from chatapp.core.sanitize import terminal_safe

    table = Table(box=None, pad_edge=False, expand=True, header_style="bold")
    for name in names:
        table.add_column(Text(terminal_safe(name)), ratio=1)
    table.add_row(*(Text(terminal_safe(reply.strip())) for reply in replies))
    Console().print(table, "")


def _wins(house: House, sides: tuple[AdapterSpec | None, AdapterSpec | None]) -> dict[str, Any] | None:
    """Of the first over the second; None where one is a file that no training of this store made."""
    try:
        return wins_as_json(house, *(each.name if each else None for each in sides))
    except NotFound:
        return None


def wins_as_json(house: House, a: str | None, b: str | None) -> dict[str, Any]:
    """`a` against `b` in the rankings of this store; None is the base."""
    from chatapp.preferences.wins import share

    wins = house.store().adapters.wins(a, b)
    value, low, high = share(wins) or (None, None, None)
    return {
        "against": b or "base",
        "wins": wins.a,
        "losses": wins.b,
        "ties": wins.ties,
        "rankings": wins.rankings,
        "share": value,
        "low": low,
        "high": high,
    }


def wins_in_words(said: Mapping[str, Any]) -> str:
    """What `wins_as_json` gives: `loses to r1 in 15 of 17`."""
    from chatapp.core.types import Wins
    from chatapp.preferences.wins import in_words

    return in_words(Wins(said["wins"], said["losses"], said["ties"]), said["against"])


def export(
    ctx: typer.Context,
    name: Name,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")],
    model: ModelOption = None,
) -> None:
    """Write a PEFT folder for other programs.

    The GGUF adapter lies in it.

    \b
    Example:
      chatapp adapters export r2 ~/r2-peft
    """
    from chatapp.session.exporting import export_adapter

    house = house_of(ctx)
    adapter, spec = _adapter(house, name, model)
    made = export_adapter(house, adapter, spec, expanded(folder))
    note(f"{name} is in {made}: peft reads the folder, llama.cpp {made / 'adapter.gguf'}")


def merge(
    ctx: typer.Context,
    name: Name,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new GGUF file.")],
    quant: Annotated[
        str, typer.Option("--quant", metavar="TYPE", help="F16, Q8_0, Q6_K, Q5_K_M, Q4_K_M or Q4_0.")
    ] = "Q8_0",
    force: Annotated[
        bool, typer.Option("--force", help="Write it also where too little of what was learned survives.")
    ] = False,
    model: ModelOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a stand-alone GGUF model.

    The adapter goes into the model's weights, which are quantised again. It is compared with what
    was learned before it is kept: coarse types can round it away.

    \b
    Example:
      chatapp adapters merge r2 mine.gguf --quant Q8_0
    """
    from chatapp.session.exporting import merge_adapter

    house = house_of(ctx)
    adapter, spec = _adapter(house, name, model)
    target = expanded(out)
    survival = merge_adapter(house, adapter, spec, target, quant, force)
    if as_json:
        say_json(
            {
                "file": str(target),
                "size": target.stat().st_size,
                "quantisation": quant,
                "kept": survival.kept,
                "correlation": survival.correlation,
                "tokens": survival.tokens,
                "ok": survival.ok,
            }
        )
        return
    say(f"{target}: {bytes_in_words(target.stat().st_size)}, {quant}")
    say(
        f"{survival.kept:.0%} of what was learned is in it (correlation {survival.correlation:.3f}, "
        f"measured on {survival.tokens} tokens)"
    )
    if not survival.ok:
        note(f"note: kept because of --force: {survival.reason}")


def _adapter(house: House, name: str, model: str | None) -> tuple[AdapterSpec, ModelSpec]:
    spec = house.spec(model)
    adapter = house.adapter(name, spec)
    if adapter is None:
        raise UsageError(f"{name} is no adapter", "name one: `chatapp adapters list`")
    return adapter, spec
