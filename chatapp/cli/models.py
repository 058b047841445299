"""`chatapp models`: the GGUF files that can be chosen by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatapp.cli.arguments import house_of
from chatapp.cli.model_files import discover, file_to_add, pull, remove
from chatapp.cli.output import note, say, say_json, say_table
from chatapp.core.size import bytes_in_words

if TYPE_CHECKING:
    from chatapp.library.catalogue import CatalogueEntry

app = typer.Typer(
    help="""GGUF files: list, look into, find, download, add, choose, remove.

    \b
    Example:
      chatapp models list
    """,
    no_args_is_help=True,
)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="As `models list` shows it, or the path of a file.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_models(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the models; the one in use has a star.

    \b
    Example:
      chatapp models list
    """
    house = house_of(ctx)
    entries = house.catalogue.list_with_current()
    in_use = house.settings.model
    if as_json:
        say_json([_as_json(each, in_use) for each in entries])
        return
    rows = []
    for each in entries:
        header = each.header
        rows.append(
            (
                ("* " if each.name == in_use else "  ") + each.name,
                header.architecture if header else "",
                _parameters(header.parameters) if header else "",
                header.quantisation if header else "",
                bytes_in_words(each.size),
                each.problem or "",
            )
        )
    say_table(("name", "architecture", "parameters", "type", "size", "problem"), rows)


@app.command("info")
def info(ctx: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Print what a model's file says of itself.

    \b
    Example:
      chatapp models info guide
    """
    house = house_of(ctx)
    entry = house.catalogue.find(name)
    said = _as_json(entry, house.settings.model)
    if as_json:
        say_json(said)
        return
    for key, value in said.items():
        if value not in (None, ""):
            say(f"{key + ':':<18}{bytes_in_words(value) if key == 'size' else value}")


@app.command("add")
def add(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A GGUF file, or a name of `models discover`.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Its name here; by default the file's.")
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the file instead of linking to it.")] = False,
) -> None:
    """Make a GGUF file choosable by name.

    \b
    Examples:
      chatapp models add ~/Downloads/some-model.gguf --name some
      chatapp models add llama3.2-1b
    """
    house = house_of(ctx)
    path, own = file_to_add(house, file)
    entry = house.catalogue.add(path, own if name is None else name, copy)
    note(f"added {entry.name}; `chatapp models use {entry.name}` chooses it")


app.command("pull")(pull)
app.command("remove")(remove)
app.command("discover")(discover)


@app.command("use")
def use(ctx: typer.Context, name: Name) -> None:
    """Chat with this model from now on.

    \b
    Example:
      chatapp models use some
    """
    house = house_of(ctx)
    entry = house.catalogue.use(name)
    note(f"{entry.name} is written into {house.paths.settings}")


def _as_json(entry: CatalogueEntry, in_use: str) -> dict[str, Any]:
    header = entry.header
    return {
        "name": entry.name,
        "active": in_use in (entry.name, str(entry.path)),
        "path": str(entry.path),
        "size": entry.size,
        "embedded": entry.embedded,
        "problem": entry.problem,
        "title": header.name if header else None,
        "architecture": header.architecture if header else None,
        "parameters": header.parameters if header else None,
        "quantisation": header.quantisation if header else None,
        "context_length": header.context_length if header else None,
        "chat_template": header.chat_template is not None if header else None,
        "licence": header.licence if header else None,
    }


def _parameters(count: int) -> str:
    """A count of weights as people say it: `8.7M`."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)
