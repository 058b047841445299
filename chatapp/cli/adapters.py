"""`chatapp adapters`: what training made, which of it answers, and taking it back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatapp.cli.adapter_files import compare, export, merge, wins_as_json, wins_in_words
from chatapp.cli.arguments import ModelOption, house_of
from chatapp.cli.output import iso, moment, note, say, say_json, say_table
from chatapp.core.errors import UsageError
from chatapp.core.size import bytes_in_words

if TYPE_CHECKING:
    from chatapp.core.types import Adapter
    from chatapp.session.wiring import House

app = typer.Typer(
    help="""What training made: choose, compare, take back, export.

    \b
    Example:
      chatapp adapters list
    """,
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of an adapter: r1, r2, …")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_adapters(
    ctx: typer.Context,
    model: ModelOption = None,
    every: Annotated[bool, typer.Option("--all", help="Those of every model.")] = False,
    deleted: Annotated[bool, typer.Option("--deleted", help="Also those that were deleted.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the adapters of a model.

    Oldest first; the one in use has a star. Wins are counted in your own rankings, against what
    each was trained from.

    \b
    Example:
      chatapp adapters list
    """
    from chatapp.preferences.wins import in_words
    from chatapp.session.verdict import in_short

    house = house_of(ctx)
    adapters = house.store().adapters
    sha256 = None if every else _sha256(house, model)
    found = adapters.list(sha256, deleted)
    if as_json:
        say_json([_as_json(house, each) for each in found])
        return
    if not found and adapters.list(sha256, deleted=True):
        more = "--all --deleted" if every else "--deleted"
        note(f"all were deleted: `chatapp adapters list {more}` shows them, `… restore NAME` brings one back")
    elif not found:
        note("no adapter yet; `chatapp train` makes one from your rankings")
    rows = []
    for each in found:
        verdict = in_short(each.evaluation) if each.accepted else f"refused: {each.reason}"
        wins = in_words(adapters.wins(each.name, each.parent), each.parent or "base")
        rows.append(
            (
                ("* " if _in_use(house, each) else "  ") + each.name + _deleted(house, each),
                each.method,
                each.model,
                moment(each.created),
                each.parent or "base",
                verdict,
                wins,
            )
        )
    say_table(("name", "method", "model", "trained", "from", "verdict", "your rankings"), rows)


@app.command("show")
def show(ctx: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Print all that is known of an adapter.

    Its verdict, its figures with 95% intervals, its settings.

    \b
    Example:
      chatapp adapters show r2
    """
    house = house_of(ctx)
    adapter = house.store().adapters.get(name)
    said = _as_json(house, adapter)
    if as_json:
        say_json(said)
        return
    for label, text in _lines(said):
        say(f"{label + ':':<18}{text}")


@app.command("use")
def use(ctx: typer.Context, name: Name, model: ModelOption = None) -> None:
    """Answer with this adapter from now on.

    \b
    Example:
      chatapp adapters use r2
    """
    house = house_of(ctx)
    if name == "base":
        _choose(house, model, None, "off")
        return
    adapter = house.store().adapters.get(name)
    _choose(house, model, name, "use")
    if not adapter.accepted:
        note(f"its training did not show that it is better: {adapter.reason}")


@app.command("off")
def off(ctx: typer.Context, model: ModelOption = None) -> None:
    """Answer with no adapter from now on.

    They all stay.

    \b
    Example:
      chatapp adapters off
    """
    _choose(house_of(ctx), model, None, "off")


@app.command("rollback")
def rollback(ctx: typer.Context, model: ModelOption = None) -> None:
    """Go back to the round before.

    That is what the adapter in use was trained from.

    \b
    Example:
      chatapp adapters rollback
    """
    house = house_of(ctx)
    before = house.store().adapters.rollback(_sha256(house, model))
    _tell_in_use(house, before.name if before else None)


@app.command("delete")
def delete(
    ctx: typer.Context,
    name: Name,
    purge: Annotated[bool, typer.Option("--purge", help="Free its files; that cannot be undone.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --purge, do not ask.")] = False,
) -> None:
    """Hide an adapter, or free its files.

    Where it is in use, the model answers as it came.

    \b
    Examples:
      chatapp adapters delete r1
      chatapp adapters delete r1 --purge
    """
    import shutil

    from chatapp.cli.arguments import is_terminal

    house = house_of(ctx)
    adapters = house.store().adapters
    adapter = adapters.get(name)
    folder = house.paths.adapters / name
    if purge and not yes:
        if not is_terminal():
            raise UsageError("--purge asks before it frees files", "add --yes where nobody can answer")
        if not typer.confirm(f"Free the files of {name} for good?", err=True):
            raise typer.Exit(1)
    was_in_use = _in_use(house, adapter)
    adapters.delete(name)
    if was_in_use:
        note(f"{name} was in use; the model answers as it came from now on")
    if not purge:
        note(f"{name} is deleted; `chatapp adapters restore {name}` brings it back")
        return
    size = sum(file.stat().st_size for file in folder.glob("*") if file.is_file())
    if folder.is_dir():
        shutil.rmtree(folder)
    note(f"{name} is deleted, {bytes_in_words(size)} freed; its figures stay: `chatapp adapters show {name}`")


@app.command("restore")
def restore(ctx: typer.Context, name: Name) -> None:
    """Bring a deleted adapter back.

    `use` it to have it answer.

    \b
    Example:
      chatapp adapters restore r1
    """
    house = house_of(ctx)
    adapters = house.store().adapters
    adapters.get(name)
    house.require_adapter_file(name)
    adapters.restore(name)
    note(f"{name} is back; `chatapp adapters use {name}` has it answer")


app.command("compare")(compare)
app.command("export")(export)
app.command("merge")(merge)


def _sha256(house: House, model: str | None) -> str:
    return house.model_sha256(house.spec(model))


def _choose(house: House, model: str | None, name: str | None, why: str) -> None:
    spec = house.spec(model)
    if name is not None:
        house.adapter(name, spec)  # refuses what would not answer
    house.store().adapters.choose(house.model_sha256(spec), name, why)
    _tell_in_use(house, name)


def _tell_in_use(house: House, name: str | None) -> None:
    note(f"{name} answers from now on" if name else "the model answers as it came from now on")
    if house.settings.adapter != "active":
        note(f"note: the setting `adapter` says {house.settings.adapter!r}, which is stronger; unset it")


def _in_use(house: House, adapter: Adapter) -> bool:
    active = house.store().adapters.active(adapter.model_sha256)
    return active is not None and active.name == adapter.name


def _deleted(house: House, adapter: Adapter) -> str:
    """What the list adds to the name of a deleted one."""
    if not adapter.deleted:
        return ""
    return " (deleted)" if house.adapter_file(adapter.name).is_file() else " (deleted, files freed)"


def _as_json(house: House, adapter: Adapter) -> dict[str, Any]:
    file = house.adapter_file(adapter.name)
    return {
        "name": adapter.name,
        "method": adapter.method,
        "model": adapter.model,
        "model_sha256": adapter.model_sha256,
        "created": iso(adapter.created),
        "parent": adapter.parent,
        "active": _in_use(house, adapter),
        "accepted": adapter.accepted,
        "reason": adapter.reason,
        "evaluation": dict(adapter.evaluation),
        "rankings": wins_as_json(house, adapter.name, adapter.parent),
        "settings": dict(adapter.settings),
        "data_sha256": adapter.data_sha256,
        "run": adapter.run,
        "file": str(file),
        "file_exists": file.is_file(),
        "deleted": adapter.deleted,
    }


def _lines(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(label, text) for each value, figures with their interval and of how many."""
    for key, value in said.items():
        match value:
            case None if key == "parent":
                yield "from", "base"
            case {"value": shown, "low": low, "high": high, "n": n}:
                yield key, f"{shown:.3f} [{low:.3f}, {high:.3f}] of {n}"
            case {"rankings": n, "share": part, "low": low, "high": high} if n:
                yield "your rankings", f"{wins_in_words(value)}: won {part:.3f} [{low:.3f}, {high:.3f}]"
            case {"against": other, "rankings": 0}:
                yield "your rankings", f"none holds replies of this one and of {other} yet"
            case dict() if key == "evaluation":
                yield from _lines(value)
            case dict():
                parts = (f"{name} {_short(each)}" for name, each in value.items() if each is not None)
                yield key, ", ".join(parts)
            case None | "":
                pass
            case _:
                yield {"parent": "from"}.get(key, key), _short(value)


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
